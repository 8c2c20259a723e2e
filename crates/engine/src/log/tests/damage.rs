//! Torn ends, damaged bytes, failing disks.

use std::io::ErrorKind;

use proptest::prelude::*;

use super::super::format::{self, BLOCK_HEADER_BYTES};
use super::*;
use crate::disk::{Fault, Operation};

const FULL: Fault = Fault::Kind(ErrorKind::StorageFull);
const BROKEN: Fault = Fault::Raw(5);

/// Offsets at which the blocks of a segment start, and the end of the last.
fn block_offsets(bytes: &[u8], segment: u64) -> Vec<usize> {
    let mut offsets = vec![SEGMENT_HEADER_BYTES as usize];
    loop {
        let at = *offsets.last().unwrap();
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= BLOCK_HEADER_BYTES) else { return offsets };
        let Some(block) = format::BlockHeader::decode(rest, 77, segment, at as u64) else { return offsets };
        offsets.push(block.end().unwrap() as usize);
    }
}

#[test]
fn an_end_torn_at_any_byte_is_cut() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Async);
    for version in 1..=6 {
        put(&log, &payload(version));
        if version % 2 == 0 {
            log.flush(false).unwrap();
        }
    }
    drop(log);
    let whole = segment_bytes(&disk, 1);
    let blocks = block_offsets(&whole, 1);
    assert_eq!(blocks.len(), 4);
    for length in SEGMENT_HEADER_BYTES as usize..=whole.len() {
        for filling in [None, Some(0), Some(0xFF)] {
            let mut torn = whole[..length].to_vec();
            if let Some(byte) = filling {
                torn.resize(whole.len() + 100, byte);
            }
            let crashed = MemoryDisk::new();
            crashed.put(&segments::file_name(1), torn);
            // What follows a block's last byte up to the alignment may be missing or anything.
            let kept = blocks[1..].iter().filter(|end| length + 8 > **end).count() as u64 * 2;
            let records = replayed(&crashed).unwrap();
            let fewer = kept.saturating_sub(2);
            assert!(records == expected(1..=kept) || records == expected(1..=fewer), "{length} {filling:?}");
            if blocks.contains(&length) {
                assert_eq!(records, expected(1..=kept));
            }
            let last = records.len() as u64;
            let (log, again) = open(&crashed).unwrap();
            assert_eq!(again, records);
            put_durable(&log, &payload(last + 1));
            drop(log);
            assert_eq!(open(&crashed).unwrap().1, expected(1..=last + 1));
        }
    }
}

#[test]
fn any_flipped_byte_before_what_was_synced_is_found() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    for version in 1..=5 {
        put_durable(&log, &payload(version));
    }
    log.close().unwrap();
    let whole = segment_bytes(&disk, 1);
    let blocks = block_offsets(&whole, 1);
    assert_eq!(blocks.len(), 7, "five and the end mark");
    for at in 0..blocks[5] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        let crashed = MemoryDisk::new();
        crashed.put(&segments::file_name(1), damaged);
        match replayed(&crashed) {
            Ok(records) => assert_eq!(records, expected(1..=5), "only padding is of no account: {at}"),
            Err(Error::Corruption { path, offset, what }) => {
                assert!(path.ends_with(segments::file_name(1)), "{path:?}");
                let block = blocks.iter().rev().find(|start| **start <= at).copied().unwrap_or(0);
                assert_eq!(offset, Some(block as u64), "{what}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    let mut damaged = whole.clone();
    damaged[blocks[1] + BLOCK_HEADER_BYTES + 15] ^= 1;
    disk.put(&segments::file_name(1), damaged);
    let text = replayed(&disk).unwrap_err().to_string();
    assert!(text.contains("lost are the commits of versions 2 to 2 or more"), "{text}");
}

#[test]
fn damage_in_an_earlier_segment_and_missing_segments_are_found() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Group);
    for version in 1..=9 {
        put(&log, &payload(version));
        if version % 3 == 0 {
            log.rotate().unwrap();
        }
    }
    drop(log);
    assert_eq!(replayed(&disk).unwrap(), expected(1..=9));
    let whole = segment_bytes(&disk, 2);
    let end = *block_offsets(&whole, 2).last().unwrap();
    for at in SEGMENT_HEADER_BYTES as usize..end - 8 {
        let image = disk.image();
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        image.put(&segments::file_name(2), damaged);
        assert!(is_corruption(&replayed(&image)), "byte {at}");
    }
    for segment in 1..=3 {
        let image = disk.image();
        image.remove(&segments::file_name(segment)).unwrap();
        let result = replayed(&image);
        assert!(is_corruption(&result), "without segment {segment}");
    }
    let other = LogOptions { identity: 78, ..OPTIONS };
    assert!(is_corruption(&open_with(&disk, &other)));
    let beyond = LogOptions { from_segment: 9, ..OPTIONS };
    assert!(is_corruption(&open_with(&disk, &beyond)));
}

