//! What may be seen of a damaged database.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::abort;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Columns, Database, Error, Family, Fetched, Range, Rows};

use crate::common::Model;
use crate::specimen::{Content, options};

/// No damage to a database of a quarter of a MiB is a reason to ask for as much memory at once.
const LARGEST_ALLOCATION: usize = 64 << 20;
/// Longer than examining any image takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Watched;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_ALLOCATION {
            eprintln!("{} bytes of memory were asked for at once", layout.size());
            abort();
        }
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The contents of which one may be found.
#[derive(Clone, Copy)]
pub struct Legal<'a> {
    pub newest: &'a Content,
    /// What a torn end of the log leaves, where it cannot be told from damage.
    pub torn: Option<&'a Content>,
    pub origin: Origin,
}

/// How the damage came about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// As disks and accidents make it.
    Accident,
    /// Pages that are not what was written, with checksums that are right: enough if a check finds them.
    Crafted,
    /// Superblocks that lie, with checksums that are right: enough if nothing worse than a wrong answer comes of it.
    Forged,
}

/// A key and its value.
type Row = (Vec<u8>, Vec<u8>);

/// What was read: nothing for what could not be.
#[derive(Default)]
struct Seen {
    /// By family, the records before the first error, and whether there was none.
    scanned: Vec<(String, Vec<Row>, bool)>,
    got: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
    families: Vec<String>,
    errors: Vec<Error>,
}

impl Seen {
    fn of(database: &Database, keys: &Content, with_gets: bool) -> Seen {
        let mut seen = Seen { families: database.families().expect("it is open"), ..Seen::default() };
        for name in seen.families.clone() {
            let family = database.family(&name).expect("it is open").expect("it is listed");
            // What a scan has read is in memory, so gets add nothing to it but where it came to no end.
            let is_whole = seen.scan(database, &family, &name);
            if is_whole && !with_gets {
                continue;
            }
            for key in keys.get(&name).map(Model::keys).into_iter().flatten() {
                seen.get(&family, &name, key);
                if key.ends_with(b"7") {
                    seen.get(&family, &name, &[key, b" is not there".as_slice()].concat());
                }
            }
        }
        seen
    }

    fn scan(&mut self, database: &Database, family: &Family, name: &str) -> bool {
        let snapshot = database.snapshot().expect("it is open");
        let mut cursor = snapshot.cursor(family, Range::default(), false).expect("a cursor");
        let mut all = Vec::new();
        let is_whole = loop {
            let mut rows = Rows::default();
            match cursor.fetch(Columns::Both, 20, usize::MAX / 2, true, &mut rows) {
                Ok(fetched) => {
                    all.extend((0..rows.len()).map(|row| (rows.key(row).to_vec(), rows.value(row).to_vec())));
                    if fetched == Fetched::Done {
                        break true;
                    }
                }
                Err(error) => {
                    self.errors.push(error);
                    break false;
                }
            }
        };
        self.scanned.push((name.to_owned(), all, is_whole));
        is_whole
    }

    fn get(&mut self, family: &Family, name: &str, key: &[u8]) {
        match family.get(key, |value| value.to_vec()) {
            Ok(value) => self.got.push((name.to_owned(), key.to_vec(), value)),
            Err(error) => self.errors.push(error),
        }
    }

    /// Why this is not what was seen of `content`.
    fn differs(&self, content: &Content) -> Option<String> {
        if !self.families.iter().eq(content.keys()) {
            return Some(format!("the families {:?}", self.families));
        }
        for (name, rows, is_whole) in &self.scanned {
            let model = &content[name];
            let is_same = rows.iter().map(|(key, value)| (key, value)).eq(model.iter().take(rows.len()));
            if !is_same || *is_whole && rows.len() != model.len() {
                return Some(format!("{} rows of {name}, where {} were expected", rows.len(), model.len()));
            }
        }
        let wrong = self.got.iter().find(|(name, key, value)| content[name].get(key) != value.as_ref());
        wrong.map(|(name, key, value)| {
            let length = value.as_ref().map(Vec::len);
            format!("{length:?} bytes at key {:?} of {name}", String::from_utf8_lossy(key))
        })
    }
}

