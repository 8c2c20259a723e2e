//! The pages of a page file, read by what `docs/format.md` says of them.
#![allow(dead_code)] // Each suite uses only some of it.

use super::specimen::{FIRST_PAGE, GRANULE, number};

#[derive(Clone, Debug)]
pub struct Page {
    pub at: usize,
    /// With the padding.
    pub end: usize,
    pub kind: u8,
    pub payload: Vec<u8>,
}

pub const LEAF: u8 = 1;
pub const INNER: u8 = 2;
pub const CATALOGUE: u8 = 3;
pub const BLOB: u8 = 4;

impl Page {
    pub fn extent(&self) -> u64 {
        ((self.at / GRANULE) as u64) << 26 | (((self.end - self.at) / GRANULE) as u64) << 1
    }
}

fn number32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// All pages, current and old, whose checksum is right.
pub fn pages(file: &[u8]) -> Vec<Page> {
    let mut found = Vec::new();
    let mut at = FIRST_PAGE;
    while at + 16 <= file.len() {
        match page(file, at) {
            Some(page) => {
                at = page.end;
                found.push(page);
            }
            None => at += GRANULE,
        }
    }
    found
}

fn page(file: &[u8], at: usize) -> Option<Page> {
    let header = &file[at..at + 16];
    let (raw, stored) = (number32(header, 4), number32(header, 8));
    let end = at + (16 + stored).next_multiple_of(GRANULE);
    if header[0] != 0xd7 || header[3] != 1 || end > file.len() || checksum(file, at, stored) != number32(header, 12) {
        return None;
    }
    let bytes = &file[at + 16..at + 16 + stored];
    let payload = match header[2] {
        0 => bytes.to_vec(),
        1 => lz4_flex::block::decompress(bytes, raw).expect("the checksum is right"),
        _ => zstd::bulk::decompress(bytes, raw).expect("the checksum is right"),
    };
    Some(Page { at, end, kind: header[1], payload })
}

fn checksum(file: &[u8], at: usize, stored: usize) -> usize {
    let head = [&file[at..at + 12], &(at as u64).to_le_bytes()].concat();
    crc32c::crc32c_append(crc32c::crc32c(&head), &file[at + 16..at + 16 + stored]) as usize
}

/// An uncompressed page for byte `at`.
pub fn seal(at: usize, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut page = vec![0xd7, kind, 0, 1];
    page.extend((payload.len() as u32).to_le_bytes());
    page.extend((payload.len() as u32).to_le_bytes());
    let head = [&page[..], &(at as u64).to_le_bytes()].concat();
    page.extend(crc32c::crc32c_append(crc32c::crc32c(&head), payload).to_le_bytes());
    page.extend(payload);
    page.resize(page.len().next_multiple_of(GRANULE), 0);
    page
}

/// Writes the checksum of a superblock's slot.
pub fn seal_slot(slot: &mut [u8]) {
    let checksum = crc32c::crc32c(&slot[..4092]);
    slot[4092..4096].copy_from_slice(&checksum.to_le_bytes());
}

/// The keys of a leaf's payload.
pub fn keys(payload: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &payload[1..];
    let count = varint(&mut rest);
    let length = varint(&mut rest);
    let (prefix, mut rest) = rest.split_at(length);
    let lengths: Vec<usize> = (0..count).map(|_| varint(&mut rest)).collect();
    (0..count).for_each(|_| drop(varint(&mut rest).to_string()));
    if payload[0] != 0 {
        let (flags, behind) = rest.split_at(count);
        rest = &behind[8 * flags.iter().filter(|flags| *flags & 1 != 0).count()..];
    }
    let key = |length: usize| {
        let (key, behind) = rest.split_at(length);
        rest = behind;
        [prefix, key].concat()
    };
    lengths.into_iter().map(key).collect()
}

fn varint(bytes: &mut &[u8]) -> usize {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return value;
        }
    }
    panic!("a varint ends");
}

/// Where in a payload these eight bytes stand.
pub fn find(payload: &[u8], bits: u64) -> Option<usize> {
    (0..payload.len().saturating_sub(7)).find(|&at| number(payload, at) == bits)
}
