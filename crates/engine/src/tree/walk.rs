//! Walking the tree a lowest inner page at a time, for who holds no page between two steps.

use super::Tree;
use super::blob::Blob;
use super::gather::gather;
use super::inner::Inner;
use super::leaf::Leaf;
use super::page::{Found, PageRef};
use super::record::{BLOB, Record};
use crate::sync::epoch::{self, Guard};

/// A lowest inner page, or the root when that is a leaf.
pub struct Bottom<'g> {
    pub page: &'g PageRef,
    /// `None`: the page is a leaf.
    pub inner: Option<Inner<'g>>,
    /// The keys it holds: from `low` to `high`, exclusive.
    pub low: Vec<u8>,
    pub high: Option<Vec<u8>>,
}

impl Tree {
    /// The lowest inner page that holds `key`.
    pub fn bottom<'g>(&self, key: &[u8], guard: &'g Guard) -> Bottom<'g> {
        let mut page = self.root(guard);
        let (mut low, mut high) = (Vec::new(), None);
        while page.level() > 1 {
            let inner = page.inner(guard);
            let index = inner.find(key);
            if index > 0 {
                low = inner.separator(index - 1).into_vec();
            }
            if index + 1 < inner.count() {
                high = Some(inner.separator(index).into_vec());
            }
            page = inner.child(index);
        }
        Bottom { page, inner: (page.level() == 1).then(|| page.inner(guard)), low, high }
    }

    /// Bytes of the records in memory that a reader at `version` sees, and no later one.
    pub fn held_back(&self, version: u64) -> u64 {
        let mut bytes = 0;
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            let guard = epoch::pin();
            let bottom = self.bottom(&key, &guard);
            for (_, page) in bottom.leaves() {
                if let Found::Hot(leaf) = page.leaf(&guard) {
                    bytes += held_back_in(leaf, version);
                }
            }
            from = bottom.high;
        }
        bytes
    }
}

fn held_back_in(leaf: Leaf<'_>, version: u64) -> u64 {
    let length = leaf.delta_len();
    if length == 0 && leaf.newest_version() <= version {
        return 0;
    }
    let mut scratch = Vec::new();
    let records = gather(leaf, length, &[], &mut scratch).records;
    let old = records.windows(2).filter(|pair| {
        let (newer, older) = (&pair[0], &pair[1]);
        newer.key == older.key && older.version <= version && version < newer.version
    });
    old.map(|pair| size_of_record(&pair[1])).sum()
}

fn size_of_record(record: &Record<'_>) -> u64 {
    let beside = if record.flags & BLOB != 0 { record.blob().map_or(0, Blob::len) } else { 0 };
    record.encoded_len() as u64 + beside
}

impl<'g> Bottom<'g> {
    pub fn pages(&self) -> impl Iterator<Item = &'g PageRef> {
        let children = self.inner.into_iter().flat_map(|inner| (0..inner.count()).map(move |index| inner.child(index)));
        self.inner.is_none().then_some(self.page).into_iter().chain(children)
    }

    /// The leaves, each with the lowest key it may hold.
    pub fn leaves(&self) -> Vec<(Vec<u8>, &'g PageRef)> {
        match self.inner {
            None => vec![(Vec::new(), self.page)],
            Some(inner) => {
                let low =
                    |index: usize| if index == 0 { self.low.clone() } else { inner.separator(index - 1).into_vec() };
                (0..inner.count()).map(|index| (low(index), inner.child(index))).collect()
            }
        }
    }
}
