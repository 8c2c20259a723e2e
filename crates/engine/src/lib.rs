//! The storage engine of LyreDB: ordered families of records with transactions and snapshots, in a versioned B+tree whose
//! readers take no lock, with a write-ahead log and a copy-on-write page file below it.

mod ahead;
mod backup;
mod batch;
mod bytes;
mod catalogue;
mod checkpoint;
mod clock;
mod commit;
mod core;
mod counters;
mod cursor;
mod curve;
mod database;
pub mod disk;
mod early;
mod error;
mod events;
mod evict;
mod family;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod histogram;
mod host;
mod io_pool;
mod leaf_pages;
mod log;
mod maintenance;
mod many;
mod memory;
mod mvcc;
mod open;
#[cfg(all(test, feature = "loom"))]
mod orderings;
mod page_tree;
mod pagefile;
#[doc(hidden)]
pub mod pause;
mod pins;
mod range;
pub mod replacement;
mod report;
mod reshape;
mod salvage;
#[cfg(all(test, feature = "shuttle"))]
mod schedules;
mod sense;
mod snapshot;
mod space;
mod sync;
mod tiers;
mod transaction;
mod tree;
pub mod tunables;

pub use batch::Batch;
pub use clock::Clock;
pub use cursor::Cursor;
pub use curve::MissRatioCurve;
pub use database::{DEFAULT_FAMILY, Database, Options};
pub use error::{Error, Result};
pub use events::{Event, EventKind};
pub use family::{Family, Resident};
pub use histogram::Reading;
pub use host::{Host, OpenSnapshot, Origin, Silent, Warning};
pub use range::{KeyRange, Range};
pub use report::{CheckReport, Distribution, Figures, Problem, Stat, Stats, Timings};
pub use salvage::{SalvageOptions, SalvageReport, SalvagedFamily, salvage, salvage_on};
pub use snapshot::{Progress, Snapshot};
pub use transaction::{Savepoint, Transaction};
pub use tree::{Columns, Fetched, Observed, Rows};

/// A key's length at most, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;
/// A value's length at most, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 30;

/// When a commit returns, and what of it survives a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk on return, and nobody saw it before.
    Sync,
    /// It is on disk at most a group interval later.
    #[default]
    Group,
    /// The operating system writes it when it likes.
    Async,
}
