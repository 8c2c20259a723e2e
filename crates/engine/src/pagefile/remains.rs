//! A page file as it is read when it cannot be trusted: for salvage, and to tell a damaged file from a foreign one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::codec::{self, StoredCodec};
use super::extent::{Extent, MAX_LENGTH_GRANULES};
use super::format::{
    FIRST_PAGE_OFFSET, FORMAT_VERSION, GRANULE_BYTES, PAGE_FILE_NAME, PAGE_FORMAT, PAGE_HEADER_BYTES, PAGE_MAGIC,
    PageKind, SUPERBLOCK_BYTES,
};
use super::header::{PageHeader, granules_for};
use super::superblock::{Slot, Superblock};
use crate::disk::{Disk, File, OpenMode, read_fully};
use crate::{Error, Result};

/// Read at a time when looking for pages.
const WINDOW_BYTES: u64 = 1 << 20;
/// What is read apart where more at once cannot be read.
const SECTOR_BYTES: u64 = 4096;
/// A damaged page's payload is guessed at up to this length; inner pages and catalogues are far shorter.
const MAX_GUESS_BYTES: usize = 64 << 20;
/// By which they compress, at most.
const EXPECTED_RATIO: usize = 16;

#[derive(Debug)]
pub struct Remains {
    file: Arc<dyn File>,
    path: PathBuf,
    length_bytes: u64,
}

/// What the two slots of superblocks say.
#[derive(Debug, Default)]
pub struct Slots {
    /// The newest that is sound.
    pub superblock: Option<Superblock>,
    /// Byte at which each slot begins that is not sound.
    pub damaged: Vec<u64>,
    /// Where slots that are not sound say the catalogue is.
    pub hints: Vec<Extent>,
}

/// A sound page that a search has found.
#[derive(Clone, Copy, Debug)]
pub struct FoundPage {
    pub extent: Extent,
    pub kind: PageKind,
}

impl Remains {
    /// `None`: there is no page file.
    pub fn open(disk: &dyn Disk) -> Result<Option<Remains>> {
        let path = disk.root().join(PAGE_FILE_NAME);
        let file = match disk.open(PAGE_FILE_NAME, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let length_bytes = file.len().map_err(Error::io("measure", &path))?;
        Ok(Some(Remains { file, path, length_bytes }))
    }

    pub fn len_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Error: `NewerFormat`.
    pub fn slots(&self) -> Result<Slots> {
        let mut slots = Slots::default();
        for offset in [0, SUPERBLOCK_BYTES as u64] {
            let mut bytes = vec![0; SUPERBLOCK_BYTES];
            let count = self.read_what_can_be(&mut bytes, offset);
            match Slot::decode(&bytes[..count]) {
                Slot::Newer(found, true) => {
                    return Err(Error::NewerFormat { path: self.path.clone(), found, supported: FORMAT_VERSION });
                }
                Slot::Valid(superblock) => {
                    let newest = slots.superblock.take();
                    let older = newest.filter(|newest| newest.sequence >= superblock.sequence);
                    slots.superblock = older.or(Some(superblock));
                }
                Slot::Newer(..) | Slot::Damaged | Slot::NoMagic => {
                    slots.damaged.push(offset);
                    slots.hints.extend(Slot::catalogue_of(&bytes));
                }
            }
        }
        Ok(slots)
    }

    /// The page's kind and payload; what is wrong with it where it cannot be read.
    pub fn read(&self, extent: Extent) -> Result<(PageKind, Vec<u8>), String> {
        if extent.end() > self.length_bytes.next_multiple_of(GRANULE_BYTES) {
            return Err(format!("no room for a page of {} bytes before the file's end", extent.len_bytes()));
        }
        let mut page = vec![0; extent.len_bytes() as usize];
        let count = read_fully(&*self.file, &mut page, extent.offset()).map_err(|error| error.to_string())?;
        if count < page.len() {
            return Err(format!("the file ends {} bytes short of the page's end", page.len() - count));
        }
        let header = PageHeader::verify(&page, extent).map_err(|defect| defect.to_string())?;
        let mut payload = Vec::new();
        let stored = &page[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + header.stored_bytes];
        codec::decompress(header.codec, stored, header.raw_bytes, &mut payload)
            .map_err(|why| format!("cannot decompress: {why}"))?;
        Ok((header.kind, payload))
    }

    /// What the payload of a page that is not sound may have been: all that can still be made of its bytes, which only
    /// what is found elsewhere can confirm.
    pub fn guesses(&self, extent: Extent) -> Vec<Vec<u8>> {
        if extent.offset() >= self.length_bytes || extent.len_bytes() > MAX_GUESS_BYTES as u64 {
            return Vec::new();
        }
        let mut page = vec![0; extent.len_bytes() as usize];
        self.read_what_can_be(&mut page, extent.offset());
        let stored = page.split_off(PAGE_HEADER_BYTES.min(page.len()));
        let longest = (EXPECTED_RATIO * stored.len() + SECTOR_BYTES as usize).min(MAX_GUESS_BYTES);
        // Neither the header's lengths nor its codec can be relied on; lz4's blocks end where their input does, which is
        // not known either: the zeros behind it add at most some bytes.
        let ends = (0..GRANULE_BYTES as usize).map(|padding| stored.len().saturating_sub(padding));
        let mut guesses: Vec<Vec<u8>> = Vec::new();
        for end in ends {
            let mut payload = vec![0; longest];
            if let Ok(length) = lz4_flex::block::decompress_into(&stored[..end], &mut payload) {
                payload.truncate(length);
                guesses.push(payload);
            } else if guesses.is_empty() && end == stored.len() {
                // What came out before the damage stands at the front.
                let length = payload.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 9).min(longest);
                payload.truncate(length);
                guesses.push(payload);
            }
        }
        guesses.push(stored);
        guesses
    }