#[test]
fn a_crash_while_a_segment_is_begun_is_survived() {
    for recycled in [false, true] {
        for nth in 1.. {
            let disk = MemoryDisk::new();
            let log = create(&disk, Durability::Sync);
            put_durable(&log, &payload(1));
            let (segment, _) = log.rotate().unwrap();
            if recycled {
                log.remove_before(segment).unwrap();
            }
            let from = LogOptions { from_segment: if recycled { segment } else { 1 }, ..OPTIONS };
            let from = LogOptions { after_version: u64::from(recycled), ..from };
            put_durable(&log, &payload(2));
            disk.fail_at(nth, BROKEN);
            let rotated = log.rotate();
            disk.heal();
            // Where nothing is uncertain the log goes on in the segment it was in.
            let goes_on = match log.append(&[&payload(3)]) {
                Ok(ticket) => log.wait_durable(ticket.position).is_ok(),
                Err(error) => !matches!(error, Error::Poisoned { .. }),
            };
            assert!(goes_on || rotated.is_err());
            drop(log);
            let last = 2 + u64::from(goes_on);
            let records = expected(from.after_version + 1..=last);
            let (log, found) = open_with(&disk, &from).unwrap();
            assert_eq!(found, records, "operation {nth}, recycled: {recycled}");
            put_durable(&log, &payload(last + 1));
            drop(log);
            assert_eq!(open_with(&disk, &from).unwrap().1.last(), Some(&(last + 1, payload(last + 1))));
            if rotated.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn what_an_earlier_use_of_the_file_left_is_never_read() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    let mut version = 0;
    let mut options = OPTIONS;
    for round in 0..20 {
        for _ in 0..10 - round % 3 * 4 {
            version += 1;
            put_durable(&log, b"all of the same length");
        }
        let image = disk.image();
        let (_, records) = open_with(&image, &options).unwrap();
        assert_eq!(records.len() as u64, version - options.after_version);
        assert_eq!(records.last().map(|record| record.0), Some(version));
        let (segment, last) = log.rotate().unwrap();
        log.remove_before(segment).unwrap();
        options = LogOptions { from_segment: segment, after_version: last, ..OPTIONS };
        assert!(open_with(&disk.image(), &options).unwrap().1.is_empty());
    }
}

#[test]
fn a_failed_sync_poisons() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    put_durable(&log, &payload(1));
    let ticket = put(&log, &payload(2));
    disk.fail_next(Operation::Sync, 1, BROKEN);
    assert!(matches!(log.wait_durable(ticket.position), Err(Error::Io { .. })));
    assert!(matches!(log.wait_durable(ticket.position), Err(Error::Poisoned { .. })));
    assert!(matches!(log.append(&[b"x"]), Err(Error::Poisoned { .. })));
    assert!(matches!(log.try_append(&[b"x"]), Err(Error::Poisoned { .. })));
    assert!(matches!(log.rotate(), Err(Error::Poisoned { .. })));
    assert!(matches!(log.close(), Err(Error::Poisoned { .. })));
    assert_eq!(log.synced_version(), 1);
    assert_eq!(replayed(&disk).unwrap(), expected(1..=2), "uncertain, and here it was there");
    let again = create(&MemoryDisk::new(), Durability::Async);
    again.poison("the page file failed");
    assert!(matches!(again.append(&[b"x"]), Err(Error::Poisoned { why }) if why == "the page file failed"));
}

#[test]
fn threads_that_wait_are_told_of_the_failure() {
    for operation in [Operation::Write, Operation::Sync] {
        let disk = MemoryDisk::new();
        let log = create(&disk, Durability::Sync);
        disk.fail_next(operation, 1, BROKEN);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Ok(ticket) = log.append(&[b"record"]) {
                        if let Err(error) = log.wait_durable(ticket.position) {
                            assert!(matches!(error, Error::Io { .. } | Error::Poisoned { .. }), "{error}");
                        }
                    }
                });
            }
        });
        assert_eq!(log.synced_version(), 0);
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    put_durable(&log, &payload(1));
    put(&log, &payload(2));
    let ticket = put(&log, &payload(3));
    disk.fail_next(Operation::Write, u64::MAX, FULL);
    for _ in 0..2 {
        assert!(matches!(log.wait_durable(ticket.position), Err(Error::Io { .. })));
        assert!(matches!(log.append(&[b"x"]), Err(Error::Io { .. })), "nothing is taken that has no room");
        assert!(log.try_append(&[b"x"]).unwrap().is_none());
        assert!(matches!(log.close(), Err(Error::Io { .. })));
    }
    disk.heal();
    assert_eq!(put(&log, &payload(4)).version, 4);
    log.close().unwrap();
    assert_eq!(replayed(&disk).unwrap(), expected(1..=4));
}

