//! Reading leaves before a scan comes to them.
//!
//! A scan that has come to leaves on disk has the database's threads for I/O read those that follow: one, then two, then
//! four, as far as `readahead_bytes` goes. They go down the tree by key, as any reader does, so nothing of it has to stay
//! as it was. Where memory has room they leave the leaves there; otherwise they hand over what they have read of a range
//! (`aside.rs` says why that stays right), and the scan takes it when it stands at a leaf of exactly that range.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Tree;
use super::aside::LeafAside;
use super::inner::Separator;
use super::page::Found;
use super::remains::Remains;
use super::steps::{Edges, Steps};
use crate::error::Result;
use crate::io_pool::Task;
use crate::memory::Memory;
use crate::range::Range;
use crate::sync::epoch::{self, Guard};
use crate::sync::{AtomicBool, Ordering};

/// Leaves that one task reads, at most.
const TOGETHER: usize = 8;

/// What was read of a leaf's range.
pub(super) struct Piece {
    edges: Edges,
    pub content: Content,
}

pub(super) enum Content {
    Aside(LeafAside),
    /// Memory has it now, for as long as it lasts.
    Loaded,
    /// Memory had it, or it is of no use to another thread.
    Nothing,
}

pub(super) enum Ready {
    Piece(Piece),
    /// It is on its way.
    NotYet,
    /// It was not asked for.
    Nothing,
}

struct Asked {
    /// Where the first leaf of the task begins.
    first: Separator,
    last: Separator,
    task: Task<Vec<Piece>>,
}

#[derive(Default)]
pub(super) struct Ahead {
    asked: VecDeque<Asked>,
    ready: VecDeque<Piece>,
    /// Leaves beyond this edge have not been looked at.
    frontier: Option<Separator>,
    /// Leaves between the scan and there.
    distance: usize,
    /// As many there may be.
    window: usize,
    /// There is nothing beyond the frontier.
    is_at_end: bool,
    pub room: Arc<Room>,
}

/// Whether memory has room for what one scan reads. Once it had none, what the scan has read to the side is a part of what
/// fills it, so that it would seem to have some again each time that less is read ahead.
#[derive(Default)]
pub(super) struct Room {
    was_tight: AtomicBool,
}

impl Room {
    pub fn is_tight(&self, memory: &Memory) -> bool {
        let is_tight = self.was_tight.load(Ordering::Relaxed) || memory.is_tight();
        if is_tight {
            self.was_tight.store(true, Ordering::Relaxed);
        }
        is_tight
    }
}

/// Whether a scan that stands at `now` has passed what begins at `from`.
fn is_passed(from: &Separator, now: &Separator, reverse: bool) -> bool {
    if reverse { from > now } else { from < now }
}

impl Ahead {
    pub fn is_active(&self) -> bool {
        !self.asked.is_empty() || !self.ready.is_empty()
    }

    /// What was read of the leaf that the scan has come to.
    pub fn take(&mut self, edges: &Edges, reverse: bool, may_block: bool) -> Ready {
        loop {
            while self.ready.front().is_some_and(|piece| is_passed(&piece.edges.from, &edges.from, reverse)) {
                self.ready.pop_front();
            }
            if self.ready.front().is_some_and(|piece| piece.edges == *edges)
                && let Some(piece) = self.ready.pop_front()
            {
                return Ready::Piece(piece);
            }
            while self.asked.front().is_some_and(|asked| is_passed(&asked.last, &edges.from, reverse)) {
                self.asked.pop_front();
            }
            let Some(next) = self.asked.front() else { return Ready::Nothing };
            if !self.ready.is_empty() || is_passed(&edges.from, &next.first, reverse) {
                return Ready::Nothing;
            }
            if !may_block && !next.task.is_done() {
                return Ready::NotYet;
            }
            let Some(asked) = self.asked.pop_front() else { return Ready::Nothing };
            self.ready.extend(asked.task.take());
        }
    }

