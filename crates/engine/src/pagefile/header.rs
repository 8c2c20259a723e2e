//! A page on disk: a header, the stored payload, zeros up to the granule.
//!
//! ```text
//! 0      1     2      3       4          8             12       16
//! magic  kind  codec  format  raw bytes  stored bytes  CRC-32C  payload ...
//! ```
//! The checksum covers the first twelve bytes, the page's offset in the file and the stored payload: a page read from
//! a place it was not written to is found as damaged.

use std::fmt::{self, Display, Formatter};

use super::codec::StoredCodec;
use super::extent::Extent;
use super::format::{GRANULE_BYTES, MAX_PAYLOAD_BYTES, PAGE_FORMAT, PAGE_HEADER_BYTES, PAGE_MAGIC, PageKind};

#[derive(Clone, Copy, Debug)]
pub(super) struct PageHeader {
    pub kind: PageKind,
    pub codec: StoredCodec,
    pub raw_bytes: usize,
    pub stored_bytes: usize,
}

/// What a page is that cannot be read.
#[derive(Debug)]
pub(super) enum PageDefect {
    /// Sound, and of this format.
    Newer(u32),
    Damaged(String),
}

impl Display for PageDefect {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            PageDefect::Newer(found) => write!(out, "format {found}, which is newer than this version reads"),
            PageDefect::Damaged(what) => out.write_str(what),
        }
    }
}

impl PageHeader {
    /// Of the whole page, padding included.
    pub(super) fn granules(&self) -> u64 {
        granules_for(self.stored_bytes)
    }

    /// Seals `page`, whose payload and padding are in place, for the extent it is written to.
    pub(super) fn seal(&self, page: &mut [u8], extent: Extent) {
        page[0] = PAGE_MAGIC;
        page[1] = self.kind as u8;
        page[2] = self.codec as u8;
        page[3] = PAGE_FORMAT;
        page[4..8].copy_from_slice(&(self.raw_bytes as u32).to_le_bytes());
        page[8..12].copy_from_slice(&(self.stored_bytes as u32).to_le_bytes());
        let checksum = checksum(page, self.stored_bytes, extent);
        page[12..16].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads and verifies the page in `page`, which is as long as its extent; on a defect, what it is.
    pub(super) fn verify(page: &[u8], extent: Extent) -> Result<PageHeader, PageDefect> {
        if page.len() < PAGE_HEADER_BYTES || page[0] != PAGE_MAGIC {
            return damaged("there is no page here");
        }
        let raw_bytes = number(page, 4) as usize;
        let stored_bytes = number(page, 8) as usize;
        if granules_for(stored_bytes) * GRANULE_BYTES != page.len() as u64 {
            return damaged(format!("a page of {stored_bytes} stored bytes in an extent of {}", page.len()));
        }
        if number(page, 12) != checksum(page, stored_bytes, extent) {
            return damaged("the page's checksum does not fit its contents");
        }
        if page[PAGE_HEADER_BYTES + stored_bytes..].iter().any(|byte| *byte != 0) {
            return damaged("the padding behind the page is not zero");
        }
        if page[3] > PAGE_FORMAT {
            return Err(PageDefect::Newer(page[3].into()));
        }
        if page[3] != PAGE_FORMAT {
            return damaged(format!("the page has the unknown format {}", page[3]));
        }
        let kind = PageKind::from_byte(page[1])
            .ok_or_else(|| PageDefect::Damaged(format!("unknown page kind {}", page[1])))?;
        let codec =
            StoredCodec::from_byte(page[2]).ok_or_else(|| PageDefect::Damaged(format!("unknown codec {}", page[2])))?;
        if raw_bytes > MAX_PAYLOAD_BYTES || raw_bytes > codec.largest_expansion(stored_bytes) {
            return damaged(format!("a page of {stored_bytes} stored bytes cannot hold {raw_bytes}"));
        }
        Ok(PageHeader { kind, codec, raw_bytes, stored_bytes })
    }
}

fn damaged<T>(what: impl Into<String>) -> Result<T, PageDefect> {
    Err(PageDefect::Damaged(what.into()))
}

pub(super) fn granules_for(stored_bytes: usize) -> u64 {
    (PAGE_HEADER_BYTES as u64 + stored_bytes as u64).div_ceil(GRANULE_BYTES)
}

fn number(page: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&page[at..at + 4]);
    u32::from_le_bytes(bytes)
}

pub(super) fn checksum(page: &[u8], stored_bytes: usize, extent: Extent) -> u32 {
    let mut head = [0; 20];
    head[..12].copy_from_slice(&page[..12]);
    head[12..].copy_from_slice(&extent.offset().to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), &page[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + stored_bytes])
}
