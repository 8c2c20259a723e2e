//! See `crate::fuzzing`.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;

use super::format::{
    BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockHeader, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES,
    SEGMENT_MAGIC, SegmentHeader, checksum, u64_at,
};
use super::{Log, LogOptions, segments};
use crate::disk::{Disk, MemoryDisk};
use crate::fuzzing::{Many, bounded, described};
use crate::{Durability, Result};

const IDENTITY: u128 = 77;

/// The headers of a segment and of a block, as they are and with checksums that fit.
pub fn log_headers(input: &[u8]) {
    let mut bytes = input.to_vec();
    segment_header(&bytes);
    block_header(&bytes);
    bytes.resize(SEGMENT_HEADER_BYTES as usize, 0);
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    let sum = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_le_bytes());
    segment_header(&bytes);
    bytes[..4].copy_from_slice(&BLOCK_MAGIC.to_le_bytes());
    let sum = checksum(IDENTITY, &bytes[8..BLOCK_HEADER_BYTES]);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    block_header(&bytes);
}

fn segment_header(bytes: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(bytes) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

fn block_header(bytes: &[u8]) {
    if bytes.len() < BLOCK_HEADER_BYTES {
        return;
    }
    let (segment, offset) = (u64_at(bytes, 24), u64_at(bytes, 32));
    let Some(header) = BlockHeader::decode(bytes, IDENTITY, segment, offset) else { return };
    let mut again = [0; BLOCK_HEADER_BYTES];
    header.encode(IDENTITY, &mut again);
    assert_eq!(again[..], bytes[..BLOCK_HEADER_BYTES]);
    if let Some(end) = header.end() {
        assert!(end.is_multiple_of(BLOCK_ALIGNMENT) && end >= offset + BLOCK_HEADER_BYTES as u64);
    }
    for (segment, offset) in [(segment ^ 1, offset), (segment, offset ^ 8)] {
        assert_eq!(BlockHeader::decode(bytes, IDENTITY, segment, offset), None, "it is from another place");
    }
}

/// A log as a writer may have left it, and what was done to it after.
#[derive(Arbitrary, Debug)]
struct Folder {
    first_segment: u8,
    /// Records of these versions at the start of the log are in the page file too.
    covered: u8,
    damage: Many<Damage, 3>,
    segments: Many<Segment, 4>,
}

#[derive(Arbitrary, Debug)]
struct Segment {
    lie: Option<Lie>,
    blocks: Many<Block, 8>,
    /// Behind the last block.
    rest: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Block {
    is_synced: bool,
    lie: Option<Lie>,
    /// How long each is.
    records: Many<u8, 6>,
}

/// A field of a header that is not what it should be, though the checksum fits.
#[derive(Arbitrary, Debug)]
struct Lie {
    field: u8,
    value: Distance,
}

#[derive(Arbitrary, Debug)]
enum Distance {
    Near(i8),
    Is(u64),
}

impl Lie {
    fn about(&self, value: u64) -> u64 {
        match self.value {
            Distance::Near(distance) => value.wrapping_add_signed(distance.into()),
            Distance::Is(value) => value,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Damage {
    /// Up to four bytes in a row become others.
    Flip {
        segment: u8,
        at: u16,
        bits: u32,
    },
    Cut {
        segment: u8,
        length: u16,
    },
    Extend {
        segment: u8,
        length: u16,
    },
    Remove {
        segment: u8,
    },
    /// A segment takes the place of another one.
    Rename {
        segment: u8,
        to: u8,
    },
}

/// A log's segments, and the payloads that were written to it.
struct Written {
    disk: MemoryDisk,
    names: Vec<String>,
    payloads: Vec<Vec<u8>>,
    lied: bool,
}

fn write(folder: &Folder) -> Written {
    let disk = MemoryDisk::new();
    let mut written = Written { disk, names: Vec::new(), payloads: Vec::new(), lied: false };
    let mut previous_end = 0;
    for (number, segment) in (first_segment(folder)..).zip(&folder.segments.0) {
        let mut header = SegmentHeader {
            segment: number,
            identity: IDENTITY,
            first_version: written.payloads.len() as u64 + 1,
            previous_end,
        };
        if let Some(lie) = &segment.lie {
            written.lied = true;
            match lie.field % 4 {
                0 => header.segment = lie.about(header.segment),
                1 => header.identity = lie.about(header.identity as u64).into(),
                2 => header.first_version = lie.about(header.first_version),
                _ => header.previous_end = lie.about(header.previous_end),
            }
        }
        let mut file = header.encode().to_vec();
        let mut synced = SEGMENT_HEADER_BYTES;
        for block in &segment.blocks.0 {
            if block.is_synced {
                synced = file.len() as u64;
            }
            written.lied |= block.lie.is_some();
            append(block, number, synced, &mut file, &mut written.payloads);
        }
        previous_end = file.len() as u64;
        file.extend_from_slice(&segment.rest);
        written.names.push(segments::file_name(number));
        written.disk.put(&segments::file_name(number), file);
    }
    written
}

fn append(block: &Block, segment: u64, synced: u64, file: &mut Vec<u8>, payloads: &mut Vec<Vec<u8>>) {
    let offset = file.len() as u64;
    let first_version = payloads.len() as u64 + 1;
    let mut records = Vec::new();
    for length in &block.records.0 {
        let version = payloads.len() as u64 + 1;
        let payload = vec![version as u8; usize::from(*length)];
        records.extend_from_slice(&u32::from(*length).to_le_bytes());
        records.extend_from_slice(&version.to_le_bytes());
        records.extend_from_slice(&payload);
        payloads.push(payload);
    }
    let mut header = BlockHeader {
        records_checksum: 0,
        records: block.records.0.len() as u32,
        length_bytes: records.len() as u64,
        segment,
        offset,
        first_version,
        synced_segment: segment,
        synced_offset: synced,
    };
    if let Some(lie) = &block.lie {
        match lie.field % 9 {
            0 => header.records = lie.about(header.records.into()) as u32,
            1 => header.length_bytes = lie.about(header.length_bytes),
            2 => header.segment = lie.about(header.segment),
            3 => header.offset = lie.about(header.offset),
            4 => header.first_version = lie.about(header.first_version),
            5 => header.synced_segment = lie.about(header.synced_segment),
            6 => header.synced_offset = lie.about(header.synced_offset),
            field => {
                let at = if field == 7 { 0 } else { 4 };
                if records.len() >= RECORD_HEADER_BYTES {
                    let value = lie.about(u64_at(&records, at));
                    records[at..at + 8].copy_from_slice(&value.to_le_bytes());
                }
            }
        }
    }
    let covered = &records[..records.len().min(header.length_bytes as usize)];
    header.records_checksum = checksum(IDENTITY, covered);
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    header.encode(IDENTITY, &mut bytes);
    file.extend_from_slice(&bytes);
    file.extend_from_slice(&records);
    file.resize(file.len().next_multiple_of(BLOCK_ALIGNMENT as usize), 0);
}

fn first_segment(folder: &Folder) -> u64 {
    u64::from(folder.first_segment) + 1
}

fn harm(damage: &Damage, written: &Written) {
    let (Damage::Flip { segment, .. }
    | Damage::Cut { segment, .. }
    | Damage::Extend { segment, .. }
    | Damage::Remove { segment }
    | Damage::Rename { segment, .. }) = damage;
    let name_of = |segment: u8| &written.names[usize::from(segment) % written.names.len()];
    let name = name_of(*segment);
    let Some(mut file) = written.disk.get(name) else { return };
    match damage {
        Damage::Flip { at, bits, .. } => {
            for (at, bits) in (usize::from(*at)..).zip(bits.to_le_bytes()) {
                let length = file.len();
                if length > 0 {
                    file[at % length] ^= bits;
                }
            }
        }
        Damage::Cut { length, .. } => file.truncate(file.len().saturating_sub((*length).into())),
        Damage::Extend { length, .. } => file.resize(file.len() + usize::from(*length), 0),
        Damage::Remove { .. } => return written.disk.remove(name).expect("it is there"),
        Damage::Rename { to, .. } => return written.disk.rename(name, name_of(*to)).expect("it is there"),
    }
    written.disk.put(name, file);
}

type Records = Vec<(u64, Vec<u8>)>;

fn replayed(disk: &MemoryDisk, options: &LogOptions) -> Result<(Log, Records)> {
    let mut records = Vec::new();
    let log = Log::open(Arc::new(disk.clone()), options, &mut |version, payload| {
        records.push((version, payload.to_vec()));
        Ok(())
    })?;
    Ok((log, records))
}

/// A folder of segments: looked at, opened, gone on with, opened again.
pub fn log_folder(input: &[u8]) {
    let Some(folder) = described::<Folder>(input).filter(|folder| !folder.segments.0.is_empty()) else { return };
    let written = write(&folder);
    folder.damage.0.iter().for_each(|damage| harm(damage, &written));
    let disk = &written.disk;
    let bytes = written.names.iter().filter_map(|name| disk.get(name)).map(|file| file.len()).sum::<usize>();
    let options = LogOptions {
        identity: IDENTITY,
        from_segment: first_segment(&folder),
        after_version: folder.covered.into(),
        durability: Durability::Sync,
        group_interval: Duration::from_millis(10),
        read_only: false,
    };
    let read_only = LogOptions { read_only: true, ..options.clone() };
    let looked_at = bounded(8, bytes, || replayed(disk, &read_only).map(|(_, records)| records));
    let (log, records) = match replayed(disk, &options) {
        Ok(opened) => opened,
        Err(error) => {
            assert_eq!(looked_at.expect_err("it cannot be opened").to_string(), error.to_string());
            assert!(written.lied || !folder.damage.0.is_empty(), "{error}");
            return;
        }
    };
    assert_eq!(looked_at.expect("it can be opened"), records);
    let covered = u64::from(folder.covered);
    let versions = records.iter().map(|(version, _)| *version);
    assert!(versions.eq((covered + 1..).take(records.len())), "the versions follow each other");
    if !written.lied && folder.damage.0.len() < 2 {
        // What is read is what was written, and without damage it is all of it.
        let expected: Vec<_> = (1..).zip(&written.payloads).filter(|(version, _)| *version > covered).collect();
        assert!(
            records.iter().map(|(version, payload)| (*version, payload)).eq(expected[..records.len()].iter().copied())
        );
        assert!(records.len() == expected.len() || !folder.damage.0.is_empty());
    }
    let last = covered + records.len() as u64;
    assert_eq!(log.last_version(), last.max(covered));
    drop(log);
    let (log, again) = replayed(disk, &options).expect("it was opened before");
    assert_eq!(again, records);
    let ticket = log.append(&[b"the ", b"next"]).expect("room");
    assert_eq!(ticket.version, last + 1);
    log.close().expect("closes");
    let (_, again) = replayed(disk, &options).expect("it was closed");
    assert_eq!(again[..records.len()], records);
    assert_eq!(again[records.len()..], [(last + 1, b"the next".to_vec())]);
}
