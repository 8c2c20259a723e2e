//! Damage of every kind to the files of a database: opening, reading and checking it tell of the damage or answer as if
//! there were none. They never panic, hang, ask for memory without bound, or give a wrong value.
//!
//! `LYREDB_TEST_EFFORT=10` flips ten bit patterns of each byte.

mod common;

#[path = "damage/crafted.rs"]
mod crafted;
#[path = "damage/judge.rs"]
mod judge;
#[path = "common/leaves.rs"]
mod leaves;
#[path = "damage/salvaged.rs"]
mod salvaged;
#[path = "common/specimen.rs"]
mod specimen;

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;

use common::{Random, scaled, tally};
use judge::{Legal, Origin, examine, examine_open, in_parallel, named, open};
use leaves::{BLOB, LEAF, Page};
use lyredb_engine::disk::{Disk, Fault, MemoryDisk};
use lyredb_engine::{Error, SalvageOptions, salvage_on};
use salvaged::Missing;
use specimen::{FIRST_PAGE, PAGES, Specimen, overwrite};

/// Of each file, its name and length.
fn files(specimen: &Specimen) -> Vec<(String, u64)> {
    let pages = (PAGES.to_owned(), specimen.pages.len() as u64);
    let segments = specimen.segments.iter().map(|segment| (segment.name.clone(), segment.bytes.len() as u64));
    std::iter::once(pages).chain(segments).collect()
}

/// What is legal when bytes of this file from `at` on are damaged.
fn legal<'a>(specimen: &'a Specimen, name: &str, at: u64, is_cut: bool) -> Legal<'a> {
    let torn = if name == specimen.last_segment().name { specimen.torn_at(at, is_cut) } else { None };
    Legal { newest: specimen.newest(), torn, origin: Origin::Accident }
}

#[test]
fn an_undamaged_specimen_is_whole() {
    let specimen = Specimen::new(1);
    assert!(specimen.pages.len() >= 262_144, "{} bytes of pages", specimen.pages.len());
    assert!(specimen.segments.len() >= 3, "{} segments", specimen.segments.len());
    let nothing = Legal { newest: specimen.newest(), torn: None, origin: Origin::Accident };
    for read_only in [true, false] {
        let told = examine(&specimen.disk(), read_only, &nothing, "nothing is damaged");
        assert!(told.is_empty(), "{told:?}");
    }
}

/// Bytes of a file to be flipped one after the other.
struct Piece {
    name: String,
    bytes: Range<u64>,
    /// Opening reads them.
    is_opened: bool,
}

/// A leaf or a long value is a piece, as is what lies between pages; what opening reads is cut into many.
fn pieces(specimen: &Specimen) -> Vec<Piece> {
    const AT_ONCE: u64 = 64;
    let pages = leaves::pages(&specimen.pages);
    let mut all = Vec::new();
    for (name, length) in files(specimen) {
        let mut from = 0;
        while from < length {
            let at = from as usize;
            let next = pages.iter().find(|page| page.end > at).filter(|_| name == PAGES);
            let (to, is_opened) = match next {
                Some(page) if page.at <= at => (page.end as u64, !matches!(page.kind, LEAF | BLOB)),
                Some(page) => (page.at as u64, from < FIRST_PAGE as u64),
                None => (length, name != PAGES || from < FIRST_PAGE as u64),
            };
            let to = to.min(from + if is_opened { AT_ONCE } else { 16 * AT_ONCE });
            all.push(Piece { name: name.clone(), bytes: from..to, is_opened });
            from = to;
        }
    }
    all
}

/// What opening reads is flipped before the database is opened; the rest under one that is open, and has not read it yet.
/// Of all a part is opened for writing, too.
#[test]
fn every_byte_flipped() {
    let specimen = Specimen::new(2);
    let pieces = pieces(&specimen);
    let mut flips = 0;
    for round in 0..scaled(1) {
        flips += pieces.iter().map(|piece| piece.bytes.end - piece.bytes.start).sum::<u64>();
        in_parallel(
            pieces.len() as u64,
            || specimen.disk(),
            |disk, index| {
                let Piece { name, bytes, is_opened } = &pieces[index as usize];
                let database = (!is_opened).then(|| open(disk));
                let mut found = 0;
                for at in bytes.clone() {
                    // A pattern that differs from byte to byte, and from round to round.
                    let pattern = (Random(at ^ round << 32).next() as u8).max(1);
                    let was = byte(&specimen, name, at);
                    let what = format!("{name}, byte {at} ^ {pattern:#04x}");
                    let legal = legal(&specimen, name, at, false);
                    overwrite(disk, name, at, &[was ^ pattern]);
                    let is_whole = match &database {
                        Some(database) => named(&what, || examine_open(database, &legal, false)).is_empty(),
                        None => examine(disk, true, &legal, &what).is_empty(),
                    };
                    overwrite(disk, name, at, &[was]);
                    if at % 64 == round % 64 {
                        let disk = disk.image();
                        overwrite(&disk, name, at, &[was ^ pattern]);
                        examine(&disk, false, &legal, &what);
                    }
                    found += u64::from(!is_whole);
                }
                // A page of the tree has no byte that may be another; an old one, or no page, may be anything.
                let is_all_or_nothing = found == 0 || found == bytes.end - bytes.start;
                assert!(*is_opened || is_all_or_nothing, "{name}, bytes {bytes:?}: {found} flips were found");
            },
        );
    }
    tally("flipped bytes", flips);
}

