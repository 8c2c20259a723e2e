//! Opening a database: the lock, the newest superblock, the trees' inner pages, the log's valid tail.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Operation};
use crate::bytes::Reader;
use crate::catalogue::{Catalogue, FamilyEntry};
use crate::checkpoint::{CheckpointState, Checkpointed};
use crate::core::{Core, FamilyMaker};
use crate::database::{DEFAULT_FAMILY, Options};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::family::FamilyCore;
use crate::io_pool::IoPool;
use crate::leaf_pages::LeafBlobs;
use crate::log::{self, Log, LogOptions};
use crate::maintenance::Maintenance;
use crate::memory::Memory;
use crate::mvcc::Versions;
use crate::page_tree;
use crate::pagefile::{PAGE_FILE_NAME, PageFile, PageKind, Remains, Superblock};
use crate::sync::checked::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, RwLock};
use crate::tiers::Tiers;
use crate::tree::Residents;
use crate::tunables::Settings;

pub const LOCK_NAME: &str = "lock";
/// Of a file that does not begin as a page file, how much is searched for pages.
const SEARCHED_BYTES: u64 = 64 << 20;

/// Makes sure of the folder, before a disk is put on it.
pub fn prepare_folder(path: &Path, options: &Options) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::NotADatabase { path: path.into(), why: "it is not a folder".into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if options.create && !options.read_only {
                OsDisk::make(path).map(drop).map_err(Error::io("create", path))
            } else {
                Err(Error::NotFound { path: path.into() })
            }
        }
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Arc<Core>> {
    let path = disk.root().to_path_buf();
    let settings = Arc::new(Settings::of_database());
    settings.give(&options.settings)?;
    let names = disk.list().map_err(Error::io("list", &path))?;
    let exists = names.iter().any(|name| name == PAGE_FILE_NAME);
    if !exists {
        if let Some(segment) = log::find_commits(&*disk).map_err(Error::io("read the log in", &path))? {
            let what = format!("the page file is missing, and with it all records but those in the log ({segment:?})");
            return Err(Error::corruption(&path.join(PAGE_FILE_NAME), None, what));
        }
        let foreign = names.iter().find(|name| !is_ours(name));
        if let Some(name) = foreign {
            let why = format!("it holds other files ({name:?} for one) and no {PAGE_FILE_NAME}");
            return Err(Error::NotADatabase { path, why });
        }
        if !options.create || options.read_only {
            return Err(Error::NotFound { path });
        }
    }
    let lock = disk.lock(LOCK_NAME, !options.read_only).map_err(Error::io("lock", &path))?;
    let lock = lock.ok_or_else(|| Error::Locked {
        path: path.clone(),
        owner: "another process or another handle of this one".into(),
    })?;
    if !exists {
        create(&disk)?;
    }
    let (pages, superblock) =
        PageFile::open(Arc::clone(&disk), options.read_only).map_err(|error| damaged_or_foreign(&*disk, error))?;
    let pages = Arc::new(pages);
    let catalogue = read_catalogue(&pages, &path, &superblock)?;
    settings.keep(&catalogue.settings)?;
    let versions = Arc::new(Versions::new(superblock.version));
    let memory = Arc::new(Memory::new(settings.memory_bytes()));
    let residents = Arc::new(Residents::new(settings.replacement()));
    let io = Arc::new(IoPool::default());
    let events = Arc::new(Events::default());
    let mut opening = Opening {
        maker: FamilyMaker {
            versions: &versions,
            pages: &pages,
            memory: &memory,
            residents: &residents,
            io: &io,
            events: &events,
            clock: &options.clock,
            path: &path,
            settings: &settings,
        },
        families: BTreeMap::new(),
        dropped: Vec::new(),
        next_id: catalogue.next_id,
        state: CheckpointState { version: superblock.version, ..CheckpointState::default() },
        leaf_blobs: LeafBlobs::default(),
        path: &path,
    };
    opening.families_of(&catalogue, &pages, &superblock)?;
    let log_options = LogOptions {
        identity: superblock.identity,
        from_segment: superblock.log_segment,
        after_version: superblock.version,
        durability: options.durability,
        group_interval: Duration::from_millis(settings.group_interval_ms()),
        read_only: options.read_only,
    };
    let log = Log::open(Arc::clone(&disk), &log_options, &mut |version, record| {
        opening.replay(version, record)?;
        versions.set_visible(version);
        Ok(())
    })?;
    let Opening { families, dropped, next_id, mut state, leaf_blobs, .. } = opening;
    state.dropped = dropped;
    let mut by_name = BTreeMap::new();
    for family in families.into_values() {
        let name = family.name.read().clone();
        by_name.insert(name, family);
    }
    let core = Core {
        path: path.clone(),
        disk,
        durability: options.durability,
        read_only: options.read_only,
        clock: options.clock.clone(),
        host: Arc::clone(&options.host),
        events: Arc::clone(&events),
        versions: Arc::clone(&versions),
        memory: Arc::clone(&memory),
        residents: Arc::clone(&residents),
        io: Arc::clone(&io),
        pages,
        log,
        families: RwLock::new(by_name),
        next_id: AtomicU64::new(next_id.into()),
        catalogue: Mutex::new(()),
        checkpoint: Mutex::new(state),
        leaf_blobs,
        checkpointed: Checkpointed { segment: AtomicU64::new(superblock.log_segment), ..Checkpointed::default() },
        maintenance: Maintenance::default(),
        tiers: Tiers::default(),
        releases: Arc::new(AtomicU64::new(0)),
        closed: AtomicBool::new(false),
        lock: Mutex::new(Some(lock)),
        settings,
    };
    core.settings_changed();
    let core = Arc::new(core);
    Maintenance::start(&core).map_err(Error::io("start the maintenance thread of", &core.path))?;
    Ok(core)
}

