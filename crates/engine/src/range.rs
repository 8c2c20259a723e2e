//! A range of keys.

use std::ops::Bound;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: Bound<Vec<u8>>,
    pub stop: Bound<Vec<u8>>,
}

impl Default for Range {
    fn default() -> Range {
        Range { start: Bound::Unbounded, stop: Bound::Unbounded }
    }
}

impl Range {
    /// `[start, stop)`; `None` is no bound.
    pub fn half_open(start: Option<&[u8]>, stop: Option<&[u8]>) -> Range {
        Range {
            start: start.map_or(Bound::Unbounded, |key| Bound::Included(key.to_vec())),
            stop: stop.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec())),
        }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Range {
        let last = prefix.iter().rposition(|&byte| byte != 0xff);
        let stop = last.map_or(Bound::Unbounded, |last| {
            let mut stop = prefix[..=last].to_vec();
            stop[last] += 1;
            Bound::Excluded(stop)
        });
        Range { start: Bound::Included(prefix.to_vec()), stop }
    }

    /// No key of the range is lower.
    pub fn lowest(&self) -> &[u8] {
        match &self.start {
            Bound::Unbounded => &[],
            Bound::Included(start) | Bound::Excluded(start) => start,
        }
    }

    /// Whether `key` stands below the start.
    pub fn is_below(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Unbounded => false,
            Bound::Included(start) => key < start.as_slice(),
            Bound::Excluded(start) => key <= start.as_slice(),
        }
    }

    /// Whether `key` stands above the stop.
    pub fn is_above(&self, key: &[u8]) -> bool {
        match &self.stop {
            Bound::Unbounded => false,
            Bound::Included(stop) => key > stop.as_slice(),
            Bound::Excluded(stop) => key >= stop.as_slice(),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        !self.is_below(key) && !self.is_above(key)
    }

    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.stop) {
            (Bound::Included(start), Bound::Included(stop)) => start > stop,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Included(stop) | Bound::Excluded(stop)) => {
                start >= stop
            }
            _ => false,
        }
    }
}

/// Keys from `start` on, before `stop` if there is one: what a page is there for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Vec<u8>,
    pub stop: Option<Vec<u8>>,
}

impl KeyRange {
    /// One key alone.
    pub fn of_key(key: &[u8]) -> KeyRange {
        KeyRange { start: key.to_vec(), stop: Some([key, &[0]].concat()) }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.stop.as_ref().is_none_or(|stop| key < stop.as_slice())
    }
}
