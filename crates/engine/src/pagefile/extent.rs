use std::fmt;

use super::format::{FIRST_PAGE_OFFSET, GRANULE_BYTES};

const LENGTH_BITS: u32 = 25;
const OFFSET_BITS: u32 = 38;
pub(super) const MAX_LENGTH_GRANULES: u64 = (1 << LENGTH_BITS) - 1;
pub(super) const MAX_OFFSET_GRANULES: u64 = (1 << OFFSET_BITS) - 1;

/// Where a page lies in the page file.
///
/// ```text
/// bit 63 ........ 26 | 25 ........ 1 | 0
/// offset in granules | granules long | always 0, free for a tag
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent(u64);

impl Extent {
    pub(super) fn new(offset_granules: u64, length_granules: u64) -> Extent {
        assert!((1..=MAX_LENGTH_GRANULES).contains(&length_granules), "extent of {length_granules} granules");
        assert!(offset_granules <= MAX_OFFSET_GRANULES, "extent at granule {offset_granules}");
        Extent(offset_granules << (LENGTH_BITS + 1) | length_granules << 1)
    }

    /// `None` for bits that are no extent: an odd number, no length, or a place before the first page.
    pub fn from_bits(bits: u64) -> Option<Extent> {
        let extent = Extent(bits);
        let sound = bits & 1 == 0 && extent.length_granules() > 0 && extent.offset() >= FIRST_PAGE_OFFSET;
        sound.then_some(extent)
    }

    /// Never 0; bit 0 is 0.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// In bytes from the start of the file.
    pub fn offset(self) -> u64 {
        self.offset_granules() * GRANULE_BYTES
    }

    pub fn len_bytes(self) -> u64 {
        self.length_granules() * GRANULE_BYTES
    }

    /// Byte behind the last one.
    pub fn end(self) -> u64 {
        self.offset() + self.len_bytes()
    }

    pub(super) fn offset_granules(self) -> u64 {
        self.0 >> (LENGTH_BITS + 1)
    }

    pub(super) fn length_granules(self) -> u64 {
        (self.0 >> 1) & MAX_LENGTH_GRANULES
    }
}

impl fmt::Debug for Extent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Extent({}+{})", self.offset(), self.len_bytes())
    }
}
