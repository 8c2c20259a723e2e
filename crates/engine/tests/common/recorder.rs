//! A disk that remembers every operation, and makes the images that a power cut could have left behind.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use lyredb_engine::disk::{Disk, File, LockGuard, MemoryDisk, OpenMode};

use crate::common::Random;

/// What a disk may tear a write into.
const SECTOR: usize = 512;

/// A change to one file's bytes.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLength(usize),
}

/// A change to the folder.
#[derive(Clone, Debug)]
enum Naming {
    Create { name: String, file: usize },
    Rename { from: String, to: String },
    Remove { name: String },
}

#[derive(Clone, Debug)]
enum Event {
    Change { file: usize, change: Change },
    Sync { file: usize },
    Naming(Naming),
    SyncDirectory,
}

#[derive(Debug, Default)]
struct State {
    /// As programs see them.
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    events: Vec<Event>,
}

/// A clone is another handle on the same disk.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    state: Arc<Mutex<State>>,
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

    /// Operations that changed something or made it durable.
    pub fn events(&self) -> usize {
        self.state().events.len()
    }
}

impl Disk for Recorder {
    fn root(&self) -> &Path {
        Path::new("recorded")
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
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
        Ok(self.state().names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.events.push(Event::Naming(Naming::Remove { name: name.into() }));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.into(), file);
        state.events.push(Event::Naming(Naming::Rename { from: from.into(), to: to.into() }));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state().events.push(Event::SyncDirectory);
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
        let mut state = self.recorder.state();
        apply(&mut state.files[self.file], &change);
        state.events.push(Event::Change { file: self.file, change });
        Ok(())
    }
}

impl File for RecordedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.recorder.state();
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
        self.recorder.state().events.push(Event::Sync { file: self.file });
        Ok(())
    }

    fn set_len(&self, length_bytes: u64) -> io::Result<()> {
        self.change(Change::SetLength(length_bytes as usize))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.recorder.state().files[self.file].len() as u64)
    }
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLength(length) => file.resize(*length, 0),
        Change::Write { offset, bytes } => {
            let end = offset + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[*offset..end].copy_from_slice(bytes);
        }
    }
}

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Everything,
    Nothing,
    /// Some of it, chosen by the number, torn at sectors.
    Some(u64),
}

/// Goes through a recording, and stops the power wherever it is asked to.
#[derive(Default)]
pub struct Replay {
    events: Vec<Event>,
    next: usize,
    durable: Vec<Vec<u8>>,
    pending: Vec<Vec<Change>>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<Naming>,
}

impl Replay {
    pub fn of(recorder: &Recorder) -> Replay {
        Replay { events: recorder.state().events.clone(), ..Replay::default() }
    }

    /// Goes on until `count` operations have happened.
    pub fn advance(&mut self, count: usize) {
        while self.next < count {
            match self.events[self.next].clone() {
                Event::Change { file, change } => self.pending[file].push(change),
                Event::Sync { file } => {
                    let changes = std::mem::take(&mut self.pending[file]);
                    changes.iter().for_each(|change| apply(&mut self.durable[file], change));
                }
                Event::Naming(naming) => {
                    if let Naming::Create { .. } = naming {
                        self.durable.push(Vec::new());
                        self.pending.push(Vec::new());
                    }
                    self.pending_names.push(naming);
                }
                Event::SyncDirectory => {
                    for naming in std::mem::take(&mut self.pending_names) {
                        rename(&mut self.durable_names, &naming);
                    }
                }
            }
            self.next += 1;
        }
    }

    /// Whether there is anything that a power cut could take.
    pub fn is_all_durable(&self) -> bool {
        self.pending_names.is_empty() && self.pending.iter().all(Vec::is_empty)
    }

    pub fn image(&self, loss: Loss) -> MemoryDisk {
        let mut random = Random(if let Loss::Some(seed) = loss { seed } else { 0 });
        let mut survives = move || match loss {
            Loss::Everything => false,
            Loss::Nothing => true,
            Loss::Some(_) => random.one_in(2),
        };
        let mut names = self.durable_names.clone();
        for naming in &self.pending_names {
            if survives() {
                rename(&mut names, naming);
            }
        }
        let image = MemoryDisk::new();
        for (name, file) in names {
            let mut bytes = self.durable[file].clone();
            for change in &self.pending[file] {
                match change {
                    Change::SetLength(_) if survives() => apply(&mut bytes, change),
                    Change::SetLength(_) => {}
                    Change::Write { offset, bytes: written } => {
                        let mut done = 0;
                        while done < written.len() {
                            let at = offset + done;
                            let count = (SECTOR - at % SECTOR).min(written.len() - done);
                            if survives() {
                                let bytes_of = written[done..done + count].to_vec();
                                apply(&mut bytes, &Change::Write { offset: at, bytes: bytes_of });
                            }
                            done += count;
                        }
                    }
                }
            }
            image.put(&name, bytes);
        }
        image
    }
}

/// Does what it can: the operation before, which made the name, may be lost.
fn rename(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Create { name, file } => drop(names.insert(name.clone(), *file)),
        Naming::Remove { name } => drop(names.remove(name)),
        Naming::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}
