use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::allocator::{FreeMap, Usage};
use super::codec::{self, Codec, StoredCodec, StoredPayload};
use super::extent::{Extent, MAX_LENGTH_GRANULES, MAX_OFFSET_GRANULES};
use super::format::{
    FIRST_PAGE_OFFSET, GRANULE_BYTES, MAX_PAYLOAD_BYTES, PAGE_FILE_NAME, PAGE_FORMAT, PAGE_HEADER_BYTES, PageKind,
};
use super::header::{PageDefect, PageHeader, granules_for};
use super::open;
use super::superblock::Superblock;
use crate::disk::{Disk, File, read_fully};
use crate::sync::{AtomicU64, Mutex, Ordering, checked};
use crate::{Error, Result};

const FIRST_PAGE_GRANULE: u64 = FIRST_PAGE_OFFSET / GRANULE_BYTES;
/// The file grows by an eighth of its length within these bounds.
const GROWTH_BYTES: (u64, u64) = (64 << 10, 64 << 20);
/// So much is handed to the disk at a time. What the system gathers for long it writes in one go, and syncs of the log, which
/// commits wait for, stand behind that.
const WRITEBACK_BYTES: u64 = 8 << 20;
/// A thread keeps buffers up to this for its next page.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// What went through a page file since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageFileCounters {
    pub pages_read: u64,
    /// As stored: compressed, headers included.
    pub bytes_read: u64,
    pub pages_written: u64,
    /// As stored: compressed, headers included.
    pub bytes_written: u64,
    pub commits: u64,
}

/// The file of pages. All methods may be called from any thread.
///
/// A page that was written is not reachable until `commit` made a superblock durable that leads to it, and an extent is
/// not to be released before no durable superblock leads to it.
#[derive(Debug)]
pub struct PageFile {
    file: Arc<dyn File>,
    path: PathBuf,
    read_only: bool,
    space: Mutex<FreeMap>,
    /// The file's length as `space` has it, for readers, which take no lock.
    end_bytes: checked::AtomicU64,
    /// Written, and the disk was not told to begin with it.
    gathered: Mutex<Gathered>,
    committed: Mutex<Superblock>,
    /// Set with `failure`, and never taken back.
    poisoned: checked::AtomicBool,
    failure: Mutex<String>,
    pages_read: AtomicU64,
    bytes_read: AtomicU64,
    pages_written: AtomicU64,
    bytes_written: AtomicU64,
    commits: AtomicU64,
}

/// Bytes of pages between two places of the file.
#[derive(Debug, Default)]
struct Gathered {
    bytes: u64,
    from: u64,
    to: u64,
}

