use std::io::ErrorKind;
use std::sync::Arc;

use proptest::prelude::*;

use super::allocator::FreeMap;
use super::*;
use crate::Error;
use crate::disk::{Disk, Fault, MemoryDisk, OpenMode, Operation};

const ROOT: Superblock =
    Superblock { sequence: 0, version: 7, log_segment: 3, catalogue: None, identity: 0x1234_5678_9abc };

fn new_file() -> (MemoryDisk, PageFile) {
    let disk = MemoryDisk::new();
    let file = PageFile::create(Arc::new(disk.clone()), &ROOT).unwrap();
    (disk, file)
}

fn reopen(disk: &MemoryDisk) -> crate::Result<(PageFile, Superblock)> {
    PageFile::open(Arc::new(disk.clone()), false)
}

fn read(file: &PageFile, extent: Extent, kind: PageKind) -> crate::Result<Vec<u8>> {
    let mut payload = vec![0xEE; 3];
    file.read_page(extent, kind, &mut payload).map(|()| payload)
}

fn is_corruption<T: std::fmt::Debug>(result: crate::Result<T>) -> bool {
    matches!(result, Err(Error::Corruption { .. }))
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(step).collect()
}

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::None), Just(Codec::Lz4), (-3..6).prop_map(Codec::Zstd)]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0..20_000_usize).prop_map(|(byte, length)| vec![byte; length]),
        (proptest::collection::vec(any::<u8>(), 1..40), 0..300_usize).prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_come_back_as_they_were(pages in proptest::collection::vec((codec(), payload()), 1..8)) {
        let (disk, file) = new_file();
        let kinds = [PageKind::Leaf, PageKind::Inner, PageKind::Catalogue, PageKind::Blob];
        let mut written = Vec::new();
        for (at, (codec, payload)) in pages.iter().enumerate() {
            let kind = kinds[at % 4];
            let extent = file.write_page(kind, *codec, payload).unwrap();
            prop_assert_eq!(Extent::from_bits(extent.to_bits()), Some(extent));
            prop_assert!(extent.len_bytes() < payload.len() as u64 + 16 + 64);
            written.push((extent, kind, payload));
        }
        file.commit(&Superblock { catalogue: Some(written[0].0), ..ROOT }).unwrap();
        let (file, superblock) = reopen(&disk).unwrap();
        prop_assert_eq!(superblock.catalogue, Some(written[0].0));
        let extents: Vec<Extent> = written.iter().map(|(extent, ..)| *extent).collect();
        file.mark_used(&extents).unwrap();
        prop_assert!(is_corruption(file.mark_used(&extents)));
        for (extent, kind, payload) in written {
            prop_assert_eq!(&read(&file, extent, kind).unwrap(), payload);
            let other = if kind == PageKind::Leaf { PageKind::Blob } else { PageKind::Leaf };
            prop_assert!(is_corruption(read(&file, extent, other)));
        }
    }

    #[test]
    fn hostile_pages_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 64..256),
        raw in any::<u32>(), codec in 0_u8..4, granules in 1_u64..5,
    ) {
        let (disk, file) = new_file();
        let extent = file.write_page(PageKind::Leaf, Codec::None, &noise(300)).unwrap();
        let mut image = disk.get(PAGE_FILE_NAME).unwrap();
        let extent = Extent::from_bits((extent.offset() / 64) << 26 | granules << 1).unwrap();
        // A header whose checksum fits, in front of nonsense.
        let stored = (granules * 64 - 16) as u32;
        bytes.resize(256, 0);
        bytes[..4].copy_from_slice(&[format::PAGE_MAGIC, 1, codec, format::PAGE_FORMAT]);
        bytes[4..8].copy_from_slice(&raw.to_le_bytes());
        bytes[8..12].copy_from_slice(&stored.to_le_bytes());
        let mut head = bytes[..12].to_vec();
        head.extend_from_slice(&extent.offset().to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&head), &bytes[16..16 + stored as usize]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        let at = extent.offset() as usize;
        image[at..at + 256].copy_from_slice(&bytes);
        disk.put(PAGE_FILE_NAME, image);
        let result = read(&file, extent, PageKind::Leaf);
        prop_assert!(is_corruption(result) || codec != 3);
    }

    #[test]
    fn the_free_map_does_what_a_list_of_granules_does(
        steps in proptest::collection::vec((0_u8..6, 1_u64..90, any::<prop::sample::Index>()), 1..300),
    ) {
        let mut map = FreeMap::new(10, 100);
        let mut model: Vec<bool> = (0..100).map(|granule| granule >= 10).collect();
        let mut used: Vec<(u64, u64)> = Vec::new();
        for (step, length, pick) in steps {
            match step {
                0..=2 => {
                    let below = if step == 2 { pick.index(model.len() + 1) as u64 } else { u64::MAX };
                    let fits = |start: &u64| (*start..start + length).all(|at| model.get(at as usize) == Some(&true));
                    let expected = (0..model.len() as u64).find(fits).filter(|start| start + length <= below);
                    prop_assert_eq!(map.allocate(length, below), expected);
                    if let Some(start) = expected {
                        model[start as usize..(start + length) as usize].fill(false);
                        used.push((start, length));
                    }
                }
                3 if !used.is_empty() => {
                    let (start, length) = used.swap_remove(pick.index(used.len()));
                    prop_assert!(map.release(start, length));
                    prop_assert!(!map.release(start, length));
                    model[start as usize..(start + length) as usize].fill(true);
                }
                4 => {
                    let end = model.len() as u64 + length * 20;
                    map.grow(end);
                    model.resize(end as usize, true);
                }
                5 if pick.index(4) == 0 => {
                    let kept = model.iter().rposition(|free| !free).map_or(0, |at| at + 1);
                    let expected = kept.max(if used.is_empty() { 10 } else { 0 });
                    prop_assert_eq!(map.cut_tail(), expected as u64);
                    model.truncate(expected);
                }
                _ => {
                    let start = pick.index(model.len()) as u64;
                    let all_free = (start..start + length).all(|at| model.get(at as usize) == Some(&true));
                    prop_assert_eq!(map.take(start, length), all_free);
                    if all_free {
                        model[start as usize..(start + length) as usize].fill(false);
                        used.push((start, length));
                    }
                }
            }
            let free = model.iter().filter(|free| **free).count() as u64;
            let runs = (0..model.len()).filter(|at| model[*at] && (*at == 0 || !model[at - 1])).count() as u64;
            prop_assert_eq!((map.free(), map.runs(), map.end()), (free, runs, model.len() as u64));
        }
    }
}