#[test]
fn opening_survives_a_failure_at_any_operation() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    put_durable(&log, &payload(1));
    log.rotate().unwrap();
    put_durable(&log, &payload(2));
    drop(log);
    for nth in 1.. {
        let image = disk.image();
        image.fail_at(nth, BROKEN);
        let opened = open(&image);
        image.heal();
        let done = opened.is_ok();
        drop(opened);
        assert_eq!(open(&image).unwrap().1, expected(1..=2), "operation {nth}");
        if done {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(), forged in any::<[u64; 4]>(),
    ) {
        let disk = MemoryDisk::new();
        let log = create(&disk, Durability::Async);
        for version in 1..=8 {
            put(&log, &payload(version));
            if version % 2 == 0 {
                log.flush(version == 4).unwrap();
            }
        }
        drop(log);
        let mut bytes = segment_bytes(&disk, 1);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(length.index(bytes.len()).max(bytes.len() / 2));
        // A header whose checksums fit but that says nonsense.
        let end = bytes.len().next_multiple_of(8);
        bytes.resize(end + 200, 0);
        let header = format::BlockHeader {
            records_checksum: forged[0] as u32, records: forged[1] as u32, length_bytes: forged[2], segment: 1,
            offset: end as u64, first_version: forged[3], synced_segment: forged[0] % 3, synced_offset: forged[1],
        };
        header.encode(77, &mut bytes[end..]);
        disk.put(&segments::file_name(1), bytes);
        match replayed(&disk) {
            Ok(records) => prop_assert_eq!(&records, &expected(1..=records.len() as u64)),
            Err(error) => prop_assert!(matches!(error, Error::Corruption { .. }), "{}", error),
        }
    }

    #[test]
    fn any_mix_of_calls_comes_back(steps in proptest::collection::vec(0_u8..10, 1..60)) {
        let disk = MemoryDisk::new();
        let mut log = create(&disk, Durability::Sync);
        let mut options = OPTIONS;
        let (mut version, mut durable) = (0, 0);
        for step in steps {
            match step {
                0..=4 => {
                    version += 1;
                    prop_assert_eq!(put(&log, &payload(version)).version, version);
                }
                5 | 6 => {
                    log.flush(step == 5).unwrap();
                    durable = version;
                }
                7 => {
                    let (segment, last) = log.rotate().unwrap();
                    prop_assert_eq!(last, version);
                    log.remove_before(segment).unwrap();
                    options = LogOptions { from_segment: segment, after_version: last, ..OPTIONS };
                    durable = version;
                }
                _ => {
                    if step == 8 {
                        log.close().unwrap();
                        durable = version;
                    }
                    drop(log);
                    let (again, records) = open_with(&disk, &options).unwrap();
                    prop_assert_eq!(records, expected(options.after_version + 1..=durable));
                    log = again;
                    version = durable;
                }
            }
        }
    }
}
