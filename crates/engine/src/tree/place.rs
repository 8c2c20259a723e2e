//! Where a change goes: the way from the root to its leaf.

use std::ptr;

use smallvec::SmallVec;

use super::Tree;
use super::inner::{Inner, Separator};
use super::keys::{common_prefix, prefetch};
use super::leaf::Leaf;
use super::page::{Found, PageRef};
use super::read::AsOf;
use crate::error::Result;
use crate::sync::epoch::Guard;

/// A key that has so many bytes more in common with the one before it than with the one behind it ends a group.
const CLOSER: usize = 3;

/// From the root down: a page, its image, and the child taken.
pub(super) struct Step<'g> {
    pub page: &'g PageRef,
    pub inner: Inner<'g>,
    pub index: usize,
}

pub(super) struct Path<'g> {
    pub steps: SmallVec<[Step<'g>; 6]>,
    pub page: &'g PageRef,
}

/// Where the changes of one leaf go.
pub struct Place<'g> {
    pub(super) path: Path<'g>,
    pub(super) leaf: Leaf<'g>,
}

impl Path<'_> {
    pub fn is_rightmost(&self) -> bool {
        self.steps.iter().all(|step| step.index + 1 == step.inner.count())
    }

    /// Whether `key`, which is not below this leaf, belongs to it.
    pub fn covers(&self, key: &[u8]) -> bool {
        let bound = self.steps.iter().rev().find(|step| step.index + 1 < step.inner.count());
        bound.is_none_or(|step| step.inner.is_below(step.index, key))
    }

    /// The lowest key that the leaf may hold.
    pub fn low(&self) -> Separator {
        let bound = self.steps.iter().rev().find(|step| step.index > 0);
        bound.map_or_else(Separator::new, |step| step.inner.separator(step.index - 1))
    }

    /// The lowest key that the next leaf may hold.
    pub fn upper(&self) -> Option<Separator> {
        let bound = self.steps.iter().rev().find(|step| step.index + 1 < step.inner.count());
        bound.map(|step| step.inner.separator(step.index))
    }
}

impl Place<'_> {
    /// Whether `key`, which is new, would stand behind all others, or behind all that begin as it does: the next has much
    /// less in common with it than the last.
    pub fn is_append(&self, key: &[u8]) -> bool {
        let (mut below, mut above) = (None, self.path.upper().map(|upper| common_prefix(key, &upper)));
        let leaf = self.leaf;
        let (index, _) = leaf.search(key);
        let in_base = |index: usize| [leaf.prefix(), leaf.record(index).key].concat();
        let neighbours = [index.checked_sub(1), Some(index).filter(|index| *index < leaf.count())];
        let in_delta = leaf.delta().into_iter().flat_map(|delta| (0..delta.len()).map(move |at| delta.record(at).key));
        let others = neighbours.into_iter().flatten().map(in_base).chain(in_delta.map(<[u8]>::to_vec));
        for other in others {
            // Of all on one side, the nearest has most in common.
            let side = if other.as_slice() < key { &mut below } else { &mut above };
            *side = (*side).max(Some(common_prefix(key, &other)));
        }
        above.is_none_or(|above| below.is_some_and(|below| below >= above + CLOSER))
    }
}

impl Tree {
    pub(super) fn path<'g>(&self, key: &[u8], guard: &'g Guard) -> Path<'g> {
        let mut page = self.root(guard);
        let mut steps = SmallVec::new();
        for _ in 0..page.level() {
            let inner = page.inner(guard);
            let index = inner.find(key);
            steps.push(Step { page, inner, index });
            page = inner.child(index);
        }
        Path { steps, page }
    }

    /// The leaf of `key` and the way to it, for as long as the lock is held. `Err`: the leaf has to be loaded first.
    pub fn place<'g>(&self, key: &[u8], guard: &'g Guard) -> Result<Place<'g>, &'g PageRef> {
        let path = self.path(key, guard);
        path.page.prefetch();
        match path.page.leaf(guard) {
            Found::Hot(leaf) => {
                prefetch(ptr::without_provenance(leaf.address() as usize));
                Ok(Place { path, leaf })
            }
            Found::Cold(_) => Err(path.page),
        }
    }

    /// Whether the leaf has a live record of `key`, be it visible yet or not.
    pub fn holds(&self, place: &Place<'_>, key: &[u8]) -> bool {
        self.version_in(place.leaf, key, AsOf::Pending).is_some_and(|record| self.is_live(&record))
    }
}