#[test]
fn any_flipped_byte_of_a_page_is_found() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd(3)] {
        let (disk, file) = new_file();
        let mut payload = noise(150);
        payload.extend_from_slice(&[7; 1000]);
        let extent = file.write_page(PageKind::Leaf, codec, &payload).unwrap();
        let image = disk.get(PAGE_FILE_NAME).unwrap();
        for at in extent.offset()..extent.end() {
            let mut damaged = image.clone();
            damaged[at as usize] ^= 0x40;
            disk.put(PAGE_FILE_NAME, damaged);
            assert!(is_corruption(read(&file, extent, PageKind::Leaf)), "{codec:?}, byte {at}");
        }
        disk.put(PAGE_FILE_NAME, image[..extent.end() as usize - 1].to_vec());
        assert!(is_corruption(read(&file, extent, PageKind::Leaf)), "the file is too short");
    }
}

#[test]
fn a_page_read_from_another_place_is_found() {
    let (disk, file) = new_file();
    let extents = [0; 2].map(|_| file.write_page(PageKind::Leaf, Codec::None, b"same length").unwrap());
    let mut image = disk.get(PAGE_FILE_NAME).unwrap();
    let page = image[extents[0].offset() as usize..extents[0].end() as usize].to_vec();
    image[extents[1].offset() as usize..extents[1].end() as usize].copy_from_slice(&page);
    disk.put(PAGE_FILE_NAME, image);
    assert_eq!(read(&file, extents[0], PageKind::Leaf).unwrap(), b"same length");
    assert!(is_corruption(read(&file, extents[1], PageKind::Leaf)));
}

#[test]
fn extents_outside_the_file_are_refused() {
    let (_disk, file) = new_file();
    assert_eq!(Extent::from_bits(0), None);
    assert_eq!(Extent::from_bits(1 << 26 | 2), None, "within the superblocks");
    assert_eq!(Extent::from_bits(128 << 26), None, "no length");
    assert_eq!(Extent::from_bits(128 << 26 | 3), None, "tagged");
    let far = Extent::from_bits(u64::MAX - 1).unwrap();
    assert!(is_corruption(read(&file, far, PageKind::Leaf)));
    assert!(is_corruption(file.mark_used(&[far])));
    assert!(is_corruption(file.release(&[far])));
}

