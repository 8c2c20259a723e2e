//! The page file: compressed, checksummed pages of any size, written copy-on-write into free extents.

mod allocator;
mod codec;
mod extent;
mod file;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod header;
mod open;
mod remains;
mod superblock;
#[cfg(test)]
mod tests;

pub use allocator::Usage;
pub use codec::{Codec, StoredCodec, StoredPayload};
pub use extent::Extent;
pub use file::{PageFile, pack};
pub use format::{GRANULE_BYTES, PAGE_FILE_NAME, PageKind};
pub use open::write_superblocks;
pub use remains::{FoundPage, Remains};
pub use superblock::Superblock;