    /// Whether there is a sound page in the first so many bytes.
    pub fn holds_page(&self, length_bytes: u64) -> Result<bool> {
        let length_bytes = self.length_bytes.min(length_bytes);
        let front = Remains { file: Arc::clone(&self.file), path: self.path.clone(), length_bytes };
        Ok(!front.search(&|_| None, &mut |_| true)?.is_empty())
    }

    /// All sound pages outside of the places that `skip` knows: for an offset, where the place ends that it lies in.
    /// `go_on` is told the offset now and then; false ends the search with `Error::Interrupted`.
    pub fn search(
        &self,
        skip: &dyn Fn(u64) -> Option<u64>,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Vec<FoundPage>> {
        let mut found = Vec::new();
        let mut at = FIRST_PAGE_OFFSET;
        let (mut window, mut window_start) = (Vec::new(), 0);
        while at + GRANULE_BYTES <= self.length_bytes.next_multiple_of(GRANULE_BYTES) {
            if let Some(end) = skip(at).filter(|end| *end > at) {
                at = end;
                continue;
            }
            if at < window_start || at + GRANULE_BYTES > window_start + window.len() as u64 {
                if !go_on(at) {
                    return Err(Error::Interrupted);
                }
                window_start = at;
                window.resize(WINDOW_BYTES.min(self.length_bytes.next_multiple_of(GRANULE_BYTES) - at) as usize, 0);
                window.fill(0);
                self.read_what_can_be(&mut window, at);
            }
            let start = (at - window_start) as usize;
            let page = plausible(&window[start..start + PAGE_HEADER_BYTES], at)
                .filter(|extent| extent.end() <= self.length_bytes.next_multiple_of(GRANULE_BYTES));
            match page.and_then(|extent| Some(FoundPage { extent, kind: self.read(extent).ok()?.0 })) {
                Some(page) => {
                    at = page.extent.end();
                    found.push(page);
                }
                None => at += GRANULE_BYTES,
            }
        }
        Ok(found)
    }

    /// Reads as `read_fully`, and leaves zeros where the system cannot read.
    fn read_what_can_be(&self, buffer: &mut [u8], offset: u64) -> usize {
        if let Ok(count) = read_fully(&*self.file, buffer, offset) {
            return count;
        }
        for (index, sector) in buffer.chunks_mut(SECTOR_BYTES as usize).enumerate() {
            if read_fully(&*self.file, sector, offset + index as u64 * SECTOR_BYTES).is_err() {
                sector.fill(0);
            }
        }
        buffer.len()
    }
}

/// The extent that a page's header would have, if this is one.
fn plausible(header: &[u8], offset: u64) -> Option<Extent> {
    let is_page = header[0] == PAGE_MAGIC
        && header[3] == PAGE_FORMAT
        && PageKind::from_byte(header[1]).is_some()
        && StoredCodec::from_byte(header[2]).is_some();
    let stored = u32::from_le_bytes(header[8..12].try_into().ok()?) as usize;
    let granules = granules_for(stored);
    (is_page && granules <= MAX_LENGTH_GRANULES).then(|| Extent::new(offset / GRANULE_BYTES, granules))
}
