//! Inner pages as they are on disk, and opening a family's tree from them. `docs/format.md` has the layout.

use std::path::Path;

use crate::MAX_KEY_BYTES;
use crate::bytes::{Reader, put_bytes, put_varint};
use crate::catalogue::Root;
use crate::error::{Error, Result};
use crate::memory::{Memory, Part};
use crate::pagefile::{Extent, PAGE_FILE_NAME, PageFile, PageKind};
use crate::tree::{Child, EXPIRING, MAX_LEVEL, MAX_RECORDS, PageRef, build_inner, free_page};

/// A page as its parent names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The lowest key the page may hold; empty for the left-most.
    pub low: Vec<u8>,
    /// The extent's bits.
    pub extent: u64,
    pub records: u64,
    /// Of a leaf: some of its records expire.
    pub expiring: bool,
    /// Of a leaf: the extents (bits) of its long values.
    pub blobs: Vec<u64>,
}

const ENTRY_EXPIRING: u8 = 1;
const ENTRY_BLOBS: u8 = 2;
/// An entry with an empty low key: nothing is allocated for more entries than the bytes can hold.
const LEAST_ENTRY_BYTES: usize = 11;
/// Above the levels of any tree that fits a file.
const MOST_LEVELS: u32 = MAX_LEVEL as u32;

pub fn encode_inner(level: u32, entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * 24 + 8);
    put_varint(&mut out, level.into());
    put_varint(&mut out, entries.len() as u64);
    for entry in entries {
        put_bytes(&mut out, &entry.low);
        out.extend_from_slice(&entry.extent.to_le_bytes());
        put_varint(&mut out, entry.records);
        out.push((ENTRY_EXPIRING * u8::from(entry.expiring)) | (ENTRY_BLOBS * u8::from(!entry.blobs.is_empty())));
        if !entry.blobs.is_empty() {
            put_varint(&mut out, entry.blobs.len() as u64);
            entry.blobs.iter().for_each(|blob| out.extend_from_slice(&blob.to_le_bytes()));
        }
    }
    out
}

/// `None`: the payload is no inner page.
pub fn decode_inner(payload: &[u8]) -> Option<(u32, Vec<Entry>)> {
    let mut reader = Reader::new(payload);
    let level = u32::try_from(reader.varint()?).ok()?;
    let count = reader.size().filter(|&count| count > 0 && count <= reader.remaining() / LEAST_ENTRY_BYTES)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for _ in 0..count {
        let low = reader.bytes().filter(|low| low.len() <= MAX_KEY_BYTES)?.to_vec();
        if entries.last().is_some_and(|last| last.low >= low) {
            return None;
        }
        let extent = reader.fixed64()?;
        let records = reader.varint()?;
        let flags = reader.byte()?;
        let mut blobs = Vec::new();
        if flags & ENTRY_BLOBS != 0 {
            let count = reader.size().filter(|&count| count <= reader.remaining() / 8)?;
            for _ in 0..count {
                blobs.push(reader.fixed64()?);
            }
        }
        entries.push(Entry { low, extent, records, expiring: flags & ENTRY_EXPIRING != 0, blobs });
    }
    reader.is_empty().then_some((level, entries))
}

/// A family's tree as opened: inner pages in memory, leaves where they are.
pub struct Opened {
    pub root: Box<PageRef>,
    /// Inner pages above the lowest, which every checkpoint writes anew.
    pub structure: Vec<u64>,
    /// The long values of each leaf that has some, by the leaf's extent.
    pub blobs: Vec<(u64, Vec<u64>)>,
}

/// Marks all that the tree occupies as used.
pub fn open(pages: &PageFile, path: &Path, root: &Root, memory: &Memory) -> Result<Opened> {
    let mut opening = Opening { pages, path, memory, structure: Vec::new(), blobs: Vec::new() };
    if root.level > MOST_LEVELS {
        return Err(opening.damaged(None, "a tree with too many levels"));
    }
    let entry = Entry {
        low: Vec::new(),
        extent: root.extent,
        records: root.records,
        expiring: root.expiring,
        blobs: root.blobs.clone(),
    };
    let page = opening.page(&entry, root.level)?;
    // SAFETY: just boxed, and named by nobody else.
    let root = unsafe { Box::from_raw(page.cast_mut()) };
    Ok(Opened { root, structure: opening.structure, blobs: opening.blobs })
}

struct Opening<'a> {
    pages: &'a PageFile,
    path: &'a Path,
    memory: &'a Memory,
    structure: Vec<u64>,
    blobs: Vec<(u64, Vec<u64>)>,
}

/// Pages without a parent; dropped, they are freed with all below them.
struct Unfinished<'a> {
    children: Vec<Child>,
    memory: &'a Memory,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        for child in self.children.drain(..) {
            // SAFETY: just made, and named by nobody else.
            unsafe { free_page(child.page.cast_mut(), self.memory) };
        }
    }
}

