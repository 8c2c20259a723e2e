//! How far a checkpoint has come in a family, for who writes and drops leaves beside it.
//!
//! The checkpoint's walk stands at one version, and what that version sees has to stay until the walk has written it. So
//! a leaf is ahead of the walk, where that version counts as that of any reader; or the walk is at it, and nobody else may
//! change where the leaf is on disk; or the walk has passed it, and asks for nothing any more. Where a leaf stands is told by
//! its records' keys: pages are split and merged while the walk is on its way, records stay where they are.

use std::sync::Arc;

use super::leaf::Leaf;
use crate::mvcc::{ActiveVersion, Versions};

/// Set and read under the family's lock.
pub struct Passage {
    snapshot: Arc<ActiveVersion>,
    /// Before this key all is written.
    from: Vec<u8>,
    /// From here on nothing has been looked at; `None`: there is no such place.
    until: Option<Vec<u8>>,
    done: bool,
}

/// Where a leaf stands, seen from the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Ahead,
    Here,
    Passed,
}

impl Passage {
    pub fn at(snapshot: &Arc<ActiveVersion>, from: &[u8], until: Option<&[u8]>) -> Passage {
        let (from, until) = (from.to_vec(), until.map(<[u8]>::to_vec));
        Passage { snapshot: Arc::clone(snapshot), from, until, done: false }
    }

    pub fn finish(&mut self) {
        self.done = true;
    }

    /// Where records from key `first` to `last` stand.
    pub fn place(&self, first: &[u8], last: &[u8]) -> Place {
        if self.has_passed(last) {
            Place::Passed
        } else if self.until.as_ref().is_none_or(|until| first < until.as_slice()) {
            Place::Here
        } else {
            Place::Ahead
        }
    }

    fn has_passed(&self, last: &[u8]) -> bool {
        self.done || last < self.from.as_slice()
    }

    /// The versions of all who may still ask for records up to key `last`, ascending, at least one.
    pub fn active(passage: Option<&Passage>, versions: &Versions, last: &[u8]) -> Vec<u64> {
        match passage.filter(|passage| passage.has_passed(last)) {
            Some(passage) => versions.active_beside(&passage.snapshot),
            None => versions.active(),
        }
    }
}

impl Leaf<'_> {
    /// The lowest and the highest key of all that it holds, delta and deletions included; `None`: nothing at all.
    pub fn key_range(self) -> Option<(Vec<u8>, Vec<u8>)> {
        let whole = |index: usize| [self.prefix(), self.record(index).key].concat();
        let base = (self.count() > 0).then(|| (whole(0), whole(self.count() - 1)));
        let changes =
            self.delta().into_iter().flat_map(|delta| (0..delta.len()).map(move |index| delta.record(index).key));
        changes.fold(base, |range, key| match range {
            None => Some((key.to_vec(), key.to_vec())),
            Some((first, last)) if key < first.as_slice() => Some((key.to_vec(), last)),
            Some((first, last)) if key > last.as_slice() => Some((first, key.to_vec())),
            inside => inside,
        })
    }

    /// The newest version of all that it holds, delta included.
    pub fn newest_of_all(self) -> u64 {
        let changes =
            self.delta().into_iter().flat_map(|delta| (0..delta.len()).map(move |index| delta.record(index).version));
        changes.fold(self.newest_version(), u64::max)
    }
}
