//! Walking the tree a lowest inner page at a time, for checkpoints and eviction, which hold no page between two steps.

use super::Tree;
use super::inner::Inner;
use super::page::PageRef;
use crate::sync::epoch::Guard;

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
}

impl<'g> Bottom<'g> {
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