/// What does not begin as a page file was one if there is a log beside it, or if there are pages in it.
fn damaged_or_foreign(disk: &dyn Disk, error: Error) -> Error {
    let Error::NotADatabase { path, .. } = &error else { return error };
    let holds_page = || Remains::open(disk).ok()??.holds_page(SEARCHED_BYTES).ok();
    if log::size_of_log(disk) == 0 && holds_page() != Some(true) {
        return error;
    }
    let what = "the beginning is destroyed, and with it both superblocks: nothing leads to the records any more";
    Error::corruption(&path.with_file_name(PAGE_FILE_NAME), 0, what)
}

fn of_family(error: Error, family: &str) -> Error {
    match error {
        Error::Corruption { path, offset, what } => {
            Error::Corruption { path, offset, what: format!("{what}, of family {family:?}") }
        }
        other => other,
    }
}

fn is_ours(name: &str) -> bool {
    name == LOCK_NAME || name.ends_with(".lyre") || name.ends_with(".lyre.new")
}

fn create(disk: &Arc<dyn Disk>) -> Result<()> {
    let random = || RandomState::new().build_hasher().finish();
    let identity = u128::from(random()) << 64 | u128::from(random());
    let superblock = Superblock { sequence: 0, version: 0, log_segment: 1, catalogue: None, identity };
    create_log(disk, &superblock)?;
    PageFile::create(Arc::clone(disk), &superblock).map(drop)
}

/// An empty log for a page file that holds `superblock.version`.
pub fn create_log(disk: &Arc<dyn Disk>, superblock: &Superblock) -> Result<()> {
    let options = LogOptions {
        identity: superblock.identity,
        from_segment: 1,
        after_version: superblock.version,
        durability: crate::Durability::Sync,
        group_interval: Duration::from_secs(1),
        read_only: false,
    };
    Log::create(Arc::clone(disk), &options)?.close()
}