impl Opening<'_> {
    fn damaged(&self, offset: Option<u64>, what: &str) -> Error {
        Error::corruption(&self.path.join(PAGE_FILE_NAME), offset, what)
    }

    /// Marked before it is read: a page that many name would be read as often, and those below it more often still.
    fn occupy(&self, bits: u64) -> Result<Extent> {
        let extent = Extent::from_bits(bits).ok_or_else(|| self.damaged(None, "a page's place is no extent"))?;
        self.pages.mark_used(&[extent])?;
        Ok(extent)
    }

    fn page(&mut self, entry: &Entry, level: u32) -> Result<*const PageRef> {
        let extent = self.occupy(entry.extent)?;
        if level == 0 {
            let records = u32::try_from(entry.records).ok().filter(|&records| records <= MAX_RECORDS);
            let records = records.ok_or_else(|| self.damaged(Some(extent.offset()), "a leaf with too many records"))?;
            for &blob in &entry.blobs {
                self.occupy(blob)?;
            }
            if !entry.blobs.is_empty() {
                self.blobs.push((entry.extent, entry.blobs.clone()));
            }
            self.memory.add(Part::Pages, PageRef::BYTES);
            let page = PageRef::cold(entry.extent, records);
            if entry.expiring {
                page.set(EXPIRING);
            }
            return Ok(Box::into_raw(page));
        }
        let mut payload = Vec::new();
        self.pages.read_page(extent, PageKind::Inner, &mut payload).map_err(|error| match error {
            Error::Corruption { path, offset, what } => {
                let what = format!("{what}: an inner page, which leads to {} records", entry.records);
                Error::Corruption { path, offset, what }
            }
            other => other,
        })?;
        // The level falls by one at each step, so that no damage can make the walk go round in circles.
        let entries = match decode_inner(&payload) {
            Some((stored, entries)) if stored == level => entries,
            _ => return Err(self.damaged(Some(extent.offset()), "the inner page's content makes no sense")),
        };
        let mut unfinished = Unfinished { children: Vec::with_capacity(entries.len()), memory: self.memory };
        for entry in entries {
            let page = self.page(&entry, level - 1)?;
            unfinished.children.push(Child { low: entry.low.into(), page });
        }
        let children = std::mem::take(&mut unfinished.children);
        let image = build_inner(level as usize, &children);
        self.memory.add(Part::InnerPages, image.bytes());
        self.memory.add(Part::Pages, PageRef::BYTES);
        if level == 1 {
            return Ok(Box::into_raw(PageRef::clean(image.address(), 1, entry.extent)));
        }
        self.structure.push(entry.extent);
        Ok(Box::into_raw(PageRef::hot(image.address(), level as usize)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::MemoryDisk;
    use crate::pagefile::{Codec, Superblock};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = decode_inner(&bytes);
        }

        #[test]
        fn inner_pages_come_back(lows in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..9), 1..20), level in 1u32..5) {
            let entries: Vec<Entry> = lows.into_iter().enumerate().map(|(index, low)| Entry {
                low, extent: index as u64 * 64, records: index as u64, expiring: index % 2 == 0, blobs: vec![7; index % 3],
            }).collect();
            prop_assert_eq!(decode_inner(&encode_inner(level, &entries)), Some((level, entries)));
        }
    }

    /// Opens a tree of so many levels, each page of which names the one below it so many times.
    fn open_tower(levels: u32, times: usize) -> Result<()> {
        let superblock = Superblock { sequence: 0, version: 0, log_segment: 1, catalogue: None, identity: 7 };
        let disk = MemoryDisk::new();
        let pages = PageFile::create(Arc::new(disk.clone()), &superblock)?;
        let mut extent = pages.write_page(PageKind::Leaf, Codec::None, &[])?.to_bits();
        for level in 1..=levels {
            let entry = |number| Entry { low: vec![0; number], extent, records: 0, expiring: false, blobs: vec![] };
            let payload = encode_inner(level, &(0..times).map(entry).collect::<Vec<_>>());
            extent = pages.write_page(PageKind::Inner, Codec::None, &payload)?.to_bits();
        }
        drop(pages);
        let (pages, _) = PageFile::open(Arc::new(disk), true)?;
        let memory = Memory::new(u64::MAX);
        let root = Root { extent, level: levels, records: 0, expiring: false, blobs: vec![] };
        let opened = open(&pages, Path::new("memory"), &root, &memory);
        // The pages' only owner; for those of a failed opening there is none any more.
        let opened = opened.map(|opened| {
            let root = Child { low: Default::default(), page: Box::into_raw(opened.root) };
            drop(Unfinished { children: vec![root], memory: &memory });
        });
        assert_eq!(memory.used(), 0, "what was made is freed");
        opened
    }

    #[test]
    fn pages_with_many_parents_are_not_followed_again_and_again() {
        open_tower(30, 1).expect("one after the other");
        assert!(matches!(open_tower(30, 2), Err(Error::Corruption { .. })));
    }

    #[test]
    fn a_tree_of_more_levels_than_any_has_is_not_followed() {
        open_tower(MOST_LEVELS, 1).expect("as many as there may be");
        assert!(matches!(open_tower(MOST_LEVELS + 1, 1), Err(Error::Corruption { .. })));
    }
}
