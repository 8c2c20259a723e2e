//! The way from the root to a leaf, for stepping to its neighbours.

use super::inner::{Inner, Separator};
use super::page::PageRef;
use crate::sync::epoch::Guard;

pub(super) struct Steps<'g> {
    inner: Vec<(Inner<'g>, usize)>,
    pub page: &'g PageRef,
}

/// The keys that a leaf may hold: from `from` on, below `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edges {
    pub from: Separator,
    pub to: Option<Separator>,
}

impl<'g> Steps<'g> {
    /// Down from `root` by the children that `choose` names.
    pub fn down(root: &'g PageRef, guard: &'g Guard, choose: impl Fn(Inner<'g>) -> usize) -> Steps<'g> {
        let mut steps = Steps { inner: Vec::with_capacity(4), page: root };
        steps.descend(root, guard, choose);
        steps
    }

    fn descend(&mut self, mut page: &'g PageRef, guard: &'g Guard, choose: impl Fn(Inner<'g>) -> usize) {
        while page.level() > 0 {
            let inner = page.inner(guard);
            let index = choose(inner);
            self.inner.push((inner, index));
            page = inner.child(index);
        }
        self.page = page;
    }

    /// To the next leaf in the direction; false at the end of the tree.
    pub fn advance(&mut self, reverse: bool, guard: &'g Guard) -> bool {
        while let Some((inner, index)) = self.inner.pop() {
            if reverse && index > 0 || !reverse && index + 1 < inner.count() {
                let index = if reverse { index - 1 } else { index + 1 };
                self.inner.push((inner, index));
                self.descend(inner.child(index), guard, |inner| if reverse { inner.count() - 1 } else { 0 });
                return true;
            }
        }
        false
    }

    /// The lowest key that the next leaf may hold.
    pub fn upper(&self) -> Option<Separator> {
        let upper = self.inner.iter().rev().find(|(inner, index)| index + 1 < inner.count());
        upper.map(|(inner, index)| inner.separator(*index))
    }

    pub fn edges(&self) -> Edges {
        let lower = self.inner.iter().rev().find(|(_, index)| *index > 0);
        let from = lower.map(|(inner, index)| inner.separator(index - 1)).unwrap_or_default();
        Edges { from, to: self.upper() }
    }
}
