//! The images that a power cut could have left of a recorded disk.
//!
//! A disk keeps what was synced. Of all else it may keep any part: writes torn at sectors or lost whole, later ones without
//! earlier ones, bytes without the length that makes room for them and lengths without the bytes, names without bytes,
//! bytes without names, a rename without the creation before it. Where a file grew and the bytes are lost, there may be
//! zeros or what some file held before.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use lyredb_engine::disk::MemoryDisk;

use crate::common::Random;
use crate::recorder::{Change, Event, Naming, Recorder, apply, write};

/// What a disk may tear a write into.
const SECTOR: usize = 512;

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Everything,
    Nothing,
    /// The number stands for the choices that are left.
    Some(Kept, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Each sector, length and name by the toss of a coin, which is seldom a fair one.
    Sectors,
    /// The same of whole writes.
    Writes,
    /// All but one write, a sector of one, a length or a name.
    AllButOne,
    /// One of these; more often than not what came last.
    OneOnly,
    /// All up to some operation, which may be torn, and nothing after it.
    First,
}

impl Loss {
    pub fn any(random: &mut Random) -> Loss {
        const KINDS: [Kept; 5] = [Kept::Sectors, Kept::Writes, Kept::AllButOne, Kept::OneOnly, Kept::First];
        Loss::Some(KINDS[random.below(KINDS.len() as u64) as usize], random.next())
    }
}

impl Display for Loss {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Everything => out.write_str("everything is lost"),
            Loss::Nothing => out.write_str("nothing is lost"),
            Loss::Some(kept, number) => write!(out, "{kept:?} {number}"),
        }
    }
}

/// Goes through a recording, and stops the power wherever it is asked to.
#[derive(Default)]
pub struct Replay {
    events: Vec<Event>,
    next: usize,
    durable: Vec<Vec<u8>>,
    durable_names: BTreeMap<String, usize>,
    /// Positions of the changes and names that no sync has covered yet.
    pending: Vec<usize>,
    /// Pieces of changes that no sync will cover, by their positions: readable, and lost if the disk pleases.
    forgotten: Vec<(usize, Range<usize>)>,
}

impl Replay {
    pub fn of(recorder: &Recorder) -> Replay {
        Replay { events: recorder.recorded(), ..Replay::default() }
    }

    /// Goes on until `count` operations have happened.
    pub fn advance(&mut self, count: usize) {
        let (events, pending, forgotten) = (&self.events, &mut self.pending, &mut self.forgotten);
        for at in self.next..count {
            match &events[at] {
                Event::Change { file, change } => {
                    pending.push(at);
                    let (mut from, mut to) = change.reach();
                    (from, to) = (from / SECTOR * SECTOR, to.next_multiple_of(SECTOR));
                    forgotten.retain(|(at, piece)| match &events[*at] {
                        Event::Change { file: other, .. } => other != file || piece.end <= from || piece.start >= to,
                        _ => true,
                    });
                }
                Event::Forget => pending.retain(|&at| match &events[at] {
                    Event::Change { change: Change::Write { offset, bytes }, .. } => {
                        forgotten.extend(sectors(*offset, bytes.len()).map(|piece| (at, piece)));
                        false
                    }
                    _ => true,
                }),
                Event::Naming(naming) => {
                    if let Naming::Create { .. } = naming {
                        self.durable.push(Vec::new());
                    }
                    pending.push(at);
                }
                Event::Sync { file } => {
                    let bytes = &mut self.durable[*file];
                    pending.retain(|&at| match &events[at] {
                        Event::Change { file: changed, change } if changed == file => {
                            apply(bytes, change);
                            false
                        }
                        _ => true,
                    });
                }
                Event::SyncDirectory => {
                    let names = &mut self.durable_names;
                    pending.retain(|&at| match &events[at] {
                        Event::Naming(naming) => {
                            rename(names, naming, false);
                            false
                        }
                        _ => true,
                    });
                }
            }
        }
        self.next = self.next.max(count);
    }

    /// Whether there is nothing that a power cut could take.
    pub fn is_all_durable(&self) -> bool {
        self.pending.is_empty() && self.forgotten.is_empty()
    }

    pub fn image(&self, loss: Loss) -> MemoryDisk {
        let mut choice = Choice::new(loss, self.pending.len());
        let mut names = self.durable_names.clone();
        let mut kept: Vec<Vec<Survivor<'_>>> = vec![Vec::new(); self.durable.len()];
        for (at, piece) in &self.forgotten {
            if let Event::Change { file, change: Change::Write { offset, bytes } } = &self.events[*at]
                && choice.keeps_forgotten()
            {
                kept[*file].push(Survivor::Bytes(piece.start, &bytes[piece.start - offset..piece.end - offset]));
            }
        }
        for (index, &at) in self.pending.iter().enumerate() {
            match &self.events[at] {
                Event::Naming(naming) if choice.keeps(index) => rename(&mut names, naming, choice.halves_renames),
                Event::Change { file, change: Change::Write { offset, bytes } } => {
                    choice.keep_of(index, *offset, bytes, &mut kept[*file]);
                }
                Event::Change { file, change: Change::SetLength(length) } if choice.keeps(index) => {
                    kept[*file].push(Survivor::Length(*length));
                }
                _ => {}
            }
        }
        let image = MemoryDisk::new();
        for (name, file) in names {
            image.put(&name, self.bytes(file, &kept[file], &mut choice));
        }
        image
    }