/// Opens it to read only.
pub fn open(disk: &MemoryDisk) -> Database {
    let options = lyredb_engine::Options { read_only: true, create: false, ..options() };
    Database::open_on(Arc::new(disk.clone()), options).expect("it is sound")
}

/// Opens, checks and reads all; what was told of the damage.
pub fn examine(disk: &MemoryDisk, read_only: bool, legal: &Legal<'_>, what: &str) -> Vec<String> {
    let access = if read_only { ", read-only" } else { "" };
    named(&format!("{what}{access}"), || {
        let options = lyredb_engine::Options { read_only, create: false, ..options() };
        match Database::open_on(Arc::new(disk.clone()), options) {
            Ok(database) => examine_open(&database, legal, !read_only),
            Err(error) => vec![told(&error)],
        }
    })
}

/// Says what it was about when it fails.
pub fn named<T>(what: &str, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        eprintln!("with this damage: {what}");
        resume_unwind(panic)
    })
}

/// Checks and reads all of a database that is open; what was told of the damage.
pub fn examine_open(database: &Database, legal: &Legal<'_>, with_gets: bool) -> Vec<String> {
    let report = database.check(&mut |_, _| true).expect("a check ends");
    let seen = Seen::of(database, legal.newest, with_gets);
    let mut all: Vec<String> = seen.errors.iter().map(told).collect();
    for problem in &report.problems {
        assert!(problem.path.contains(".lyre") && !problem.what.is_empty(), "{problem:?}");
        all.push(problem.what.clone());
    }
    // A page that reading cannot make sense of, a check finds too.
    assert!(seen.errors.is_empty() || !report.problems.is_empty(), "not found by the check: {:?}", seen.errors);
    let is_to_be_right = match legal.origin {
        Origin::Accident => true,
        Origin::Crafted => report.problems.is_empty(),
        Origin::Forged => false,
    };
    if is_to_be_right {
        let newest = seen.differs(legal.newest);
        let torn = legal.torn.map(|torn| seen.differs(torn));
        let is_right = newest.is_none() || torn == Some(None);
        assert!(is_right, "wrong: {newest:?}, nor {torn:?}; told was {all:?}");
    }
    all
}

/// An error that says where, and what is lost.
fn told(error: &Error) -> String {
    match error {
        Error::Corruption { path, what, .. } => {
            assert!(path.to_string_lossy().contains(".lyre"), "names no file: {error}");
            assert!(what.len() > 10, "{error}");
        }
        Error::NotADatabase { .. } | Error::NewerFormat { .. } | Error::NotFound { .. } => {}
        other => panic!("not an error that tells of damage: {other:?}"),
    }
    error.to_string()
}

/// Does all numbers below `count`, in pieces that begin with a `make` of their own; fails if one of them hangs.
pub fn in_parallel<T>(count: u64, make: impl Fn() -> T + Sync, work: impl Fn(&T, u64) + Sync) {
    const PIECE: u64 = 64;
    let (next, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let busy = AtomicUsize::new(workers);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let finished = catch_unwind(AssertUnwindSafe(|| {
                    loop {
                        let from = next.fetch_add(PIECE, Ordering::Relaxed);
                        if from >= count || failed.load(Ordering::Relaxed) {
                            break;
                        }
                        let made = make();
                        for number in from..(from + PIECE).min(count) {
                            work(&made, number);
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }));
                busy.fetch_sub(1, Ordering::Release);
                if let Err(panic) = finished {
                    failed.store(true, Ordering::Relaxed);
                    resume_unwind(panic);
                }
            });
        }
        let mut before = (0, Duration::ZERO);
        while busy.load(Ordering::Acquire) > 0 {
            const STEP: Duration = Duration::from_millis(20);
            thread::sleep(STEP);
            let now = done.load(Ordering::Relaxed);
            before = if now == before.0 { (now, before.1 + STEP) } else { (now, Duration::ZERO) };
            if before.1 > PATIENCE {
                eprintln!("nothing has come to its end for {PATIENCE:?}, after {now} of {count}");
                abort();
            }
        }
    });
}
