//! The one I/O trait: all that the engine reads and writes goes through it, so that tests can plug in faults and power cuts.

mod faults;
mod lock;
mod memory;
mod os;
#[cfg(test)]
mod tests;
mod traits;

pub use faults::{Fault, Operation, Plan, Strike};
pub use memory::MemoryDisk;
pub use os::OsDisk;
pub use traits::{Disk, File, LockGuard, OpenMode};

pub(crate) use traits::read_fully;
