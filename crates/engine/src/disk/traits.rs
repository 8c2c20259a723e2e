use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; fails with `NotFound` when there is no such file.
    Read,
    /// For reading and writing; fails with `NotFound` when there is no such file.
    ReadWrite,
    /// For reading and writing; an empty file is made when there is none, and one that is there keeps its bytes.
    Create,
}

/// Held as long as the lock is wanted; dropping it unlocks.
pub type LockGuard = Box<dyn Send + Sync>;

/// One database folder. Names are plain file names within it.
///
/// What the engine assumes: bytes are durable once `File::sync` returned, names (new, renamed, removed) once
/// `sync_directory` did, and whatever was not synced may survive a power cut in any part and any order.
pub trait Disk: Send + Sync + Debug + 'static {
    fn root(&self) -> &Path;
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Names of the files in the folder, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Replaces `to` when it is there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn sync_directory(&self) -> io::Result<()>;
    /// `None`: somebody else, another handle of this process included, holds the lock. The file is made when missing,
    /// except that a shared lock falls back to opening it for reading where the folder cannot be written.
    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<LockGuard>>;
}

pub trait File: Send + Sync + Debug {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file or where the system pleases, 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`, growing the file where needed. After an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The bytes written so far, and the length, reach the disk before it returns.
    fn sync(&self) -> io::Result<()>;
    /// Advice: what was written there will be synced later, and may go to the disk from now on. Waits for nothing.
    fn start_writing(&self, _offset: u64, _length_bytes: u64) {}
    fn set_len(&self, length_bytes: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads until `buffer` is full or the file ends; how many bytes were read.
pub(crate) fn read_fully(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
