//! Reading many keys whose leaves are not in memory: each leaf once, several at the same time.

use std::ptr;
use std::sync::Arc;

use crate::counters::{Count, Measure, Row, Started};
use crate::error::Result;
use crate::events::EventKind;
use crate::family::FamilyCore;
use crate::pause::{Point, point};
use crate::sync::Instant;
use crate::sync::epoch::{self, Guard};
use crate::tree::{AsOf, BLOB, Lookup, PageRef, Record};

/// A key and its place among those that were asked for.
type Asked = (usize, Box<[u8]>);
/// The value of the key at a place.
pub type Answer = (usize, Option<Vec<u8>>);

/// Into so many tasks the leaves are divided, if none then has more than `MOST_LEAVES`.
const TASKS: usize = 64;
const MOST_LEAVES: usize = 16;

/// Keys that wait for the disk together, those of a leaf, and how many have done so.
#[derive(Default)]
struct Waits {
    /// Since one of them was first missed in memory.
    since: Option<Instant>,
    /// How many there are, and up to which place among all that were asked for.
    keys: usize,
    until: usize,
    ended: u64,
}

impl Waits {
    /// The next keys, behind so many that are answered. Their leaf may be missed again before they are.
    fn begin(&mut self, answered: usize, keys: usize) {
        self.since.get_or_insert_with(Instant::now);
        let end = answered + keys;
        self.keys += end.saturating_sub(self.until.max(answered));
        self.until = self.until.max(end);
    }

    fn end(&mut self, answered: usize, row: Row<'_>) {
        if answered >= self.until
            && let Some(since) = self.since.take()
        {
            let keys = std::mem::take(&mut self.keys) as u64;
            row.record_shares(Measure::GetCold, since.elapsed(), keys);
            self.ended += keys;
        }
    }
}

impl FamilyCore {
    /// The values of the keys at these places, in any order. `make_room` is called now and then, for the leaves that this
    /// brings into memory.
    pub(crate) fn read_many(
        self: &Arc<Self>,
        keys: &[&[u8]],
        places: &[usize],
        as_of: AsOf,
        make_room: impl Fn(),
    ) -> Result<Vec<Answer>> {
        let row = self.counters.row();
        let began = Instant::now();
        let started = row.start(Measure::Get, places.len() as u32);
        let mut asked: Vec<Asked> = places.iter().map(|&place| (place, keys[place].into())).collect();
        asked.sort_by(|(_, one), (_, other)| one.cmp(other));
        let mut ends = self.ends_of_leaves(&asked);
        let leaves = ends.len().div_ceil(TASKS).clamp(1, MOST_LEAVES);
        ends = ends.chunks(leaves).filter_map(|ends| ends.last().copied()).collect();
        let answers = if ends.len() <= 1 {
            self.read_in_order(&asked, as_of)?
        } else {
            let mut tasks = Vec::with_capacity(ends.len());
            let mut rest = asked.into_iter();
            let mut start = 0;
            for end in ends {
                let (core, asked) = (Arc::clone(self), rest.by_ref().take(end - start).collect::<Vec<Asked>>());
                tasks.push(self.tree.around().io.start(move || core.read_in_order(&asked, as_of)));
                start = end;
            }
            let mut answers = Vec::with_capacity(places.len());
            // The threads begin with the first ones.
            while let Some(task) = tasks.pop() {
                answers.extend(task.take()?);
                make_room();
            }
            answers
        };
        make_room();
        if started.is_some_and(Started::is_sensed) {
            self.sense_reads(keys, &answers);
        }
        row.finish(Measure::Get, started, places.len() as u32);
        self.ended(EventKind::MultiGet, began.elapsed(), &[("keys", places.len() as u64)]);
        Ok(answers)
    }

