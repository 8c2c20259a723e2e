//! The damaged database: its lock, its page file, its log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, LockGuard};
use crate::error::{Error, Result};
use crate::log;
use crate::open::LOCK_NAME;
use crate::pagefile::{PAGE_FILE_NAME, Remains};

pub struct Source {
    pub disk: Arc<dyn Disk>,
    pub pages: Option<Remains>,
    pub log_bytes: u64,
    /// Keeps writers away. Without a lock file nobody has the database open.
    _lock: Option<LockGuard>,
}

impl Source {
    pub fn open(disk: Arc<dyn Disk>) -> Result<Source> {
        let path = disk.root().to_path_buf();
        let names = disk.list().map_err(Error::io("list", &path))?;
        let lock = if names.iter().any(|name| name == LOCK_NAME) {
            let lock = disk.lock(LOCK_NAME, false).map_err(Error::io("lock", &path))?;
            let owner = || "a program that writes to it".into();
            Some(lock.ok_or_else(|| Error::Locked { path: path.clone(), owner: owner() })?)
        } else {
            None
        };
        let pages = Remains::open(&*disk)?;
        let log_bytes = log::size_of_log(&*disk);
        if pages.is_none() && log_bytes == 0 {
            let why = format!("it holds neither {PAGE_FILE_NAME} nor segments of a log");
            return Err(Error::NotADatabase { path, why });
        }
        Ok(Source { disk, pages, log_bytes, _lock: lock })
    }

    pub fn page_path(&self) -> PathBuf {
        self.disk.root().join(PAGE_FILE_NAME)
    }

    pub fn size(&self) -> u64 {
        self.pages.as_ref().map_or(0, Remains::len_bytes) + self.log_bytes
    }
}