    /// The scan goes on to the next leaf.
    pub fn passed(&mut self) {
        self.distance = self.distance.saturating_sub(1);
    }

    /// Has leaves read that follow the one that the scan stands at; with `aside` they take no memory from others.
    pub fn ask(&mut self, tree: &Arc<Tree>, edges: &Edges, range: &Range, reverse: bool, aside: bool, guard: &Guard) {
        let settings = &tree.around.settings;
        let most = settings.readahead_bytes() / settings.leaf_bytes().max(1);
        if self.is_at_end || self.distance > self.window / 2 || most == 0 {
            return;
        }
        self.window = (self.window * 2).clamp(1, most);
        if self.distance == 0 {
            self.frontier =
                if reverse { Some(edges.from.clone()).filter(|from| !from.is_empty()) } else { edges.to.clone() };
        }
        let mut wanted = Vec::new();
        self.is_at_end = !self.look(tree, range, reverse, guard, &mut wanted);
        for froms in wanted.chunks(wanted.len().div_ceil(2).clamp(1, TOGETHER)) {
            let (Some(first), Some(last)) = (froms.first().cloned(), froms.last().cloned()) else { continue };
            let (of_task, froms) = (Arc::clone(tree), froms.to_vec());
            let room = aside.then(|| Arc::clone(&self.room));
            let task = tree.around.io.start(move || of_task.read_ahead(&froms, room.as_deref()));
            self.asked.push_back(Asked { first, last, task });
        }
    }

    /// Moves the frontier on and finds which leaves before it are on disk. False: the range ends there.
    fn look(&mut self, tree: &Tree, range: &Range, reverse: bool, guard: &Guard, wanted: &mut Vec<Separator>) -> bool {
        let Some(frontier) = &self.frontier else { return false };
        let mut steps = Steps::down(tree.root(guard), guard, |inner| {
            if reverse { inner.find_below(frontier) } else { inner.find(frontier) }
        });
        while self.distance < self.window {
            let edges = steps.edges();
            let is_outside = if reverse {
                edges.to.as_ref().is_some_and(|to| range.is_below(to))
            } else {
                range.is_above(&edges.from)
            };
            if is_outside {
                return false;
            }
            self.distance += 1;
            if let Found::Cold(away) = steps.page.leaf(guard)
                && !matches!(away.remains(), Remains::Stored(_))
            {
                wanted.push(edges.from.clone());
            }
            self.frontier = if reverse { Some(edges.from) } else { edges.to };
            if !steps.advance(reverse, guard) {
                return false;
            }
        }
        true
    }
}

impl Tree {
    /// Reads the leaves that begin at these keys, up to one that cannot be read: the scan tries that again when it comes
    /// there, and tells of it then.
    fn read_ahead(&self, froms: &[Separator], room: Option<&Room>) -> Vec<Piece> {
        let read = |from: &Separator| {
            let guard = epoch::pin();
            let steps = Steps::down(self.root(&guard), &guard, |inner| inner.find(from));
            let edges = steps.edges();
            let content = self.read_piece(&steps, &edges, room, &guard).ok()?;
            Some(Piece { edges, content })
        };
        froms.iter().map_while(read).collect()
    }

    /// With `room` the leaf takes no memory from others.
    fn read_piece(&self, steps: &Steps<'_>, edges: &Edges, room: Option<&Room>, guard: &Guard) -> Result<Content> {
        let Found::Cold(away) = steps.page.leaf(guard) else { return Ok(Content::Nothing) };
        if room.is_none_or(|room| !room.is_tight(&self.around.memory)) {
            return self.resident_for_scan(steps.page, guard).map(|_| Content::Loaded);
        }
        let leaf = self.read_for_scan(edges.clone(), away)?;
        Ok(if leaf.has_long_values() { Content::Nothing } else { Content::Aside(leaf) })
    }
}
