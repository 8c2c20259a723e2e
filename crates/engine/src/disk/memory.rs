use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, File, LockGuard, OpenMode};
use crate::sync::Mutex;

/// What a [`MemoryDisk`] was asked to do, as its faults see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Open,
    List,
    Remove,
    Rename,
    SyncDirectory,
    Lock,
    Read,
    Write,
    Sync,
    SetLength,
    Length,
}

/// The error that a faulty operation ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kind(io::ErrorKind),
    /// An error number of the operating system's.
    Raw(i32),
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Kind(kind) => io::Error::new(kind, "injected fault"),
            Fault::Raw(number) => io::Error::from_raw_os_error(number),
        }
    }
}

/// Files in memory, for tests. A clone is a second handle onto the same files, locks and faults.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Arc<Mutex<Vec<u8>>>>,
    /// Holders of a lock: `usize::MAX` is one that excludes all others.
    locks: HashMap<String, usize>,
    operations: u64,
    planned: HashMap<u64, Fault>,
    /// Operation, how many more of them fail, and how.
    failing: Vec<(Operation, u64, Fault)>,
}

impl State {
    fn step(&mut self, operation: Operation) -> io::Result<()> {
        self.operations += 1;
        if let Some(fault) = self.planned.remove(&self.operations) {
            return Err(fault.error());
        }
        if let Some(entry) = self.failing.iter_mut().find(|entry| entry.0 == operation && entry.1 > 0) {
            entry.1 -= 1;
            return Err(entry.2.error());
        }
        Ok(())
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        MemoryDisk::new()
    }
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk { root: PathBuf::from("memory"), state: Arc::default() }
    }

    /// Operations of all kinds so far.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The `nth` operation from now on, 1 being the next, fails; a write that fails has written half its bytes.
    pub fn fail_at(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.operations + nth;
        state.planned.insert(at, fault);
    }

    /// The next `count` operations of one kind fail; `u64::MAX` for all until `heal`.
    pub fn fail_next(&self, operation: Operation, count: u64, fault: Fault) {
        self.state.lock().failing.push((operation, count, fault));
    }

    /// Takes back all faults that are still to come.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.planned.clear();
        state.failing.clear();
    }

    /// A copy of the files as they are now, with no locks and no faults: what is found after the process was killed.
    pub fn image(&self) -> MemoryDisk {
        let copy = MemoryDisk::new();
        let files = self.state.lock().files.clone();
        for (name, bytes) in files {
            copy.put(&name, bytes.lock().clone());
        }
        copy
    }

    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.state.lock().files.get(name).cloned()?;
        let bytes = file.lock().clone();
        Some(bytes)
    }

    /// Makes or replaces a file; handles that are open see the new bytes.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let file = self.state.lock().files.entry(name.to_owned()).or_default().clone();
        *file.lock() = bytes;
    }
}

impl Disk for MemoryDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.step(Operation::Open)?;
        let bytes = match state.files.get(name) {
            Some(bytes) => bytes.clone(),
            None if mode == OpenMode::Create => state.files.entry(name.to_owned()).or_default().clone(),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(MemoryFile { state: self.state.clone(), bytes, writable: mode != OpenMode::Read }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.step(Operation::List)?;
        Ok(state.files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step(Operation::Remove)?;
        state.files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step(Operation::Rename)?;
        let bytes = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state.lock().step(Operation::SyncDirectory)
    }

    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<LockGuard>> {
        let mut state = self.state.lock();
        state.step(Operation::Lock)?;
        state.files.entry(name.to_owned()).or_default();
        let holders = state.locks.entry(name.to_owned()).or_insert(0);
        match (*holders, exclusive) {
            (0, true) => *holders = usize::MAX,
            (usize::MAX, _) | (_, true) => return Ok(None),
            _ => *holders += 1,
        }
        Ok(Some(Box::new(MemoryLock { state: self.state.clone(), name: name.to_owned() })))
    }
}

struct MemoryLock {
    state: Arc<Mutex<State>>,
    name: String,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        if let Some(holders) = self.state.lock().locks.get_mut(&self.name) {
            *holders = if *holders == usize::MAX { 0 } else { *holders - 1 };
        }
    }
}

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    bytes: Arc<Mutex<Vec<u8>>>,
    writable: bool,
}

impl MemoryFile {
    fn step_writing(&self, operation: Operation) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.state.lock().step(operation)
    }

    fn store(&self, source: &[u8], offset: u64) {
        let mut bytes = self.bytes.lock();
        let start = offset as usize;
        let end = start + source.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(source);
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.state.lock().step(Operation::Read)?;
        let bytes = self.bytes.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, source: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.step_writing(Operation::Write) {
            if self.writable {
                self.store(&source[..source.len() / 2], offset);
            }
            return Err(error);
        }
        self.store(source, offset);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.state.lock().step(Operation::Sync)
    }

    fn set_len(&self, length_bytes: u64) -> io::Result<()> {
        self.step_writing(Operation::SetLength)?;
        self.bytes.lock().resize(length_bytes as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.state.lock().step(Operation::Length)?;
        Ok(self.bytes.lock().len() as u64)
    }
}