#[test]
fn what_is_released_is_used_again_and_the_tail_is_given_back() {
    let (disk, file) = new_file();
    let extents: Vec<Extent> =
        (0..100).map(|_| file.write_page(PageKind::Leaf, Codec::Lz4, &noise(10_000)).unwrap()).collect();
    let full = file.usage();
    assert_eq!(full.used_bytes + full.free_bytes, full.file_bytes);
    file.release(&extents[10..20]).unwrap();
    assert!(is_corruption(file.release(&extents[15..16])), "freed twice");
    assert_eq!(file.write_page(PageKind::Leaf, Codec::Lz4, &noise(10_000)).unwrap(), extents[10]);
    let moved = file.relocate(extents[99]).unwrap().unwrap();
    assert_eq!(moved, extents[11]);
    assert_eq!(read(&file, moved, PageKind::Leaf).unwrap(), noise(10_000));
    assert_eq!(file.relocate(extents[5]).unwrap(), None, "only places before it");
    file.release(&extents[30..]).unwrap();
    assert!(file.shrink().unwrap() > 0);
    let usage = file.usage();
    assert_eq!(usage.file_bytes, extents[29].end());
    assert_eq!(disk.get(PAGE_FILE_NAME).unwrap().len() as u64, usage.file_bytes);
    assert_eq!(file.shrink().unwrap(), 0);
    assert_eq!(usage.free_runs, 1);
    assert!(is_corruption(read(&file, extents[50], PageKind::Leaf)));
}