fn byte(specimen: &Specimen, name: &str, at: u64) -> u8 {
    let segment = specimen.segments.iter().find(|segment| segment.name == name);
    segment.map_or(&specimen.pages, |segment| &segment.bytes)[at as usize]
}

#[test]
fn every_length_cut() {
    let specimen = Specimen::new(3);
    let mut cuts = 0;
    for (name, length) in files(&specimen) {
        cuts += length;
        // From the longest to the shortest, so that each is the one before less a byte.
        in_parallel(
            length,
            || specimen.disk(),
            |disk, cut| {
                let at = length - 1 - cut;
                let file = disk.open(&name, lyredb_engine::disk::OpenMode::ReadWrite).expect("it is there");
                lyredb_engine::disk::File::set_len(&*file, at).expect("it is cut");
                let legal = legal(&specimen, &name, at, true);
                let what = format!("{name} cut to {at} bytes");
                examine(disk, true, &legal, &what);
                if at % 16 == 0 {
                    examine(&disk.image(), false, &legal, &what);
                }
            },
        );
    }
    tally("truncations", cuts);
}

#[test]
fn other_damage() {
    let (specimen, other) = (Specimen::new(4), Specimen::new(5));
    let damages = crafted::all(&specimen, &other);
    in_parallel(damages.len() as u64, || (), |(), index| damages[index as usize].examine(&specimen));
    tally("other damages", damages.len() as u64);
}

/// What of the newest records may be missing when this byte of the page file is damaged.
fn missing(pages: &[Page], at: usize) -> Missing {
    let page = pages.iter().find(|page| (page.at..page.end).contains(&at));
    match page {
        Some(page) if page.kind == LEAF => Missing::Keys(leaves::keys(&page.payload).into_iter().collect()),
        Some(page) if page.kind == BLOB => Missing::One,
        _ => Missing::Nothing,
    }
}

#[test]
fn salvage_after_flips() {
    let specimen = Specimen::new(6);
    let pages = leaves::pages(&specimen.pages);
    let mut count = 0;
    for (name, length) in files(&specimen) {
        let step = if name == PAGES { 64 } else { 7 };
        let samples = scaled(length / step).min(length);
        count += samples;
        in_parallel(
            samples,
            || specimen.disk(),
            |disk, sample| {
                let at = sample * length / samples + Random(sample).below(length / samples);
                let was = byte(&specimen, &name, at);
                overwrite(disk, &name, at, &[was ^ 0x55]);
                let missing = if name == PAGES { missing(&pages, at as usize) } else { Missing::Told };
                let what = format!("{name}, byte {at}");
                let report = salvaged::examine(
                    &specimen,
                    disk,
                    sample % 2 == 0 || !matches!(missing, Missing::Keys(_)),
                    &missing,
                    &what,
                );
                overwrite(disk, &name, at, &[was]);
                drop(report);
            },
        );
    }
    tally("salvaged databases", count);
}

#[test]
fn salvage_after_other_damage() {
    let (specimen, other) = (Specimen::new(7), Specimen::new(8));
    let damages = crafted::all(&specimen, &other);
    in_parallel(damages.len() as u64, || (), |(), index| damages[index as usize].salvage(&specimen));
    tally("salvaged databases", 2 * damages.len() as u64);
}

/// Names, notes and settings are those of the damaged database, and nothing of it is changed.
#[test]
fn a_sound_database_is_saved_whole() {
    let specimen = Specimen::new(9);
    let disk = specimen.disk();
    let report = salvaged::examine(&specimen, &disk, true, &Missing::Nothing, "nothing is damaged");
    assert!(report.problems.is_empty() && report.unplaced_records == 0, "{report:?}");
    assert_eq!(disk.get(PAGES).as_ref(), Some(&specimen.pages));
    let names = disk.list().expect("names").len();
    assert_eq!(names, 1 + specimen.segments.len());
}

/// A disk that fails under the new database: an error and an empty folder, or all was saved in spite of it.
#[test]
fn a_destination_that_fails_is_left_empty() {
    let specimen = Specimen::new(10);
    let options = SalvageOptions { clock: specimen::options().clock, ..SalvageOptions::default() };
    let mut failed = 0;
    for nth in (1..400).step_by(9) {
        let target = MemoryDisk::new();
        target.fail_at(nth, Fault::Kind(ErrorKind::StorageFull));
        let saved = salvage_on(Arc::new(specimen.disk()), Arc::new(target.clone()), &options, &mut |_, _| true);
        match saved {
            Ok(report) => assert!(report.is_whole, "{report:?}"),
            Err(error) => {
                failed += 1;
                assert!(matches!(error, Error::Io { .. }), "{error:?}");
                assert_eq!(target.list().expect("names"), Vec::<String>::new(), "after {error}");
            }
        }
    }
    assert!(failed > 3, "{failed} of them failed");
}
