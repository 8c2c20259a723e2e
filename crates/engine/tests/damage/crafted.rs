//! Damage other than flipped bytes and cut files.

use std::collections::BTreeSet;

use lyredb_engine::disk::MemoryDisk;

use crate::common::Random;
use crate::judge::{Legal, Origin, examine};
use crate::leaves::{self, BLOB, CATALOGUE, INNER, LEAF, Page};
use crate::salvaged::{self, Missing};
use crate::specimen::{GRANULE, PAGES, Specimen, number};

type Files = Vec<(String, Vec<u8>)>;
type Change = Box<dyn Fn(&mut Files) + Send + Sync>;

pub struct Damage {
    pub what: String,
    change: Change,
    origin: Origin,
    /// The log loses its end as if it had never got so far.
    torn_at: Option<u64>,
}

impl Damage {
    fn new(what: impl Into<String>, change: impl Fn(&mut Files) + Send + Sync + 'static) -> Damage {
        Damage { what: what.into(), change: Box::new(change), origin: Origin::Accident, torn_at: None }
    }

    fn crafted(what: impl Into<String>, change: impl Fn(&mut Files) + Send + Sync + 'static) -> Damage {
        Damage { origin: Origin::Crafted, ..Damage::new(what, change) }
    }

    /// To the page file's bytes.
    fn pages(what: impl Into<String>, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Damage {
        Damage::new(what, move |files| change(&mut files[0].1))
    }

    fn crafted_pages(what: impl Into<String>, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Damage {
        Damage::crafted(what, move |files| change(&mut files[0].1))
    }

    fn disk(&self, specimen: &Specimen) -> MemoryDisk {
        let mut files = vec![(PAGES.to_owned(), specimen.pages.clone())];
        files.extend(specimen.segments.iter().map(|segment| (segment.name.clone(), segment.bytes.clone())));
        (self.change)(&mut files);
        let disk = MemoryDisk::new();
        files.into_iter().for_each(|(name, bytes)| disk.put(&name, bytes));
        disk
    }

    pub fn examine(&self, specimen: &Specimen) {
        let torn = self.torn_at.and_then(|at| specimen.torn_at(at, true));
        let legal = Legal { newest: specimen.newest(), torn, origin: self.origin };
        for read_only in [true, false] {
            examine(&self.disk(specimen), read_only, &legal, &self.what);
        }
    }

    pub fn salvage(&self, specimen: &Specimen) {
        let disk = self.disk(specimen);
        if self.origin != Origin::Accident {
            salvaged::save(&disk, false);
            salvaged::save(&disk, true);
        } else {
            salvaged::examine(specimen, &disk, false, &Missing::Told, &self.what);
            salvaged::examine(specimen, &disk, true, &Missing::Told, &self.what);
        }
    }
}

pub fn all(specimen: &Specimen, other: &Specimen) -> Vec<Damage> {
    let mut all = pages_in_wrong_places(specimen);
    all.extend(wrong_children(specimen));
    all.extend(zeros(specimen));
    all.extend(superblocks());
    all.extend(files(specimen, other));
    all
}

fn pages_in_wrong_places(specimen: &Specimen) -> Vec<Damage> {
    let pages = leaves::pages(&specimen.pages);
    let mut random = Random(7);
    let mut all = Vec::new();
    for _ in 0..600 {
        let mut pick = || pages[random.below(pages.len() as u64) as usize].clone();
        let (a, b) = (pick(), pick());
        let length = (a.end - a.at).min(b.end - b.at);
        let what = format!("the pages at {} and {} swapped", a.at, b.at);
        all.push(Damage::pages(what, move |file| {
            let first = file[a.at..a.at + length].to_vec();
            file.copy_within(b.at..b.at + length, a.at);
            file[b.at..b.at + length].copy_from_slice(&first);
        }));
    }
    // The content of another page, written where it does not belong.
    for _ in 0..600 {
        let mut pick = || pages[random.below(pages.len() as u64) as usize].clone();
        let (a, b) = (pick(), pick());
        let sealed = leaves::seal(a.at, b.kind, &b.payload);
        if a.at == b.at || sealed.len() > a.end - a.at {
            continue;
        }
        let what = format!("the page at {} with the content of that at {}", a.at, b.at);
        all.push(Damage::crafted_pages(what, move |file| file[a.at..a.at + sealed.len()].copy_from_slice(&sealed)));
    }
    all
}

/// Puts another extent in the place of one, in a copy of the page that names it, and of all above it. Pages that do so are
/// looked for in the first `length` bytes, before the copies.
fn redirect(file: &mut Vec<u8>, length: usize, from: u64, to: &dyn Fn(u64) -> u64) {
    let catalogue = number(file, 40);
    if from == catalogue {
        let to = to(from);
        for slot in [0, 4096] {
            file[slot + 40..slot + 48].copy_from_slice(&to.to_le_bytes());
            leaves::seal_slot(&mut file[slot..slot + 4096]);
        }
        return;
    }
    let namers: Vec<Page> = leaves::pages(&file[..length]);
    let namers = namers.into_iter().filter(|page| matches!(page.kind, INNER | CATALOGUE));
    let Some(mut page) = namers.rev().find(|page| leaves::find(&page.payload, from).is_some()) else { return };
    let old = page.extent();
    let at = file.len().next_multiple_of(GRANULE);
    let granules = (16 + page.payload.len()).div_ceil(GRANULE) as u64;
    let moved = ((at / GRANULE) as u64) << 26 | granules << 1;
    let place = leaves::find(&page.payload, from).expect("it was found");
    page.payload[place..place + 8].copy_from_slice(&to(moved).to_le_bytes());
    file.resize(at, 0);
    file.extend(leaves::seal(at, page.kind, &page.payload));
    redirect(file, length, old, &|_| moved);
}

/// Children that are no children: their parent itself, a brother, another kind of page, no page at all.
fn wrong_children(specimen: &Specimen) -> Vec<Damage> {
    let pages = leaves::pages(&specimen.pages);
    let extents: BTreeSet<u64> = pages.iter().map(Page::extent).collect();
    let end = (specimen.pages.len() / GRANULE) as u64;
    let mut random = Random(8);
    let mut all = Vec::new();
    for parent in pages.iter().filter(|page| matches!(page.kind, INNER | CATALOGUE)) {
        let places = (0..parent.payload.len().saturating_sub(7)).map(|at| number(&parent.payload, at));
        let children: BTreeSet<u64> = places.filter(|bits| extents.contains(bits)).collect();
        for (index, child) in children.iter().copied().enumerate().step_by(1 + children.len() / 12) {
            let mut pick = |kind: u8| {
                let of_kind: Vec<u64> = pages.iter().filter(|page| page.kind == kind).map(Page::extent).collect();
                of_kind[random.below(of_kind.len() as u64) as usize]
            };
            let brother = children.iter().copied().nth((index + 1) % children.len()).unwrap_or(child);
            let targets = [
                ("itself, moved", None),
                ("its parent as it was", Some(parent.extent())),
                ("its brother", Some(brother)),
                ("a leaf", Some(pick(LEAF))),
                ("an inner page", Some(pick(INNER))),
                ("a long value", Some(pick(BLOB))),
                ("the catalogue", Some(pick(CATALOGUE))),
                ("nothing", Some(0)),
                ("an odd number", Some(child | 1)),
                ("a place beyond the end", Some(end << 26 | 2)),
                ("a place far beyond the end", Some(u64::MAX - 1)),
                ("a superblock", Some(64 << 1)),
                ("the middle of a page", Some(child + (1 << 26))),
                ("a page too long", Some(child + 2)),
            ];
            for (name, target) in targets {
                let what = format!("the child {child:#x} of the page at {} is {name}", parent.at);
                let change = move |file: &mut Vec<u8>| {
                    let length = file.len();
                    redirect(file, length, child, &|moved| target.unwrap_or(moved));
                };
                all.push(Damage::crafted_pages(what, change));
            }
        }
    }
    all
}

fn zeros(specimen: &Specimen) -> Vec<Damage> {
    let mut all = Vec::new();
    let mut lengths = vec![(0, specimen.pages.len())];
    lengths.extend(specimen.segments.iter().enumerate().map(|(index, segment)| (index + 1, segment.bytes.len())));
    for (file, length) in lengths {
        for step in [512, 4096, 16384] {
            for at in (0..length).step_by(step) {
                let what = format!("zeros from {at} to {} of file {file}", at + step);
                let change = move |files: &mut Files| {
                    let end = (at + step).min(files[file].1.len());
                    files[file].1[at..end].fill(0);
                };
                // Of the last segment all from there on may be zeros now, and its witnesses with it.
                let torn_at = (file == specimen.segments.len()).then_some(at as u64);
                all.push(Damage { torn_at, ..Damage::new(what, change) });
            }
        }
    }
    all
}

/// Superblocks that are sound and say what is not so.
fn superblocks() -> Vec<Damage> {
    let mut all = Vec::new();
    for (at, name) in [(16, "sequence"), (24, "version"), (32, "log segment"), (40, "catalogue"), (48, "identity")] {
        for value in [0, 1, 2, 4096, 1 << 26 | 2, 128 << 26 | 2, u64::MAX >> 1, u64::MAX - 1, u64::MAX] {
            for slots in [&[0][..], &[4096], &[0, 4096]] {
                let what = format!("superblocks at {slots:?} with {name} {value:#x}");
                let slots = slots.to_vec();
                let damage = Damage::pages(what, move |file| {
                    for &slot in &slots {
                        file[slot + at..slot + at + 8].copy_from_slice(&value.to_le_bytes());
                        leaves::seal_slot(&mut file[slot..slot + 4096]);
                    }
                });
                all.push(Damage { origin: Origin::Forged, ..damage });
            }
        }
    }
    all
}

/// Whole files that are missing, foreign, too many or garbage.
fn files(specimen: &Specimen, other: &Specimen) -> Vec<Damage> {
    let mut all = Vec::new();
    let count = 1 + specimen.segments.len();
    let last = specimen.last_segment().number;
    let begin_of_last = 0;
    for file in 0..count {
        let torn_at = (file + 1 == count).then_some(begin_of_last);
        let mine = |damage: Damage| Damage { torn_at, ..damage };
        all.push(mine(Damage::new(format!("file {file} is missing"), move |files| drop(files.remove(file)))));
        all.push(mine(Damage::new(format!("file {file} is empty"), move |files| files[file].1.clear())));
        for seed in 0..20 {
            let what = format!("file {file} is garbage ({seed})");
            all.push(mine(Damage::new(what, move |files| {
                let mut random = Random(seed);
                files[file].1.iter_mut().for_each(|byte| *byte = random.next() as u8);
            })));
        }
        let theirs = if file == 0 { other.pages.clone() } else { other.segments[file - 1].bytes.clone() };
        // Of another page file a salvage saves what it holds, and leaves the log out.
        let origin = if file == 0 { Origin::Crafted } else { Origin::Accident };
        let what = format!("file {file} is another database's");
        all.push(Damage { origin, ..Damage::new(what, move |files| files[file].1 = theirs.clone()) });
    }
    for (name, bytes) in
        [("empty", Vec::new()), ("garbage", vec![0x5a; 5000]), ("a copy", specimen.last_segment().bytes.clone())]
    {
        for number in [0, last + 1, last + 2, last + 1000] {
            let bytes = bytes.clone();
            let what = format!("one segment more, {number}: {name}");
            all.push(Damage::new(what, move |files| files.push((format!("log-{number:016}.lyre"), bytes.clone()))));
        }
    }
    for name in ["pages.lyre.new", "log-7.lyre", "log-x.lyre", "notes.txt", "pages.lyre.old"] {
        let add = move |files: &mut Files| files.push((name.to_owned(), vec![0xd7; 700]));
        all.push(Damage::new(format!("a file {name} more"), add));
    }
    all
}
