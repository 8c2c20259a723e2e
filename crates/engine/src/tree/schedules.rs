//! A page between readers that load it, a writer, a checkpoint and the evictor, gone through in thousands of schedules:
//! `cargo test --package lyredb-engine --features shuttle,small-pages --lib schedules`.

use std::collections::HashMap;
use std::mem::ManuallyDrop;

use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::thread;

use super::excerpt::Excerpt;
use super::page::{DIRTY, Form, Found, PageRef};
use crate::schedules::explore;
use crate::sync::checked::AtomicU64;
use crate::sync::{Ordering, epoch, reach};

/// Addresses and extents are multiples of it, as the marks in a page's word need.
const STEP: u64 = 64;

/// Images and extents that are never freed, as the epoch sees to in the tree, and what they hold.
struct World {
    page: ManuallyDrop<Box<PageRef>>,
    contents: Mutex<HashMap<u64, u64>>,
    next: AtomicU64,
    /// The family's lock.
    writer: Mutex<()>,
    /// The newest content that was published.
    published: AtomicU64,
    /// Freed in the end, as the epoch sees to in the tree.
    excerpts: Mutex<Vec<u64>>,
}

impl World {
    /// The page is on disk, with content 1.
    fn new() -> World {
        World {
            page: ManuallyDrop::new(PageRef::cold(STEP, 1)),
            contents: Mutex::new(HashMap::from([(STEP, 1)])),
            next: AtomicU64::new(2),
            writer: Mutex::new(()),
            published: AtomicU64::new(1),
            excerpts: Mutex::new(Vec::new()),
        }
    }

    /// A new image or extent.
    fn place(&self, content: u64) -> u64 {
        let place = self.next.fetch_add(1, Ordering::SeqCst) * STEP;
        self.contents.lock().expect("no panic").insert(place, content);
        place
    }

    fn content(&self, place: u64) -> u64 {
        self.contents.lock().expect("no panic")[&place]
    }

    /// As `Tree::resident`: the image, loaded where needed.
    fn resident(&self) -> u64 {
        loop {
            if let Found::Cold(away) = self.page.leaf(&epoch::pin()) {
                self.page.replace(away, Form::Image(self.place(self.content(away.extent()))));
            }
            if let Some(image) = self.page.address() {
                return image;
            }
        }
    }

    fn read(&self) {
        let floor = self.published.load(Ordering::SeqCst);
        self.page.touch();
        let content = self.content(self.resident());
        assert!(content >= floor, "read {content} when {floor} had been published");
    }

    fn excerpt(&self, extent: u64) -> Form {
        let address = Excerpt::build(extent, &[], &[]).address();
        self.excerpts.lock().expect("no panic").push(address);
        Form::Remains(address)
    }

    /// As a point read that leaves an excerpt.
    fn glance(&self) {
        let floor = self.published.load(Ordering::SeqCst);
        let guard = epoch::pin();
        match self.page.leaf(&guard) {
            Found::Hot(_) => {}
            Found::Cold(away) => {
                let content = self.content(away.extent());
                assert!(content >= floor, "read {content} when {floor} had been published");
                self.page.replace(away, self.excerpt(away.extent()));
            }
        }
    }

    fn write(&self) {
        let _writer = self.writer.lock().expect("no panic");
        let old = self.resident();
        self.page.set(DIRTY);
        let content = self.content(old) + 1;
        let replaced = self.page.publish(self.place(content));
        assert_eq!(replaced.address(), old, "another image than the one it was made from was replaced");
        self.published.store(content, Ordering::SeqCst);
    }

    fn checkpoint(&self) {
        if !self.page.is(DIRTY) && self.page.extent() != 0 {
            return;
        }
        let image = self.resident();
        let extent = self.place(self.content(image));
        let _writer = self.writer.lock().expect("no panic");
        self.page.set_extent(extent);
        if self.page.address() == Some(image) {
            self.page.clear(DIRTY);
        }
    }

    /// A compaction's: the page as it is on disk gets another place.
    fn relocate(&self) {
        let extent = self.page.extent();
        if self.page.is(DIRTY) || extent == 0 {
            return;
        }
        let moved = self.place(self.content(extent));
        let _writer = self.writer.lock().expect("no panic");
        self.page.set_extent(moved);
    }

    fn evict(&self) {
        let _writer = self.writer.lock().expect("no panic");
        let evictable = !self.page.is(DIRTY) && self.page.extent() != 0 && self.page.address().is_some();
        if evictable && self.page.take_uses() == 0 {
            let excerpt = self.excerpt(self.page.extent());
            assert!(self.page.evict(Some(excerpt)).is_some(), "only the evictor takes a page out of memory");
        }
    }

    fn forget(&self) {
        if let Found::Cold(away) = self.page.leaf(&epoch::pin()) {
            self.page.forget(away);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // SAFETY: it is taken here alone.
        reach::free(unsafe { ManuallyDrop::take(&mut self.page) });
        for &excerpt in self.excerpts.lock().expect("no panic").iter() {
            // SAFETY: nobody has it any more.
            unsafe { Excerpt::from_address(excerpt).free() };
        }
    }
}

#[test]
fn nothing_published_is_lost_or_unseen() {
    type Work = fn(&World);
    let workers: [&[Work]; 5] = [
        &[World::read, World::glance],
        &[World::glance, World::read],
        &[World::write, World::write],
        // One thread checkpoints and compacts, by the lock on its state.
        &[World::checkpoint, World::relocate, World::checkpoint],
        &[World::evict, World::forget, World::evict, World::evict],
    ];
    explore(12_000, move || {
        let world = Arc::new(World::new());
        let threads = workers.map(|work| {
            let world = Arc::clone(&world);
            thread::spawn(move || work.iter().for_each(|step| step(&world)))
        });
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        if let Found::Cold(away) = world.page.leaf(&epoch::pin()) {
            assert_eq!(away.extent(), world.page.extent(), "it would be read from a place that is given to others");
        }
        world.checkpoint();
        for _ in 0..2 {
            world.evict();
        }
        assert!(world.page.address().is_none(), "the page is clean and was not used, and yet stays");
        assert_eq!(world.content(world.page.extent()), 3, "a change did not reach the disk");
        assert_eq!(world.content(world.resident()), 3, "a change is lost");
    });
}