    /// How many of the keys, which are in order, come up to the end of each leaf.
    fn ends_of_leaves(&self, asked: &[Asked]) -> Vec<usize> {
        let guard = epoch::pin();
        let (mut ends, mut start) = (Vec::new(), 0);
        while start < asked.len() {
            let page = self.tree.leaf_of(&asked[start].1, &guard);
            start += self.count_in(page, &asked[start..], &guard);
            ends.push(start);
        }
        ends
    }

    /// How many of the first keys belong to the leaf, to which the first one does.
    fn count_in(&self, page: &PageRef, asked: &[Asked], guard: &Guard) -> usize {
        let is_in = |(_, key): &&Asked| ptr::eq(self.tree.leaf_of(key, guard), page);
        1 + asked.iter().skip(1).take_while(is_in).count()
    }

    /// Of keys in order.
    fn read_in_order(&self, asked: &[Asked], as_of: AsOf) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(asked.len());
        let row = self.counters.row();
        let mut waits = Waits::default();
        while answers.len() < asked.len() {
            waits.end(answers.len(), row);
            self.usable()?;
            point(Point::ReadStarted);
            let guard = epoch::pin();
            let rest = &asked[answers.len()..];
            let (place, key) = &rest[0];
            match self.tree.lookup(key, as_of, &guard) {
                Lookup::Absent => answers.push((*place, None)),
                Lookup::Found(record) => {
                    if record.blob().is_some_and(|blob| blob.data(&guard).is_none()) {
                        waits.begin(answers.len(), 1);
                    }
                    answers.push((*place, Some(self.copy_of(&record, &guard)?)));
                }
                Lookup::Warm(page, away) => {
                    let began = Instant::now();
                    let Some(payload) = self.tree.unpack(away)? else { continue };
                    let here = &rest[..self.count_in(page, rest, &guard)];
                    let found = here.iter().map(|(_, key)| self.tree.search(&payload, away, key));
                    let found = found.collect::<Result<Vec<_>>>()?;
                    if found.iter().flatten().any(|record| record.flags & BLOB != 0) {
                        self.tree.resident(page, &guard)?;
                        continue;
                    }
                    row.add(Count::GetsFromWarm, here.len() as u64);
                    let keys: Vec<&[u8]> = here.iter().map(|(_, key)| &**key).collect();
                    self.tree.warm_up(page, away, &keys, &payload, &guard)?;
                    row.record_shares(Measure::GetWarm, began.elapsed(), here.len() as u64);
                    let values = found.into_iter().map(|found| found.map(|record| record.value.to_vec()));
                    answers.extend(here.iter().map(|(place, _)| *place).zip(values));
                }
                Lookup::Cold(page, away) => {
                    let here = &rest[..self.count_in(page, rest, &guard)];
                    waits.begin(answers.len(), here.len());
                    let keys: Vec<&[u8]> = here.iter().map(|(_, key)| &**key).collect();
                    let Some(payload) = self.tree.read_cold(page, away, &keys, &guard)? else { continue };
                    for (place, key) in here {
                        let found = self.tree.search(&payload, away, key)?;
                        answers.push((*place, found.map(|record| record.value.to_vec())));
                    }
                }
            }
        }
        waits.end(answers.len(), row);
        // What is absent may have gone with the whole tree.
        self.usable()?;
        let values = answers.iter().filter_map(|(_, value)| value.as_ref());
        let (found, bytes) = values.fold((0, 0), |(found, bytes), value| (found + 1, bytes + value.len()));
        row.add(Count::GetsFound, found);
        row.add(Count::GetsAbsent, answers.len() as u64 - found);
        row.add(Count::BytesRead, bytes as u64);
        row.add(Count::GetsFromDisk, waits.ended);
        Ok(answers)
    }

    fn copy_of(&self, record: &Record<'_>, guard: &Guard) -> Result<Vec<u8>> {
        match record.blob() {
            None => Ok(record.value.to_vec()),
            Some(blob) => self.tree.read_blob(blob, guard, <[u8]>::to_vec),
        }
    }
}
