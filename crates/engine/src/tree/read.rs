//! Point reads: from the root to the leaf without a lock, without a retry, without a write to shared memory.

use super::Tree;
use super::blob::{self, Blob};
use super::keys::prefetch;
use super::leaf::Leaf;
use super::page::{Away, Found, PageRef};
use super::record::{BLOB, Record};
use crate::sense::Position;
use crate::sync::epoch::Guard;

/// Which version of a record a reader wants.
#[derive(Clone, Copy, Debug)]
pub enum AsOf {
    /// The newest that is visible when the leaf has been reached.
    Newest,
    Version(u64),
    /// The newest there is, committed and not yet visible ones included; for writers under the lock.
    Pending,
}

pub enum Lookup<'g> {
    /// Live, its key perhaps cut.
    Found(Record<'g>),
    Absent,
    /// Memory has the leaf as it is stored, which has to be unpacked.
    Warm(&'g PageRef, Away<'g>),
    /// The leaf has to be read from disk.
    Cold(&'g PageRef, Away<'g>),
}

impl Tree {
    #[inline(always)]
    pub fn leaf_of<'g>(&self, key: &[u8], guard: &'g Guard) -> &'g PageRef {
        let mut page = self.root(guard);
        let mut level = page.level();
        while level > 0 {
            let inner = page.inner(guard);
            page = inner.child(inner.find(key));
            level -= 1;
        }
        page
    }

    #[inline(always)]
    pub fn lookup<'g>(&self, key: &[u8], as_of: AsOf, guard: &'g Guard) -> Lookup<'g> {
        let page = self.leaf_of(key, guard);
        if let Some(address) = page.address() {
            Leaf::prefetch(address);
        }
        self.lookup_in(page, key, as_of, guard)
    }

    #[inline(always)]
    fn lookup_in<'g>(&self, page: &'g PageRef, key: &[u8], as_of: AsOf, guard: &'g Guard) -> Lookup<'g> {
        page.touch();
        match page.leaf(guard) {
            Found::Cold(away) => self.lookup_away(page, away, key),
            Found::Hot(leaf) => {
                self.observe(page, key);
                match self.version_in(leaf, key, as_of) {
                    Some(record) if self.is_live(&record) => Lookup::Found(record),
                    _ => Lookup::Absent,
                }
            }
        }
    }

    /// Where a key stands among all that the tree holds, as far as its inner pages tell.
    pub fn position(&self, key: &[u8], guard: &Guard) -> Position {
        let mut page = self.root(guard);
        let (mut low, mut width, mut leaves) = (0.0, 1.0, 1_u32);
        for _ in 0..page.level() {
            let inner = page.inner(guard);
            let index = inner.find(key);
            width /= inner.count() as f32;
            low += width * index as f32;
            leaves = leaves.saturating_mul(inner.count() as u32);
            page = inner.child(index);
            if page.level() == 0 && inner.count() > 1 {
                // The first leaf is the beginning, the last the end.
                low += width * index as f32 / (inner.count() - 1) as f32;
            }
        }
        Position { part: (low * 65_536.0) as u16, leaves }
    }

    /// `lookup` for many keys: the steps of several are interleaved, so that they wait for memory together.
    pub fn lookup_many<'g>(
        &self,
        keys: &[&[u8]],
        as_of: AsOf,
        guard: &'g Guard,
        visit: &mut dyn FnMut(usize, Lookup<'g>),
    ) {
        const TOGETHER: usize = 16;
        for (group, keys) in keys.chunks(TOGETHER).enumerate() {
            let mut pages: [Option<&'g PageRef>; TOGETHER] = [None; TOGETHER];
            for (page, key) in pages.iter_mut().zip(keys) {
                let leaf = self.leaf_of(key, guard);
                if let Some(address) = leaf.address() {
                    Leaf::prefetch(address);
                }
                *page = Some(leaf);
            }
            let found: [Option<Lookup<'g>>; TOGETHER] = std::array::from_fn(|index| {
                let found = self.lookup_in(pages[index]?, keys[index], as_of, guard);
                if let Lookup::Found(record) = &found {
                    prefetch(record.value.as_ptr());
                    prefetch(record.value.as_ptr().wrapping_add(64));
                }
                Some(found)
            });
            found.into_iter().flatten().enumerate().for_each(|(index, found)| visit(group * TOGETHER + index, found));
        }
    }

    #[inline(always)]
    pub(super) fn is_live(&self, record: &Record<'_>) -> bool {
        !record.is_tombstone() && (record.expiry == 0 || record.expiry > self.around.clock.now())
    }

    /// The version of `key` that the reader sees, be it a tombstone or expired.
    ///
    /// The visible version is read after the image and the delta's length. What the image was pruned for was visible
    /// before the image was published, so `Newest` never looks for a version that pruning took away.
    #[inline(always)]
    pub(super) fn version_in<'g>(&self, leaf: Leaf<'g>, key: &[u8], as_of: AsOf) -> Option<Record<'g>> {
        let accept = |version: u64| match as_of {
            AsOf::Newest => version <= self.around.versions.visible(),
            AsOf::Version(asked) => version <= asked,
            AsOf::Pending => true,
        };
        if let Some(delta) = leaf.delta() {
            let length = delta.len();
            if length > 0
                && let Some(record) = delta.find(length, key, accept)
            {
                return Some(record);
            }
        }
        let mut index = leaf.find(key)?;
        let record = leaf.record(index);
        if !leaf.is_guarded() || accept(record.version) {
            return Some(record);
        }
        loop {
            index += 1;
            if index == leaf.count() {
                return None;
            }
            let older = leaf.record(index);
            if older.key != record.key {
                return None;
            }
            if accept(older.version) {
                return Some(older);
            }
        }
    }

    /// The version of the newest change to `key`, deletions included; 0 when it is older than any open snapshot, as
    /// all is that is not in memory.
    pub fn newest_version(&self, key: &[u8], guard: &Guard) -> u64 {
        match self.leaf_of(key, guard).leaf(guard) {
            Found::Cold(_) => 0,
            Found::Hot(leaf) => self.version_in(leaf, key, AsOf::Pending).map_or(0, |record| record.version),
        }
    }
}

impl<'g> Record<'g> {
    pub fn blob(&self) -> Option<&'g Blob> {
        // SAFETY: a record with the flag names a blob, and lives for 'g.
        (self.flags & BLOB != 0).then(|| unsafe { blob::from_value(self.value) })
    }
}
