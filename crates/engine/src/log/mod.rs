//! The write-ahead log, in segments: records with consecutive versions, gathered in memory and written in blocks.
//!
//! `format` lays out the bytes, `reader` replays them, `tail` gathers what is appended, `writer` puts it into segments,
//! `group` decides who of the callers does so and when the others may go on, `background` does it in time.

mod background;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod group;
mod linger;
mod open;
mod reader;
mod remains;
mod segments;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub use group::Log;
pub use open::LogOptions;
pub use remains::{LogLoss, LogVisitor, LogWanted, find_commits, read as read_remains, size as size_of_log};
pub use tail::Ticket;
