//! The page file: compressed, checksummed pages of any size, written copy-on-write into free extents.

mod allocator;
mod codec;
mod extent;
mod file;
mod format;
mod header;
mod open;
mod remains;
mod superblock;
#[cfg(test)]
mod tests;

pub use codec::Codec;
pub use extent::Extent;
pub use file::PageFile;
pub use format::{GRANULE_BYTES, PAGE_FILE_NAME, PageKind};
pub use remains::{FoundPage, Remains};
pub use superblock::Superblock;