#[test]
fn threads_never_get_the_same_place() {
    let (_disk, file) = new_file();
    let mut extents: Vec<Extent> = std::thread::scope(|scope| {
        let work = |seed: u8| {
            let file = &file;
            scope.spawn(move || {
                let mut kept = Vec::new();
                for round in 0..200_usize {
                    let extent = file.write_page(PageKind::Blob, Codec::None, &vec![seed; round * 7]).unwrap();
                    if round % 3 == 0 {
                        file.release(&[extent]).unwrap();
                    } else {
                        kept.push((extent, round * 7));
                    }
                }
                for (extent, length) in &kept {
                    assert_eq!(read(file, *extent, PageKind::Blob).unwrap(), vec![seed; *length]);
                }
                kept.into_iter().map(|(extent, _)| extent).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..4).map(work).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    extents.sort_unstable();
    assert!(extents.windows(2).all(|pair| pair[0].end() <= pair[1].offset()));
}

#[test]
fn a_superblock_that_was_torn_leaves_the_older_one() {
    let (disk, file) = new_file();
    file.commit(&Superblock { version: 8, ..ROOT }).unwrap();
    let before = disk.get(PAGE_FILE_NAME).unwrap();
    file.commit(&Superblock { version: 9, ..ROOT }).unwrap();
    let after = disk.get(PAGE_FILE_NAME).unwrap();
    let slot = |at: usize| at * 4096..(at + 1) * 4096;
    assert_eq!(after[slot(0)], after[slot(1)], "both hold the same");
    for torn in (0..=4096).step_by(512) {
        // Sequence 3 goes to slot 1 first.
        let mut image = before.clone();
        image[4096..4096 + torn].copy_from_slice(&after[4096..4096 + torn]);
        let crashed = MemoryDisk::new();
        crashed.put(PAGE_FILE_NAME, image);
        let expected = if torn == 4096 { 9 } else { 8 };
        let (_, superblock) = PageFile::open(Arc::new(crashed.clone()), true).unwrap();
        assert_eq!(superblock.version, expected);
        let untouched = crashed.get(PAGE_FILE_NAME).unwrap();
        let (file, superblock) = reopen(&crashed).unwrap();
        assert_eq!((superblock.version, superblock.identity), (expected, ROOT.identity));
        let repaired = crashed.get(PAGE_FILE_NAME).unwrap();
        assert_eq!(repaired[slot(0)], repaired[slot(1)]);
        assert!(torn == 0 || untouched != repaired);
        file.commit(&Superblock { version: 10, ..ROOT }).unwrap();
        assert_eq!(reopen(&crashed).unwrap().1.version, 10);
    }
}

#[test]
fn any_flipped_byte_of_a_superblock_is_survived_and_of_both_is_found() {
    let (disk, file) = new_file();
    file.commit(&ROOT).unwrap();
    let image = disk.get(PAGE_FILE_NAME).unwrap();
    for at in 0..4096 {
        let mut damaged = image.clone();
        damaged[at] ^= 1;
        disk.put(PAGE_FILE_NAME, damaged.clone());
        assert_eq!(reopen(&disk).unwrap().1, Superblock { sequence: 2, ..ROOT }, "byte {at}");
        damaged[4096 + at] ^= 1;
        disk.put(PAGE_FILE_NAME, damaged);
        let result = reopen(&disk);
        match at {
            0..8 => assert!(matches!(result, Err(Error::NotADatabase { .. })), "{result:?}"),
            // Format 0 is damage, and so is 1 with another byte set: unless it reads as a newer one.
            8..12 => assert!(matches!(result, Err(Error::Corruption { .. } | Error::NewerFormat { .. }))),
            _ => assert!(is_corruption(result), "byte {at}"),
        }
    }
}

#[test]
fn other_files_and_newer_formats_are_told_apart() {
    let disk = MemoryDisk::new();
    assert!(matches!(reopen(&disk), Err(Error::NotFound { .. })));
    for bytes in [Vec::new(), b"SQLite format 3\0".to_vec(), vec![0; 10_000]] {
        disk.put(PAGE_FILE_NAME, bytes);
        assert!(matches!(reopen(&disk), Err(Error::NotADatabase { .. })));
    }
    disk.put(PAGE_FILE_NAME, format::SUPERBLOCK_MAGIC.to_vec());
    assert!(is_corruption(reopen(&disk)));
    let (disk, _file) = new_file();
    let mut image = disk.get(PAGE_FILE_NAME).unwrap();
    for slot in image[..8192].chunks_mut(4096) {
        slot[8] = 9;
        let sum = crc32c::crc32c(&slot[..4092]);
        slot[4092..].copy_from_slice(&sum.to_le_bytes());
    }
    disk.put(PAGE_FILE_NAME, image);
    assert!(matches!(reopen(&disk), Err(Error::NewerFormat { found: 9, .. })));
}

#[test]
fn a_full_disk_is_survived() {
    let (disk, file) = new_file();
    let first = file.write_page(PageKind::Leaf, Codec::None, &noise(500)).unwrap();
    let before = file.usage();
    disk.fail_next(Operation::Write, 1, Fault::Kind(ErrorKind::StorageFull));
    assert!(matches!(file.write_page(PageKind::Leaf, Codec::None, &noise(500)), Err(Error::Io { .. })));
    assert_eq!(file.usage(), before);
    disk.fail_next(Operation::SetLength, 1, Fault::Kind(ErrorKind::StorageFull));
    assert!(matches!(file.write_page(PageKind::Leaf, Codec::None, &noise(1 << 20)), Err(Error::Io { .. })));
    assert_eq!(file.usage(), before);
    let second = file.write_page(PageKind::Leaf, Codec::None, &noise(500)).unwrap();
    assert_eq!(second.offset(), first.end());
    file.commit(&ROOT).unwrap();
}

#[test]
fn a_failed_commit_poisons() {
    for nth in 1..=5 {
        let (disk, file) = new_file();
        let extent = file.write_page(PageKind::Leaf, Codec::None, b"x").unwrap();
        disk.fail_at(nth, Fault::Raw(5));
        assert!(matches!(file.commit(&Superblock { version: 8, ..ROOT }), Err(Error::Io { .. })));
        disk.heal();
        assert!(matches!(file.commit(&ROOT), Err(Error::Poisoned { .. })));
        assert!(matches!(file.write_page(PageKind::Leaf, Codec::None, b""), Err(Error::Poisoned { .. })));
        assert!(matches!(file.release(&[extent]), Err(Error::Poisoned { .. })));
        assert_eq!(read(&file, extent, PageKind::Leaf).unwrap(), b"x");
        assert!([7, 8].contains(&reopen(&disk).unwrap().1.version));
    }
}

#[test]
fn creating_leaves_a_whole_file_or_none() {
    for nth in 1.. {
        let disk = MemoryDisk::new();
        disk.fail_at(nth, Fault::Raw(5));
        let created = PageFile::create(Arc::new(disk.clone()), &ROOT).is_ok();
        disk.heal();
        match disk.open(PAGE_FILE_NAME, OpenMode::Read) {
            Ok(_) => assert_eq!(reopen(&disk).unwrap().1.version, 7),
            Err(_) => assert!(!created),
        }
        if created {
            return;
        }
        PageFile::create(Arc::new(disk.clone()), &ROOT).unwrap();
        assert_eq!(reopen(&disk).unwrap().1.version, 7);
    }
}

#[test]
fn read_only_writes_nothing() {
    let (disk, _file) = new_file();
    let operations = disk.get(PAGE_FILE_NAME);
    let (file, _) = PageFile::open(Arc::new(disk.clone()), true).unwrap();
    assert!(matches!(file.write_page(PageKind::Leaf, Codec::None, b""), Err(Error::ReadOnly)));
    assert!(matches!(file.commit(&ROOT), Err(Error::ReadOnly)));
    assert!(matches!(file.shrink(), Err(Error::ReadOnly)));
    assert_eq!(disk.get(PAGE_FILE_NAME), operations);
}
