//! See `crate::fuzzing`.

use std::sync::Arc;

use arbitrary::Arbitrary;

use super::codec::{Codec, compress, decompress};
use super::extent::Extent;
use super::format::{
    FIRST_PAGE_OFFSET, FORMAT_VERSION, GRANULE_BYTES, PAGE_FILE_NAME, PAGE_FORMAT, PAGE_HEADER_BYTES, PAGE_MAGIC,
    PageKind, SUPERBLOCK_BYTES,
};
use super::header::{PageHeader, checksum, granules_for};
use super::superblock::{self, LARGEST_NUMBER, Superblock};
use super::{PageFile, open};
use crate::disk::MemoryDisk;
use crate::fuzzing::{Many, bounded, described};
use crate::{Error, Result};

/// A stored page, as it is and with what takes it past the checksum: lengths and codec stay those of the input.
pub fn page(input: &[u8]) {
    if input.len() < PAGE_HEADER_BYTES {
        return;
    }
    let stored_bytes = input.len() - PAGE_HEADER_BYTES;
    let mut page = input.to_vec();
    page.resize((granules_for(stored_bytes) * GRANULE_BYTES) as usize, 0);
    let extent = Extent::new(FIRST_PAGE_OFFSET / GRANULE_BYTES, granules_for(stored_bytes));
    decode_page(&page, extent);
    page[0] = PAGE_MAGIC;
    page[3] = PAGE_FORMAT;
    page[8..12].copy_from_slice(&(stored_bytes as u32).to_le_bytes());
    let checksum = checksum(&page, stored_bytes, extent);
    page[12..16].copy_from_slice(&checksum.to_le_bytes());
    decode_page(&page, extent);
}

fn decode_page(page: &[u8], extent: Extent) {
    let Ok(header) = PageHeader::verify(page, extent) else { return };
    let stored = &page[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + header.stored_bytes];
    let mut payload = Vec::new();
    // What is declared is asked for, but never more than a page of so many bytes can hold.
    assert!(header.raw_bytes <= header.codec.largest_expansion(stored.len()));
    let decoded = bounded(1, header.raw_bytes, || decompress(header.codec, stored, header.raw_bytes, &mut payload));
    if decoded.is_ok() {
        assert_eq!(payload.len(), header.raw_bytes);
        round_trip(Codec::Lz4, &payload);
        round_trip(Codec::Zstd(1), &payload);
    }
}

fn round_trip(codec: Codec, payload: &[u8]) {
    let mut stored = Vec::new();
    let Some((codec, length)) = compress(codec, payload, &mut stored, 0) else { return };
    assert!(payload.len() <= codec.largest_expansion(length), "{} of {length} bytes", payload.len());
    let mut again = vec![0xEE; 3];
    decompress(codec, &stored[..length], payload.len(), &mut again).expect("what was compressed decompresses");
    assert!(again == payload);
}

#[derive(Arbitrary, Debug)]
struct Payload {
    codec: u8,
    level: u8,
    kind: u8,
    piece: Vec<u8>,
    times: u16,
}

impl Payload {
    fn codec(&self) -> Codec {
        match self.codec % 3 {
            0 => Codec::None,
            1 => Codec::Lz4,
            // The higher ones take too long to set up.
            _ => Codec::Zstd(i32::from(self.level % 7) + 1),
        }
    }

    fn kind(&self) -> PageKind {
        PageKind::from_byte(self.kind % 4 + 1).expect("one of the four")
    }

    fn bytes(&self) -> Vec<u8> {
        let times = usize::from(self.times).min((1 << 17) / self.piece.len().max(1));
        self.piece.repeat(times)
    }
}

/// Payloads written as pages: they have to come back, before and after the file is opened again.
pub fn codecs(input: &[u8]) {
    let Some(payloads) = described::<Many<Payload, 8>>(input) else { return };
    let disk = MemoryDisk::new();
    let root = Superblock { sequence: 0, version: 0, log_segment: 1, catalogue: None, identity: 7 };
    let file = PageFile::create(Arc::new(disk.clone()), &root).expect("a page file");
    let pages: Vec<_> = payloads
        .0
        .iter()
        .map(|page| (page, file.write_page(page.kind(), page.codec(), &page.bytes()).expect("a page")))
        .collect();
    let compare = |file: &PageFile| {
        let mut payload = Vec::new();
        for (page, extent) in &pages {
            file.read_page(*extent, page.kind(), &mut payload).expect("the page");
            assert!(payload == page.bytes());
        }
    };
    compare(&file);
    file.commit(&root).expect("a commit");
    drop(file);
    let (file, _) = PageFile::open(Arc::new(disk), false).expect("the page file");
    file.mark_used(&pages.iter().map(|(_, extent)| *extent).collect::<Vec<_>>()).expect("apart from each other");
    compare(&file);
}

#[derive(Arbitrary, Debug)]
struct Slot {
    sequence: u64,
    version: u64,
    log_segment: u64,
    catalogue: u64,
    format: u32,
    changes: Vec<(u16, u8)>,
    /// The checksum is computed after the changes, or before them.
    sealed: bool,
}

