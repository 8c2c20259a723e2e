use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::faults::{Fault, Faults, Operation, Plan, Strike};
use super::{Disk, File, LockGuard, OpenMode};
use crate::sync::{Mutex, MutexGuard};

/// The disk has room for so many of these.
const BLOCK_BYTES: usize = 4096;

/// Files in memory, for tests. A clone is a second handle onto the same files, locks and faults.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Arc<Mutex<Content>>>,
    /// Holders of a lock: `usize::MAX` is one that excludes all others.
    locks: HashMap<String, usize>,
    faults: Faults,
    /// Blocks that the files may take together; `None` for as many as they like.
    capacity: Option<usize>,
    used: usize,
}

/// A file's bytes, and which of its blocks take room: what was never written does not.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    taken: Vec<bool>,
}

impl Content {
    fn blocks(&self) -> usize {
        self.taken.iter().filter(|&&taken| taken).count()
    }

    fn set_len(&mut self, length: usize) {
        self.bytes.resize(length, 0);
        self.taken.resize(length.div_ceil(BLOCK_BYTES), false);
    }

    /// Writes up to the first block for which there is no `room`; how many bytes, and how many blocks that took.
    fn write(&mut self, source: &[u8], start: usize, room: usize) -> (usize, usize) {
        let (mut end, mut new) = (start + source.len(), 0);
        for block in start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            if self.taken.get(block) != Some(&true) {
                if new == room {
                    end = (block * BLOCK_BYTES).max(start);
                    break;
                }
                new += 1;
            }
        }
        if end > start {
            if self.bytes.len() < end {
                self.set_len(end);
            }
            self.bytes[start..end].copy_from_slice(&source[..end - start]);
            self.taken[start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)].fill(true);
        }
        (end - start, new)
    }
}

impl State {
    /// For an operation on the folder.
    fn step(&mut self, operation: Operation, name: &str) -> io::Result<()> {
        self.faults.step(operation, name, 0).and_then(Fault::error).map_or(Ok(()), Err)
    }

    /// As much as there is room for; `Err` when that is not all.
    fn store(&mut self, content: &mut Content, source: &[u8], offset: u64) -> io::Result<()> {
        let room = self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.used));
        let (written, new) = content.write(source, offset as usize, room);
        self.used += new;
        if written < source.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn free(&mut self, file: &Mutex<Content>) {
        self.used -= file.lock().blocks();
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
        self.state.lock().faults.operations
    }

    pub fn plan(&self, plan: Plan) {
        self.state.lock().faults.add(plan);
    }

    /// The `nth` operation from now on, 1 being the next, fails; a write that fails has written half its bytes.
    pub fn fail_at(&self, nth: u64, fault: Fault) {
        self.plan(Plan { after: nth - 1, operations: Operation::ALL, count: 1, fault });
    }

    /// The next `count` operations of one kind fail; `u64::MAX` for all until `heal`.
    pub fn fail_next(&self, operation: Operation, count: u64, fault: Fault) {
        let Some(at) = Operation::ALL.iter().position(|known| *known == operation) else {
            unreachable!("all are there")
        };
        self.plan(Plan { after: 0, operations: &Operation::ALL[at..=at], count, fault });
    }

    /// What faults have struck so far.
    pub fn strikes(&self) -> Vec<Strike> {
        self.state.lock().faults.strikes.clone()
    }

    /// Takes back all faults that are still to come.
    pub fn heal(&self) {
        self.state.lock().faults.heal();
    }

    /// How many bytes the files may take together, in blocks of 4 KiB; `None`, as at first, for as many as they like.
    /// A block takes room from its first write on, until the file is cut before it or removed.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes.map(|bytes| bytes as usize / BLOCK_BYTES);
    }

    /// How many bytes the files take, in whole blocks.
    pub fn used_bytes(&self) -> u64 {
        (self.state.lock().used * BLOCK_BYTES) as u64
    }

    /// A copy of the files as they are now, with no locks and no faults: what is found after the process was killed.
    pub fn image(&self) -> MemoryDisk {
        let copy = MemoryDisk::new();
        let files = self.state.lock().files.clone();
        for (name, bytes) in files {
            copy.put(&name, bytes.lock().bytes.clone());
        }
        copy
    }

    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.state.lock().files.get(name).cloned()?;
        let bytes = file.lock().bytes.clone();
        Some(bytes)
    }

    /// Makes or replaces a file; handles that are open see the new bytes.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let file = state.files.entry(name.to_owned()).or_default().clone();
        state.free(&file);
        let taken = vec![true; bytes.len().div_ceil(BLOCK_BYTES)];
        state.used += taken.len();
        *file.lock() = Content { bytes, taken };
    }
}

impl Disk for MemoryDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.step(Operation::Open, name)?;
        let content = match state.files.get(name) {
            Some(content) => content.clone(),
            None if mode == OpenMode::Create => state.files.entry(name.to_owned()).or_default().clone(),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(MemoryFile { state: self.state.clone(), name: name.to_owned(), content, writable }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.step(Operation::List, "")?;
        Ok(state.files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step(Operation::Remove, name)?;
        let removed = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.free(&removed);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step(Operation::Rename, from)?;
        let content = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(replaced) = state.files.insert(to.to_owned(), content) {
            state.free(&replaced);
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state.lock().step(Operation::SyncDirectory, "")
    }

    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<LockGuard>> {
        let mut state = self.state.lock();
        state.step(Operation::Lock, name)?;
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
    /// When it was opened.
    name: String,
    content: Arc<Mutex<Content>>,
    writable: bool,
}

impl MemoryFile {
    fn step(&self, operation: Operation, offset: u64) -> (MutexGuard<'_, State>, Option<Fault>) {
        let mut state = self.state.lock();
        let fault = state.faults.step(operation, &self.name, offset);
        (state, fault)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (state, fault) = self.step(Operation::Read, offset);
        drop(state);
        if let Some(error) = fault.and_then(Fault::error) {
            return Err(error);
        }
        let bytes = &self.content.lock().bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let there = buffer.len().min(bytes.len() - start);
        let count = fault.map_or(there, |fault| fault.arrived(there));
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, source: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let (mut state, fault) = self.step(Operation::Write, offset);
        let mut content = self.content.lock();
        let Some((fault, error)) = fault.and_then(|fault| Some((fault, fault.error()?))) else {
            return state.store(&mut content, source, offset);
        };
        state.store(&mut content, &source[..fault.written(source.len())], offset)?;
        Err(error)
    }

    fn sync(&self) -> io::Result<()> {
        self.step(Operation::Sync, 0).1.and_then(Fault::error).map_or(Ok(()), Err)
    }

    fn set_len(&self, length_bytes: u64) -> io::Result<()> {
        self.check_writable()?;
        let (mut state, fault) = self.step(Operation::SetLength, length_bytes);
        if let Some(error) = fault.and_then(Fault::error) {
            return Err(error);
        }
        let mut content = self.content.lock();
        state.used -= content.blocks();
        content.set_len(length_bytes as usize);
        state.used += content.blocks();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        match self.step(Operation::Length, 0).1.and_then(Fault::error) {
            Some(error) => Err(error),
            None => Ok(self.content.lock().bytes.len() as u64),
        }
    }
}
