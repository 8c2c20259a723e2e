//! The one I/O trait: all that the engine reads and writes goes through it, so that tests can plug in faults and power cuts.

mod lock;
mod memory;
mod os;
#[cfg(test)]
mod tests;
mod traits;

pub use memory::{Fault, MemoryDisk, Operation};
pub use os::OsDisk;
pub use traits::{Disk, File, LockGuard, OpenMode};

pub(crate) use traits::read_fully;
