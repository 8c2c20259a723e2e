//! The numbers of the page file's format. All integers on disk are little-endian.

pub const PAGE_FILE_NAME: &str = "pages.lyre";
/// A page file on its way to being made; renamed to [`PAGE_FILE_NAME`] once it is whole.
pub(super) const UNFINISHED_FILE_NAME: &str = "pages.lyre.new";

/// Raised when a file of this version cannot be read by older ones.
pub const FORMAT_VERSION: u32 = 1;

/// Extents start at and are long a multiple of this.
pub const GRANULE_BYTES: u64 = 64;

pub(super) const SUPERBLOCK_MAGIC: [u8; 8] = *b"LYREDB\x1a\0";
pub(super) const SUPERBLOCK_BYTES: usize = 4096;
/// Where pages begin: behind the two superblocks.
pub(super) const FIRST_PAGE_OFFSET: u64 = 2 * SUPERBLOCK_BYTES as u64;

pub(super) const PAGE_MAGIC: u8 = 0xD7;
pub(super) const PAGE_FORMAT: u8 = 1;
pub(super) const PAGE_HEADER_BYTES: usize = 16;
/// The largest value and what surrounds it.
pub(super) const MAX_PAYLOAD_BYTES: usize = (1 << 30) + (64 << 10);

/// What a page holds, as its header says; reading it as anything else is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageKind {
    Leaf = 1,
    Inner = 2,
    Catalogue = 3,
    Blob = 4,
}

impl PageKind {
    pub(super) fn from_byte(byte: u8) -> Option<PageKind> {
        match byte {
            1 => Some(PageKind::Leaf),
            2 => Some(PageKind::Inner),
            3 => Some(PageKind::Catalogue),
            4 => Some(PageKind::Blob),
            _ => None,
        }
    }
}