    fn bytes(&self, file: usize, kept: &[Survivor<'_>], choice: &mut Choice) -> Vec<u8> {
        let durable = &self.durable[file];
        let mut length = durable.len();
        let mut reach = length;
        for change in kept {
            length = change.length_after(length);
            reach = reach.max(length);
        }
        let mut bytes = Vec::with_capacity(reach);
        bytes.extend_from_slice(durable);
        if choice.stale && reach > durable.len() {
            // Blocks that the file got have belonged to another.
            let other = &self.durable[choice.random.below(self.durable.len() as u64) as usize];
            bytes.extend_from_slice(other.get(durable.len()..reach.min(other.len())).unwrap_or_default());
            bytes.resize(reach, choice.random.next() as u8);
        }
        kept.iter().for_each(|change| change.apply(&mut bytes));
        if choice.loses_lengths && length > durable.len() {
            length = durable.len() + choice.random.below((length - durable.len()) as u64 + 1) as usize;
        }
        bytes.resize(length, 0);
        bytes
    }
}

/// A change to a file, or some of one, that has survived.
#[derive(Clone, Copy)]
enum Survivor<'a> {
    Length(usize),
    Bytes(usize, &'a [u8]),
}

impl Survivor<'_> {
    fn length_after(self, length: usize) -> usize {
        match self {
            Survivor::Length(new) => new,
            Survivor::Bytes(offset, bytes) => length.max(offset + bytes.len()),
        }
    }

    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Survivor::Length(length) => file.resize(length, 0),
            Survivor::Bytes(offset, bytes) => write(file, offset, bytes),
        }
    }
}

/// What of the pending operations is kept.
struct Choice {
    kept: Kept,
    random: Random,
    /// Of sixteen.
    chances: u64,
    /// The operation that the loss turns on, and whether all of it is meant.
    turning: usize,
    whole: bool,
    stale: bool,
    loses_lengths: bool,
    halves_renames: bool,
}

impl Choice {
    fn new(loss: Loss, pending: usize) -> Choice {
        let (kept, seed) = match loss {
            Loss::Everything => (Kept::First, 0),
            Loss::Nothing => (Kept::First, 1),
            Loss::Some(kept, seed) => (kept, seed),
        };
        let mut random = Random(seed);
        let mut choice = Choice {
            kept,
            chances: [1, 4, 8, 8, 12, 15][random.below(6) as usize],
            turning: random.below(pending.max(1) as u64) as usize,
            whole: random.one_in(2),
            stale: random.one_in(4),
            loses_lengths: random.one_in(4),
            halves_renames: random.one_in(4),
            random,
        };
        if kept == Kept::OneOnly && choice.random.one_in(2) {
            choice.turning = pending.saturating_sub(1);
        }
        if let Loss::Everything | Loss::Nothing = loss {
            choice.turning = if loss == Loss::Nothing { usize::MAX } else { 0 };
            choice.whole = true;
            (choice.stale, choice.loses_lengths, choice.halves_renames) = (false, false, false);
        }
        choice
    }

    fn tosses(&mut self) -> bool {
        self.random.below(16) < self.chances
    }

    fn keeps(&mut self, index: usize) -> bool {
        match self.kept {
            Kept::Sectors | Kept::Writes => self.tosses(),
            Kept::AllButOne => index != self.turning,
            Kept::OneOnly => index == self.turning,
            Kept::First => index < self.turning,
        }
    }

    fn keep_of<'a>(&mut self, index: usize, offset: usize, bytes: &'a [u8], changes: &mut Vec<Survivor<'a>>) {
        let torn = match self.kept {
            Kept::Sectors => true,
            Kept::Writes => false,
            Kept::AllButOne | Kept::OneOnly | Kept::First => index == self.turning && !self.whole,
        };
        if !torn {
            if self.keeps(index) {
                changes.push(Survivor::Bytes(offset, bytes));
            }
            return;
        }
        let pieces = sectors(offset, bytes.len());
        let turning = self.random.below(pieces.len().max(1) as u64) as usize;
        for (sector, piece) in pieces.enumerate() {
            let keeps = match self.kept {
                Kept::AllButOne => sector != turning,
                Kept::OneOnly => sector == turning,
                Kept::First => sector < turning,
                Kept::Sectors | Kept::Writes => self.tosses(),
            };
            if keeps {
                changes.push(Survivor::Bytes(piece.start, &bytes[piece.start - offset..piece.end - offset]));
            }
        }
    }

    fn keeps_forgotten(&mut self) -> bool {
        match self.kept {
            Kept::Sectors | Kept::Writes => self.tosses(),
            Kept::AllButOne => true,
            Kept::OneOnly => false,
            Kept::First => self.turning > 0,
        }
    }
}

/// The pieces that a write may be torn into.
fn sectors(offset: usize, length: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let (first, end) = (offset / SECTOR, (offset + length).div_ceil(SECTOR));
    let piece = move |sector: usize| (sector * SECTOR).max(offset)..((sector + 1) * SECTOR).min(offset + length);
    (first..end).map(piece)
}

/// With `both`, a rename has left the old name too.
fn rename(names: &mut BTreeMap<String, usize>, naming: &Naming, both: bool) {
    match naming {
        Naming::Create { name, file } => drop(names.insert(name.clone(), *file)),
        Naming::Remove { name } => drop(names.remove(name)),
        Naming::Rename { from, to, file } => {
            if !both && names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
    }
}
