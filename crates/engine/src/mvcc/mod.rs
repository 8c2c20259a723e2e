//! Commit versions: which is visible, and which somebody still reads at.

mod active;
mod deadlines;
#[cfg(all(test, feature = "loom"))]
mod orderings;
#[cfg(all(test, feature = "shuttle"))]
mod schedules;
mod versions;

pub use active::ActiveVersion;
pub use deadlines::Deadline;
pub use versions::{InFlight, Versions};