fn read_catalogue(pages: &PageFile, path: &Path, superblock: &Superblock) -> Result<Catalogue> {
    let default = FamilyEntry { id: 0, name: DEFAULT_FAMILY.into(), note: None, settings: Vec::new(), root: None };
    let Some(extent) = superblock.catalogue else {
        return Ok(Catalogue { settings: Vec::new(), families: vec![default], next_id: 1 });
    };
    let mut payload = Vec::new();
    pages.read_page(extent, PageKind::Catalogue, &mut payload).map_err(|error| match error {
        Error::Corruption { path, offset, what } => {
            let what = format!("{what}: the catalogue, which leads to the records of all families");
            Error::Corruption { path, offset, what }
        }
        other => other,
    })?;
    let damaged =
        || Error::corruption(&path.join(PAGE_FILE_NAME), extent.offset(), "the catalogue's content makes no sense");
    Catalogue::decode(&payload).ok_or_else(damaged)
}

struct Opening<'a> {
    maker: FamilyMaker<'a>,
    families: BTreeMap<u32, Arc<FamilyCore>>,
    dropped: Vec<Arc<FamilyCore>>,
    next_id: u32,
    state: CheckpointState,
    leaf_blobs: LeafBlobs,
    path: &'a PathBuf,
}

impl Opening<'_> {
    fn families_of(&mut self, catalogue: &Catalogue, pages: &PageFile, superblock: &Superblock) -> Result<()> {
        if let Some(extent) = superblock.catalogue {
            pages.mark_used(&[extent])?;
            self.state.structure.push(extent.to_bits());
        }
        for entry in &catalogue.families {
            let settings = self.maker.settings(entry)?;
            let opened = match &entry.root {
                Some(root) => {
                    let mut opened = page_tree::open(pages, self.path, root, self.maker.memory)
                        .map_err(|error| of_family(error, &entry.name))?;
                    self.state.structure.append(&mut opened.structure);
                    opened.blobs.iter().for_each(|(leaf, blobs)| self.leaf_blobs.note(*leaf, entry.id, blobs));
                    Some(opened)
                }
                None => None,
            };
            self.families.insert(entry.id, Arc::new(self.maker.family(entry, settings, opened)));
        }
        Ok(())
    }

    fn replay(&mut self, version: u64, record: &[u8]) -> Result<()> {
        let damaged =
            || Error::corruption(self.path, None, format!("the log record of version {version} makes no sense"));
        let mut reader = Reader::new(record);
        let mut batch = Batch::default();
        while !reader.is_empty() {
            match Operation::decode(&mut reader).ok_or_else(damaged)? {
                Operation::Catalogue(bytes) => {
                    let catalogue = Catalogue::decode(bytes).ok_or_else(damaged)?;
                    self.follow(&catalogue)?;
                }
                operation => batch.take(&operation, &|id| self.families.get(&id).cloned()),
            }
        }
        if batch.is_empty() { Ok(()) } else { Core::replay(&batch, version) }
    }

    /// Makes the families what a logged catalogue says.
    fn follow(&mut self, catalogue: &Catalogue) -> Result<()> {
        self.next_id = self.next_id.max(catalogue.next_id);
        self.maker.settings.keep(&catalogue.settings)?;
        let gone: Vec<u32> =
            self.families.keys().copied().filter(|id| catalogue.families.iter().all(|entry| entry.id != *id)).collect();
        for id in gone {
            self.dropped.extend(self.families.remove(&id));
        }
        for entry in &catalogue.families {
            match self.families.get(&entry.id) {
                Some(family) => {
                    *family.name.write() = entry.name.clone();
                    *family.note.write() = entry.note.clone();
                    family.settings.keep(&entry.settings)?;
                }
                None => {
                    let settings = self.maker.settings(entry)?;
                    self.families.insert(entry.id, Arc::new(self.maker.family(entry, settings, None)));
                }
            }
        }
        Ok(())
    }
}
