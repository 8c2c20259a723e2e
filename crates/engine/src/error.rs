//! What can go wrong, told so that the caller knows what to do about it.

use std::io;
use std::path::{Path, PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation; nothing was changed.
    #[error("{operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },

    /// Bytes on disk are not what was written there.
    #[error("{}{}: {what}", path.display(), offset_text(*.offset))]
    Corruption { path: PathBuf, offset: Option<u64>, what: String },

    /// The path holds something, but no LyreDB database.
    #[error("{} is not a LyreDB database: {why}", path.display())]
    NotADatabase { path: PathBuf, why: String },

    /// There is no database at the path and `create` was not asked for.
    #[error("there is no database at {}", path.display())]
    NotFound { path: PathBuf },

    /// Written by a newer LyreDB than this one.
    #[error("{} has format {found}; this version reads up to {supported}", path.display())]
    NewerFormat { path: PathBuf, found: u32, supported: u32 },

    /// Another process (or another handle of this one) has the database open.
    #[error("{} is in use by {owner}", path.display())]
    Locked { path: PathBuf, owner: String },

    #[error("the database was opened read-only")]
    ReadOnly,

    #[error("the database is closed")]
    Closed,

    /// A sync failed earlier, so what is on disk is uncertain until the database is reopened.
    #[error("writes are refused since an earlier failure to reach the disk: {why}")]
    Poisoned { why: String },

    /// Another transaction committed a change to what this one read or wrote.
    #[error("another transaction changed {what} in family {family:?}")]
    Conflict { family: String, what: String },

    /// The transaction was open for longer than its timeout and has been rolled back.
    #[error("the transaction ran out of its time of {seconds} s and was rolled back")]
    TimedOut { seconds: f64 },

    /// The transaction was already committed or rolled back.
    #[error("the transaction has ended")]
    TransactionEnded,

    #[error("no such savepoint: it was released or rolled back past")]
    NoSuchSavepoint,

    #[error("a key of {length} bytes is longer than the {limit} allowed")]
    KeyTooLarge { length: usize, limit: usize },

    #[error("a value of {length} bytes is longer than the {limit} allowed")]
    ValueTooLarge { length: usize, limit: usize },

    /// A setting's name or value is not one the registry of tunables knows.
    #[error("{name}: {why}")]
    Config { name: String, why: String },

    #[error("there is no family {0:?}")]
    NoSuchFamily(String),

    #[error("there is a family {0:?} already")]
    FamilyExists(String),

    /// The caller's progress function asked to stop.
    #[error("interrupted")]
    Interrupted,
}

fn offset_text(offset: Option<u64>) -> String {
    offset.map(|at| format!(" at byte {at}")).unwrap_or_default()
}

impl Error {
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { operation, path: path.to_path_buf(), source }
    }

    /// As text; of damage without its place, for a report that has it apart.
    pub fn what(self) -> String {
        match self {
            Error::Corruption { what, .. } => what,
            other => other.to_string(),
        }
    }

    pub fn corruption(path: &Path, offset: impl Into<Option<u64>>, what: impl Into<String>) -> Error {
        Error::Corruption { path: path.to_path_buf(), offset: offset.into(), what: what.into() }
    }
}