impl Slot {
    fn bytes(&self) -> Vec<u8> {
        let superblock = Superblock {
            sequence: self.sequence,
            version: self.version,
            log_segment: self.log_segment,
            catalogue: Extent::from_bits(self.catalogue),
            identity: 7,
        };
        let mut bytes = superblock.encode();
        // Most are of our format.
        if self.format.is_multiple_of(4) {
            bytes[8..12].copy_from_slice(&(self.format / 4).to_le_bytes());
        }
        for (at, byte) in &self.changes {
            bytes[usize::from(*at) % SUPERBLOCK_BYTES] = *byte;
        }
        if self.sealed {
            let sum = crc32c::crc32c(&bytes[..SUPERBLOCK_BYTES - 4]);
            bytes[SUPERBLOCK_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }
}

/// The two superblocks of a page file, and where it ends.
pub fn superblocks(input: &[u8]) {
    let Some((slots, end)) = described::<([Slot; 2], u16)>(input) else { return };
    let mut file = [slots[0].bytes(), slots[1].bytes()].concat();
    file.truncate(usize::from(end).max(1));
    let disk = MemoryDisk::new();
    disk.put(PAGE_FILE_NAME, file.clone());
    let looked_at = opened(&disk, true);
    assert_eq!(disk.get(PAGE_FILE_NAME), Some(file.clone()), "a read-only opening writes nothing");
    match opened(&disk, false) {
        Ok(superblock) => {
            assert_eq!(Some(superblock), by_the_book(&file));
            assert_eq!(looked_at.expect("it can be opened"), superblock);
            let now = disk.get(PAGE_FILE_NAME).expect("the page file");
            for slot in now.chunks_exact(SUPERBLOCK_BYTES).take(2) {
                assert_eq!(superblock::Slot::decode(slot), superblock::Slot::Valid(superblock));
            }
            assert_eq!(opened(&disk, false).expect("it can be opened again"), superblock);
        }
        Err(error) => {
            assert_eq!(looked_at.expect_err("it cannot be opened").to_string(), error.to_string());
            assert!(matches!(error, Error::NewerFormat { .. }) || by_the_book(&file).is_none(), "{error}");
            assert_eq!(disk.get(PAGE_FILE_NAME), Some(file), "a refused file is left as it is");
        }
    }
}

fn opened(disk: &MemoryDisk, read_only: bool) -> Result<Superblock> {
    open::open(disk, read_only).map(|(_, _, superblock)| superblock)
}

/// The sound slot with the highest sequence, told from the bytes as `docs/format.md` has them.
fn by_the_book(file: &[u8]) -> Option<Superblock> {
    let number = |slot: &[u8], at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
    let slots = file.chunks_exact(SUPERBLOCK_BYTES).take(2);
    let sound = slots.filter(|slot| {
        let sum = slot[SUPERBLOCK_BYTES - 4..] == crc32c::crc32c(&slot[..SUPERBLOCK_BYTES - 4]).to_le_bytes();
        slot[..8] == *b"LYREDB\x1a\0"
            && slot[8..12] == FORMAT_VERSION.to_le_bytes()
            && sum
            && [16, 24, 32].iter().all(|&at| number(slot, at) < LARGEST_NUMBER)
    });
    let read = sound.filter_map(|slot| {
        let catalogue = match number(slot, 40) {
            0 => None,
            bits => Some(Extent::from_bits(bits)?),
        };
        Some(Superblock {
            sequence: number(slot, 16),
            version: number(slot, 24),
            log_segment: number(slot, 32),
            catalogue,
            identity: u128::from(number(slot, 48)) | u128::from(number(slot, 56)) << 64,
        })
    });
    // Of equals the first.
    read.reduce(|best, next| if next.sequence > best.sequence { next } else { best })
}

/// The sound pages of a page file: where each is, its bytes as stored, and its kind and payload.
pub(crate) fn pages_of(file: &[u8]) -> Vec<(Vec<u8>, PageKind, Vec<u8>)> {
    let mut pages = Vec::new();
    let mut at = FIRST_PAGE_OFFSET as usize;
    while at + PAGE_HEADER_BYTES <= file.len() {
        let stored_bytes = u32::from_le_bytes(file[at + 8..at + 12].try_into().expect("four bytes")) as usize;
        let granules = granules_for(stored_bytes);
        let end = at + (granules * GRANULE_BYTES) as usize;
        let page = file.get(at..end).filter(|page| page[0] == PAGE_MAGIC);
        let extent = page.map(|_| Extent::new(at as u64 / GRANULE_BYTES, granules));
        let header = page.zip(extent).and_then(|(page, extent)| PageHeader::verify(page, extent).ok());
        let (Some(page), Some(header)) = (page, header) else {
            at += GRANULE_BYTES as usize;
            continue;
        };
        let mut payload = Vec::new();
        let stored = &page[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + stored_bytes];
        decompress(header.codec, stored, header.raw_bytes, &mut payload).expect("a sound page");
        pages.push((page[..PAGE_HEADER_BYTES + stored_bytes].to_vec(), header.kind, payload));
        at = end;
    }
    pages
}
