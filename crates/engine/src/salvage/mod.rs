//! Saving what can be saved of a database that is damaged, into a new one. The damaged one is only read.
//!
//! A record is taken for its family's where that is proven: where a row of sound pages leads to it from the newest
//! superblock. A page that is damaged still proves something: an extent that stands in it, where a sound page of the right
//! kind is, with the right number of records behind it. All other leaves in the file may as well be old copies, which
//! copying on write leaves behind; they are put apart, and only where asked for.

mod destination;
mod evidence;
mod orphans;
mod report;
mod source;
mod walk;

use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, OsDisk};
use crate::error::{Error, Result};
use crate::snapshot::Progress;

use destination::Destination;
pub use report::{SalvageReport, SalvagedFamily};
use source::Source;

/// What to save.
#[derive(Clone, Debug, Default)]
pub struct SalvageOptions {
    /// Also leaves whose place is not proven, in families of their own.
    pub all: bool,
    pub clock: crate::Clock,
}

/// Saves what can be read of the database in folder `path` into a new database in folder `destination`, which has to be
/// new or empty. `progress` gets bytes read and to read, roughly.
///
/// Errors: `NotFound`, `NotADatabase`, `NewerFormat`, `Locked`, `Io`, `Interrupted`; `destination` is then left empty.
pub fn salvage(
    path: &Path,
    destination: &Path,
    options: &SalvageOptions,
    progress: Progress<'_>,
) -> Result<SalvageReport> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Error::NotADatabase { path: path.into(), why: "it is not a folder".into() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NotFound { path: path.into() });
        }
        Err(error) => return Err(Error::io("open", path)(error)),
    }
    let source = Source::open(Arc::new(OsDisk::new(path)))?;
    let disk = OsDisk::make(destination).map_err(Error::io("create", destination))?;
    save(&source, Arc::new(disk), options, progress)
}

/// As `salvage`, on any disks: the way in for tests that break things.
pub fn salvage_on(
    disk: Arc<dyn Disk>,
    destination: Arc<dyn Disk>,
    options: &SalvageOptions,
    progress: Progress<'_>,
) -> Result<SalvageReport> {
    save(&Source::open(disk)?, destination, options, progress)
}

fn save(
    source: &Source,
    disk: Arc<dyn Disk>,
    options: &SalvageOptions,
    progress: Progress<'_>,
) -> Result<SalvageReport> {
    let path = disk.root().to_path_buf();
    let there = disk.list().map_err(Error::io("list", &path))?;
    if let Some(name) = there.first() {
        let why = format!("a salvage needs a new or an empty folder; this one holds {name:?}");
        return Err(Error::NotADatabase { path, why });
    }
    let saved = Destination::create(Arc::clone(&disk), options)
        .and_then(|destination| walk::save(source, destination, options, progress));
    if saved.is_err() {
        // Nothing was there before, so nothing but ours is removed; the first error is the one to tell.
        for name in disk.list().unwrap_or_default() {
            let _ = disk.remove(&name);
        }
    }
    // The caller knows of no database that could be opened again.
    saved.map_err(|error| match error {
        Error::Poisoned { why } => Error::io("write", &path)(std::io::Error::other(why)),
        other => other,
    })
}
