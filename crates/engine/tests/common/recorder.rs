//! A disk that remembers every operation: each write, length, sync, name and sync of the folder.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use lyredb_engine::disk::{Disk, File, LockGuard, MemoryDisk, OpenMode};

/// A change to one file's bytes.
#[derive(Clone, Debug)]
pub enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLength(usize),
}

impl Change {
    /// The first and the last byte that are not as before.
    pub fn reach(&self) -> (usize, usize) {
        match self {
            Change::Write { offset, bytes } => (*offset, offset + bytes.len()),
            Change::SetLength(length) => (*length, usize::MAX / 2),
        }
    }
}

/// A change to the folder. Files go by their number: a name may be lost and a later one of the same file be kept.
#[derive(Clone, Debug)]
pub enum Naming {
    Create { name: String, file: usize },
    Rename { from: String, to: String, file: usize },
    Remove { name: String },
}

#[derive(Clone, Debug)]
pub enum Event {
    Change {
        file: usize,
        change: Change,
    },
    Sync {
        file: usize,
    },
    Naming(Naming),
    SyncDirectory,
    /// Of all bytes that are not synced, the system holds for clean what may never get to the disk.
    Forget,
}

#[derive(Debug, Default)]
struct State {
    /// As programs see them.
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    events: Vec<Event>,
    /// How many have been killed.
    killed: usize,
}

/// A clone is another handle of the same process on the same disk.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    state: Arc<Mutex<State>>,
    process: usize,
}

impl Recorder {
    /// A disk that holds, durably, what `image` holds.
    pub fn on(image: &MemoryDisk) -> Recorder {
        let recorder = Recorder::default();
        for name in image.list().expect("memory does not fail") {
            let bytes = image.get(&name).expect("it is listed");
            let file = recorder.open(&name, OpenMode::Create).expect("memory does not fail");
            file.write_at(&bytes, 0).expect("memory does not fail");
            file.sync().expect("memory does not fail");
        }
        recorder.sync_directory().expect("memory does not fail");
        recorder
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics under the lock")
    }

    /// The process can do nothing more; what it had written is there for the next, whose handle this is. With `forgets`
    /// as after a failed sync: the next one can read what is not synced, but no sync of its own makes that durable.
    pub fn kill(&self, forgets: bool) -> Recorder {
        let mut state = self.state();
        if forgets {
            state.events.push(Event::Forget);
        }
        state.killed += 1;
        Recorder { state: Arc::clone(&self.state), process: state.killed }
    }

    /// For an operation, which fails when the process has been killed.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.killed == self.process { Ok(state) } else { Err(io::Error::other("the process was killed")) }
    }

    /// Operations that changed something or made it durable.
    pub fn events(&self) -> usize {
        self.state().events.len()
    }

    /// All of them so far.
    pub fn recorded(&self) -> Vec<Event> {
        self.state().events.clone()
    }
}

impl Disk for Recorder {
    fn root(&self) -> &Path {
        Path::new("recorded")
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.alive()?;
        let file = match state.names.get(name) {
            Some(&file) => file,
            None if mode == OpenMode::Create => {
                let file = state.files.len();
                state.files.push(Vec::new());
                state.names.insert(name.into(), file);
                state.events.push(Event::Naming(Naming::Create { name: name.into(), file }));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(RecordedFile { recorder: self.clone(), file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.alive()?.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.events.push(Event::Naming(Naming::Remove { name: name.into() }));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.into(), file);
        state.events.push(Event::Naming(Naming::Rename { from: from.into(), to: to.into(), file }));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.alive()?.events.push(Event::SyncDirectory);
        Ok(())
    }

    fn lock(&self, _name: &str, _exclusive: bool) -> io::Result<Option<LockGuard>> {
        Ok(Some(Box::new(())))
    }
}

#[derive(Debug)]
struct RecordedFile {
    recorder: Recorder,
    file: usize,
}

impl RecordedFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.recorder.alive()?;
        apply(&mut state.files[self.file], &change);
        state.events.push(Event::Change { file: self.file, change });
        Ok(())
    }
}

impl File for RecordedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.recorder.alive()?;
        let bytes = &state.files[self.file];
        let start = (offset as usize).min(bytes.len());
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write { offset: offset as usize, bytes: bytes.to_vec() })
    }

    fn sync(&self) -> io::Result<()> {
        self.recorder.alive()?.events.push(Event::Sync { file: self.file });
        Ok(())
    }

    fn set_len(&self, length_bytes: u64) -> io::Result<()> {
        self.change(Change::SetLength(length_bytes as usize))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.recorder.alive()?.files[self.file].len() as u64)
    }
}

pub fn apply(file: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLength(length) => file.resize(*length, 0),
        Change::Write { offset, bytes } => write(file, *offset, bytes),
    }
}

pub fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