thread_local! {
    static PAGE_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl PageFile {
    /// Makes a file with no pages. It is there whole and durable on return, or not at all.
    pub fn create(disk: Arc<dyn Disk>, superblock: &Superblock) -> Result<PageFile> {
        let superblock = Superblock { sequence: 1, catalogue: None, ..*superblock };
        let file = open::create(&*disk, &superblock)?;
        Ok(PageFile::new(&*disk, file, false, FIRST_PAGE_OFFSET, superblock))
    }

    /// All behind the superblocks counts as free until `mark_used`: write nothing before all that is in use is marked.
    pub fn open(disk: Arc<dyn Disk>, read_only: bool) -> Result<(PageFile, Superblock)> {
        let (file, length_bytes, superblock) = open::open(&*disk, read_only)?;
        Ok((PageFile::new(&*disk, file, read_only, length_bytes, superblock), superblock))
    }

    fn new(
        disk: &dyn Disk,
        file: Arc<dyn File>,
        read_only: bool,
        length_bytes: u64,
        committed: Superblock,
    ) -> PageFile {
        let end = (length_bytes / GRANULE_BYTES).clamp(FIRST_PAGE_GRANULE, MAX_OFFSET_GRANULES);
        PageFile {
            file,
            path: disk.root().join(PAGE_FILE_NAME),
            read_only,
            space: Mutex::new(FreeMap::new(FIRST_PAGE_GRANULE, end)),
            end_bytes: checked::AtomicU64::new(end * GRANULE_BYTES),
            gathered: Mutex::new(Gathered::default()),
            committed: Mutex::new(committed),
            poisoned: checked::AtomicBool::new(false),
            failure: Mutex::new(String::new()),
            pages_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            pages_written: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `Error::Corruption` when an extent is outside the file or overlaps another that is in use.
    pub fn mark_used(&self, extents: &[Extent]) -> Result<()> {
        let mut space = self.space.lock();
        for extent in extents {
            if !space.take(extent.offset_granules(), extent.length_granules()) {
                let what = format!("an extent of {} bytes overlaps another or the file's end", extent.len_bytes());
                return Err(Error::corruption(&self.path, extent.offset(), what));
            }
        }
        Ok(())
    }

    /// Writes a page to the lowest place that is free. After an error nothing is changed, and writing may go on.
    pub fn write_page(&self, kind: PageKind, codec: Codec, payload: &[u8]) -> Result<Extent> {
        self.check_writable()?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::ValueTooLarge { length: payload.len(), limit: MAX_PAYLOAD_BYTES });
        }
        with_buffer(|buffer| {
            codec::make_room(buffer, PAGE_HEADER_BYTES);
            let compressed = codec::compress(codec, payload, buffer, PAGE_HEADER_BYTES)
                .filter(|(_, stored)| granules_for(*stored) < granules_for(payload.len()));
            let (codec, stored_bytes) = compressed.unwrap_or((StoredCodec::None, payload.len()));
            let header = PageHeader { kind, codec, raw_bytes: payload.len(), stored_bytes };
            let page_bytes = (header.granules() * GRANULE_BYTES) as usize;
            codec::make_room(buffer, page_bytes);
            if codec == StoredCodec::None {
                buffer[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + stored_bytes].copy_from_slice(payload);
            }
            buffer[PAGE_HEADER_BYTES + stored_bytes..page_bytes].fill(0);
            let extent = self.allocate(header.granules())?;
            self.store(&header, &mut buffer[..page_bytes], extent)?;
            Ok(extent)
        })
    }

    /// Replaces the contents of `payload`, whose memory is used again. `Error::Corruption` on any defect.
    pub fn read_page(&self, extent: Extent, kind: PageKind, payload: &mut Vec<u8>) -> Result<()> {
        let found = self.read_any_page(extent, payload)?;
        if found != kind {
            let what = format!("a page of kind {found:?} where {kind:?} was looked for");
            return Err(Error::corruption(&self.path, extent.offset(), what));
        }
        Ok(())
    }

    /// As `read_page`, of whatever kind it is.
    pub fn read_any_page(&self, extent: Extent, payload: &mut Vec<u8>) -> Result<PageKind> {
        with_buffer(|buffer| {
            let (header, page) = self.load(extent, buffer)?;
            let bytes = &page[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + header.stored_bytes];
            let stored = StoredPayload { codec: header.codec, raw_bytes: header.raw_bytes, bytes };
            stored
                .unpack(payload)
                .map_err(|why| Error::corruption(&self.path, extent.offset(), format!("cannot decompress: {why}")))?;
            Ok(header.kind)
        })
    }

    /// Shows the payload of a page as it is stored.
    pub fn read_stored<R>(
        &self,
        extent: Extent,
        kind: PageKind,
        show: impl FnOnce(StoredPayload<'_>) -> R,
    ) -> Result<R> {
        with_buffer(|buffer| {
            let (header, page) = self.load(extent, buffer)?;
            if header.kind != kind {
                let what = format!("a page of kind {:?} where {kind:?} was looked for", header.kind);
                return Err(Error::corruption(&self.path, extent.offset(), what));
            }
            let bytes = &page[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + header.stored_bytes];
            Ok(show(StoredPayload { codec: header.codec, raw_bytes: header.raw_bytes, bytes }))
        })
    }

    /// Copies the stored page to the lowest free place before it. The old extent stays in use until it is released.
    /// `Ok(None)`: there is no such place.
    pub fn relocate(&self, extent: Extent) -> Result<Option<Extent>> {
        self.check_writable()?;
        with_buffer(|buffer| {
            let (header, page) = self.load(extent, buffer)?;
            let below = extent.offset() / GRANULE_BYTES;
            let Some(start) = self.space.lock().allocate(header.granules(), below) else { return Ok(None) };
            let target = Extent::new(start, header.granules());
            self.store(&header, page, target)?;
            Ok(Some(target))
        })
    }

    /// Copies the stored page to the end of the file, behind byte `from`, and grows the file where needed. The old extent
    /// stays in use until it is released.
    pub fn relocate_behind(&self, extent: Extent, from: u64) -> Result<Extent> {
        self.check_writable()?;
        with_buffer(|buffer| {
            let (header, page) = self.load(extent, buffer)?;
            let from = from.div_ceil(GRANULE_BYTES);
            let mut space = self.space.lock();
            let start = match space.allocate_at_end(header.granules(), from) {
                Some(start) => start,
                None => {
                    self.grow(&mut space, header.granules())?;
                    let start = space.allocate_at_end(header.granules(), from);
                    start.unwrap_or_else(|| unreachable!("the file has just grown by what was missing"))
                }
            };
            drop(space);
            let target = Extent::new(start, header.granules());
            self.store(&header, page, target)?;
            Ok(target)
        })
    }

    /// Frees extents for reuse at once. `Error::Corruption` at the first that is not in use; those before it are freed.
    pub fn release(&self, extents: &[Extent]) -> Result<()> {
        self.check_writable()?;
        let mut space = self.space.lock();
        for extent in extents {
            if !space.release(extent.offset_granules(), extent.length_granules()) {
                let what = format!("an extent of {} bytes was freed that is not in use", extent.len_bytes());
                return Err(Error::corruption(&self.path, extent.offset(), what));
            }
        }
        Ok(())
    }

    /// Makes all pages written so far durable, then the superblock, in both slots. Sequence and identity are set here.
    ///
    /// A failure leaves open which superblock a reopening will find, so all later writes get `Error::Poisoned`.
    pub fn commit(&self, superblock: &Superblock) -> Result<()> {
        let mut committed = self.committed.lock();
        self.check_writable()?;
        let next = Superblock { sequence: committed.sequence + 1, identity: committed.identity, ..*superblock };
        self.file.sync().map_err(|error| self.poison("sync", error))?;
        open::write_superblocks(&*self.file, &next).map_err(|error| self.poison("write the superblock of", error))?;
        *committed = next;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The superblock that is on disk.
    pub fn committed(&self) -> Superblock {
        *self.committed.lock()
    }

    /// Reads both slots of superblocks; the byte each begins at that is not what was written last, and what is wrong.
    pub fn check_superblocks(&self) -> Result<Vec<(u64, String)>> {
        // Held, so that no commit is half way.
        let committed = self.committed.lock();
        open::check_slots(&*self.file, &self.path, &committed, self.read_only)
    }

    /// As `release`; a failure is a flaw of ours that lets two pages share an extent, so all later writes are refused.
    pub fn release_or_poison(&self, extents: &[Extent]) {
        if let Err(error) = self.release(extents) {
            let _ = self.poison("give space back in", std::io::Error::other(error.to_string()));
        }
    }

    /// Gives a free tail at least as long as the next growth would be back to the file system; how many bytes.
    pub fn shrink(&self) -> Result<u64> {
        self.cut_tail(growth_bytes)
    }

    /// Gives all of a free tail back to the file system; how many bytes.
    pub fn trim(&self) -> Result<u64> {
        self.cut_tail(|_| GRANULE_BYTES)
    }

    fn cut_tail(&self, least_bytes: impl FnOnce(u64) -> u64) -> Result<u64> {
        self.check_writable()?;
        let mut space = self.space.lock();
        let tail = space.tail();
        let end_bytes = (space.end() - tail) * GRANULE_BYTES;
        if tail * GRANULE_BYTES < least_bytes(end_bytes) {
            return Ok(0);
        }
        self.file.set_len(end_bytes).map_err(Error::io("shrink", &self.path))?;
        space.cut_tail();
        self.end_bytes.store(end_bytes, Ordering::Release);
        Ok(tail * GRANULE_BYTES)
    }

    pub fn usage(&self) -> Usage {
        let space = self.space.lock();
        let file_bytes = space.end() * GRANULE_BYTES;
        let free_bytes = space.free() * GRANULE_BYTES;
        Usage { file_bytes, used_bytes: file_bytes - free_bytes, free_bytes, free_runs: space.runs() }
    }

    pub fn counters(&self) -> PageFileCounters {
        PageFileCounters {
            pages_read: self.pages_read.load(Ordering::Relaxed),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            pages_written: self.pages_written.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }

    fn allocate(&self, granules: u64) -> Result<Extent> {
        assert!(granules <= MAX_LENGTH_GRANULES);
        let mut space = self.space.lock();
        let mut start = space.allocate(granules, u64::MAX);
        if start.is_none() {
            self.grow(&mut space, granules)?;
            start = space.allocate(granules, u64::MAX);
        }
        let Some(start) = start else { unreachable!("the file has just grown by what was missing") };
        Ok(Extent::new(start, granules))
    }

    /// Until there are as many free granules at the end.
    fn grow(&self, space: &mut FreeMap, granules: u64) -> Result<()> {
        let step = growth_bytes(space.end() * GRANULE_BYTES) / GRANULE_BYTES;
        let needed = space.end() + granules - space.tail();
        let end = needed.max(space.end() + step).min(MAX_OFFSET_GRANULES);
        if end < needed {
            return Err(Error::io("grow", &self.path)(io::ErrorKind::FileTooLarge.into()));
        }
        self.file.set_len(end * GRANULE_BYTES).map_err(Error::io("grow", &self.path))?;
        space.grow(end);
        self.end_bytes.store(end * GRANULE_BYTES, Ordering::Release);
        Ok(())
    }

    /// Seals and writes a page to an extent that is ours; on an error the extent is free again.
    fn store(&self, header: &PageHeader, page: &mut [u8], extent: Extent) -> Result<()> {
        header.seal(page, extent);
        if let Err(error) = self.file.write_at(page, extent.offset()) {
            let released = self.space.lock().release(extent.offset_granules(), extent.length_granules());
            assert!(released, "the extent was in use");
            return Err(Error::io("write a page to", &self.path)(error));
        }
        self.pages_written.fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(page.len() as u64, Ordering::Relaxed);
        self.gather(extent);
        Ok(())
    }

    fn gather(&self, extent: Extent) {
        let mut gathered = self.gathered.lock();
        gathered.from = if gathered.bytes == 0 { extent.offset() } else { gathered.from.min(extent.offset()) };
        gathered.to = gathered.to.max(extent.end());
        gathered.bytes += extent.len_bytes();
        if gathered.bytes >= WRITEBACK_BYTES {
            let Gathered { from, to, .. } = std::mem::take(&mut *gathered);
            drop(gathered);
            self.file.start_writing(from, to - from);
        }
    }

    fn load<'buffer>(&self, extent: Extent, buffer: &'buffer mut Vec<u8>) -> Result<(PageHeader, &'buffer mut [u8])> {
        let corrupt = |what: String| Error::corruption(&self.path, extent.offset(), what);
        let inside = extent.end() <= self.end_bytes.load(Ordering::Acquire);
        if !inside || extent.length_granules() > granules_for(MAX_PAYLOAD_BYTES) {
            return Err(corrupt(format!("no room for a page of {} bytes before the file's end", extent.len_bytes())));
        }
        let page_bytes = extent.len_bytes() as usize;
        codec::make_room(buffer, page_bytes);
        let page = &mut buffer[..page_bytes];
        let count = read_fully(&*self.file, page, extent.offset()).map_err(Error::io("read a page of", &self.path))?;
        if count < page_bytes {
            return Err(corrupt(format!("the file ends {} bytes short of the page's end", page_bytes - count)));
        }
        let header = PageHeader::verify(page, extent).map_err(|defect| match defect {
            PageDefect::Damaged(what) => corrupt(what),
            PageDefect::Newer(found) => {
                Error::NewerFormat { path: self.path.clone(), found, supported: PAGE_FORMAT.into() }
            }
        })?;
        self.pages_read.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(page_bytes as u64, Ordering::Relaxed);
        Ok((header, page))
    }

    fn check_writable(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned { why: self.failure.lock().clone() });
        }
        Ok(())
    }

    fn poison(&self, operation: &'static str, error: io::Error) -> Error {
        *self.failure.lock() = format!("{operation} {}: {error}", self.path.display());
        self.poisoned.store(true, Ordering::Release);
        Error::io(operation, &self.path)(error)
    }
}

/// Shows a payload as it would be stored, for keeping it in memory.
pub fn pack<R>(codec: Codec, payload: &[u8], show: impl FnOnce(StoredPayload<'_>) -> R) -> R {
    with_buffer(|buffer| {
        let compressed = codec::compress(codec, payload, buffer, 0).filter(|(_, stored)| *stored < payload.len());
        let (codec, bytes) = match compressed {
            Some((codec, stored)) => (codec, &buffer[..stored]),
            None => (StoredCodec::None, payload),
        };
        show(StoredPayload { codec, raw_bytes: payload.len(), bytes })
    })
}

fn growth_bytes(file_bytes: u64) -> u64 {
    (file_bytes / 8).clamp(GROWTH_BYTES.0, GROWTH_BYTES.1) / GRANULE_BYTES * GRANULE_BYTES
}

/// Runs with the thread's page buffer, whose contents are whatever the last page left.
fn with_buffer<R>(run: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    if cfg!(feature = "shuttle") {
        // All of its threads are one of the system's.
        return run(&mut Vec::new());
    }
    PAGE_BUFFER.with_borrow_mut(|buffer| {
        let result = run(buffer);
        if buffer.len() > KEPT_BUFFER_BYTES {
            *buffer = Vec::new();
        }
        result
    })
}
