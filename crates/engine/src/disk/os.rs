use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::OsLock;
use super::{Disk, File, LockGuard, OpenMode};

/// A folder of the operating system's.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// The folder has to be there.
    pub fn new(root: impl Into<PathBuf>) -> OsDisk {
        OsDisk { root: root.into() }
    }

    /// On a folder that is made if it is not there, durably, as are those above it.
    pub fn make(root: impl Into<PathBuf>) -> io::Result<OsDisk> {
        let root = root.into();
        let missing: Vec<&Path> = root.ancestors().take_while(|folder| !exists(folder)).collect();
        fs::create_dir_all(&root)?;
        for folder in missing.iter().filter_map(|folder| folder.parent()) {
            sync_folder(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
        }
        Ok(OsDisk { root })
    }
}

/// A relative path begins in a folder that is there.
fn exists(folder: &Path) -> bool {
    folder.as_os_str().is_empty() || folder.exists()
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Windows has no handle to sync a folder by; its file systems journal names themselves.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

impl Disk for OsDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let write = mode != OpenMode::Read;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(write)
            .create(mode == OpenMode::Create)
            .truncate(false)
            .open(self.root.join(name))?;
        Ok(Arc::new(OsFile { file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            // A name that is not Unicode is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_folder(&self.root)
    }

    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<LockGuard>> {
        let path = self.root.join(name);
        let writable = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = match writable {
            Err(error) if !exclusive && is_write_refused(&error) => fs::File::open(&path)?,
            other => other?,
        };
        let locked = if exclusive { file.try_lock() } else { file.try_lock_shared() };
        match locked {
            Ok(()) => Ok(Some(Box::new(OsLock::new(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

fn is_write_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
}

impl File for OsFile {
    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            match std::os::windows::fs::FileExt::seek_write(&self.file, &bytes[done..], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn start_writing(&self, offset: u64, length_bytes: u64) {
        use std::os::fd::AsRawFd;
        let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length_bytes)) else { return };
        // SAFETY: the descriptor is open for as long as the file is; a failure is told again by the sync to come.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    }

    fn set_len(&self, length_bytes: u64) -> io::Result<()> {
        self.file.set_len(length_bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
