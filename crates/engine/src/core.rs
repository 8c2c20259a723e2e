//! What all handles of an open database share.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Durability;
use crate::catalogue::{Catalogue, FamilyEntry};
use crate::checkpoint::{CheckpointState, Checkpointed};
use crate::clock::Clock;
use crate::counters::FamilyCounters;
use crate::disk::{Disk, LockGuard};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::family::FamilyCore;
use crate::host::Host;
use crate::io_pool::IoPool;
use crate::leaf_pages::LeafBlobs;
use crate::log::Log;
use crate::maintenance::Maintenance;
use crate::memory::Memory;
use crate::mvcc::Versions;
use crate::page_tree::Opened;
use crate::pagefile::PageFile;
use crate::pause::{Point, point};
use crate::sync::checked::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, Ordering, RwLock, epoch};
use crate::tiers::Tiers;
use crate::tree::{Residents, Surroundings, Tree};
use crate::tunables::Settings;

pub struct Core {
    pub path: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub durability: Durability,
    pub read_only: bool,
    pub clock: Clock,
    pub host: Arc<dyn Host>,
    pub events: Arc<Events>,
    pub versions: Arc<Versions>,
    pub memory: Arc<Memory>,
    pub residents: Arc<Residents>,
    pub io: Arc<IoPool>,
    pub pages: Arc<PageFile>,
    pub log: Log,
    pub settings: Arc<Settings>,
    pub families: RwLock<BTreeMap<String, Arc<FamilyCore>>>,
    pub next_id: AtomicU64,
    /// Held while families or settings change, and by checkpoints while they take down what there is.
    pub catalogue: Mutex<()>,
    pub checkpoint: Mutex<CheckpointState>,
    pub checkpointed: Checkpointed,
    pub leaf_blobs: LeafBlobs,
    pub maintenance: Maintenance,
    pub tiers: Tiers,
    /// Extents' ways back to the page file that still wait for readers.
    pub releases: Arc<AtomicU64>,
    pub closed: AtomicBool,
    pub lock: Mutex<Option<LockGuard>>,
}

impl Core {
    pub fn open_check(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    #[inline]
    pub fn writable(&self) -> Result<()> {
        if self.read_only {
            return Err(if self.closed.load(Ordering::Acquire) { Error::Closed } else { Error::ReadOnly });
        }
        Ok(())
    }

    pub fn family(&self, name: &str) -> Option<Arc<FamilyCore>> {
        self.families.read().get(name).cloned()
    }

    pub fn all_families(&self) -> Vec<Arc<FamilyCore>> {
        self.families.read().values().cloned().collect()
    }

    pub fn new_family(&self, entry: &FamilyEntry) -> Result<Arc<FamilyCore>> {
        let make = FamilyMaker {
            versions: &self.versions,
            pages: &self.pages,
            memory: &self.memory,
            residents: &self.residents,
            io: &self.io,
            events: &self.events,
            clock: &self.clock,
            path: &self.path,
            settings: &self.settings,
        };
        Ok(Arc::new(make.family(entry, make.settings(entry)?, None)))
    }

    /// As it stands now; `root`s are for the checkpoint to fill in.
    pub fn describe(&self) -> Catalogue {
        let families = self.families.read();
        let mut entries: Vec<FamilyEntry> = families
            .iter()
            .map(|(name, family)| FamilyEntry {
                id: family.id,
                name: name.clone(),
                note: family.note.read().clone(),
                settings: family.settings.kept(),
                root: None,
            })
            .collect();
        entries.sort_by_key(|entry| entry.id);
        Catalogue {
            settings: self.settings.kept(),
            families: entries,
            next_id: self.next_id.load(Ordering::Relaxed) as u32,
        }
    }

    /// The newest version of everything is durable, the pages are written, the memory is given back.
    ///
    /// When the disk is full, what the log could not write waits for the next attempt to close; so long nobody else may
    /// open the database.
    pub fn close(&self) -> Result<()> {
        let mut lock = self.lock.lock();
        let was_closed = {
            // Who changes the families looks under this lock whether it is closed, so none comes once we have seen all.
            let _catalogue = self.catalogue.lock();
            self.closed.swap(true, Ordering::AcqRel)
        };
        let written = if was_closed { Ok(()) } else { self.close_trees() };
        let closed = if lock.is_some() { self.log.close() } else { Ok(()) };
        if !self.log.is_stalled() {
            *lock = None;
        }
        written.and(closed)
    }

    fn close_trees(&self) -> Result<()> {
        self.maintenance.stop();
        let families = self.all_families();
        for family in &families {
            // Writers that are past their check finish; later ones see the new state under the same lock.
            let _writer = family.tree.writer.lock();
            family.close();
        }
        self.io.stop();
        let written =
            if self.read_only { Ok(()) } else { self.checkpoint_if_changed().and_then(|()| self.tidy_at_close()) };
        // A checkpoint that came later would take emptied trees for the content.
        self.checkpoint.lock().ended = true;
        point(Point::CloseWritten);
        let guard = epoch::pin();
        for family in families {
            family.tree.clear(&guard);
        }
        guard.flush();
        written
    }
}

/// What the handles of programs share: with the last of them the database closes. The maintenance thread has only the
/// core, so it never keeps a database open.
pub struct Shared(pub Arc<Core>);

impl Deref for Shared {
    type Target = Core;

    #[inline(always)]
    fn deref(&self) -> &Core {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody is left to be told; what failed here, the log has.
        let _ = self.0.close();
    }
}

/// Makes families, of a new or of an opened database.
pub struct FamilyMaker<'a> {
    pub versions: &'a Arc<Versions>,
    pub pages: &'a Arc<PageFile>,
    pub memory: &'a Arc<Memory>,
    pub residents: &'a Arc<Residents>,
    pub io: &'a Arc<IoPool>,
    pub events: &'a Arc<Events>,
    pub clock: &'a Clock,
    pub path: &'a PathBuf,
    pub settings: &'a Arc<Settings>,
}

impl FamilyMaker<'_> {
    pub fn settings(&self, entry: &FamilyEntry) -> Result<Arc<Settings>> {
        let settings = Arc::new(Settings::of_family(self.settings));
        settings.keep(&entry.settings)?;
        Ok(settings)
    }

    pub fn family(&self, entry: &FamilyEntry, settings: Arc<Settings>, opened: Option<Opened>) -> FamilyCore {
        let counters = Arc::new(FamilyCounters::default());
        let around = Surroundings {
            versions: Arc::clone(self.versions),
            pages: Arc::clone(self.pages),
            memory: Arc::clone(self.memory),
            settings: Arc::clone(&settings),
            clock: self.clock.clone(),
            counters: Arc::clone(&counters),
            residents: Arc::clone(self.residents),
            io: Arc::clone(self.io),
            events: Arc::clone(self.events),
            family: entry.id,
            path: self.path.clone(),
        };
        let tree = match opened {
            Some(opened) => Tree::with_root(opened.root, true, around),
            None => Tree::empty(around),
        };
        FamilyCore::new(entry.id, &entry.name, entry.note.as_deref(), settings, counters, tree)
    }
}
