//! Databases whose pages are sealed as they should be, and say what nobody would write.

use std::sync::Arc;

use arbitrary::Arbitrary;

use super::{Many, described};
use crate::catalogue::{Catalogue, FamilyEntry, Root};
use crate::database::{Database, Options};
use crate::disk::{Disk, MemoryDisk};
use crate::open::create_log;
use crate::page_tree::{Entry, encode_inner};
use crate::pagefile::{Codec, Extent, PageFile, PageKind, Superblock};
use crate::tree::{BLOB, Record, encode_leaf};
use crate::tunables::Value;
use crate::{Columns, Durability, Family, Fetched, Range, Result, Rows, Snapshot};

#[derive(Arbitrary, Debug)]
struct Folder {
    version: u8,
    settings: Many<(u8, i16), 2>,
    families: Many<FamilyOnDisk, 3>,
    pages: Many<Page, 32>,
}

#[derive(Arbitrary, Debug)]
enum Page {
    Leaf { prefix: Vec<u8>, records: Many<RecordOnDisk, 12> },
    Inner { level: Option<u32>, children: Many<Child, 12> },
    Blob(Vec<u8>),
    Raw { kind: u8, payload: Vec<u8> },
}

#[derive(Arbitrary, Debug)]
struct RecordOnDisk {
    key: Vec<u8>,
    value: Vec<u8>,
    expiry: Option<u16>,
    /// The page that holds the value, and how long that page's value is said to be.
    blob: Option<(Place, u32)>,
}

/// One of the pages before, or anything else.
#[derive(Arbitrary, Debug)]
enum Place {
    Before(u8),
    Bits(u64),
}

#[derive(Arbitrary, Debug)]
struct Child {
    low: Vec<u8>,
    place: Place,
    records: u8,
    flags: u8,
    blobs: Many<Place, 4>,
}

#[derive(Arbitrary, Debug)]
struct FamilyOnDisk {
    id: u8,
    name: String,
    note: Option<String>,
    settings: Many<(u8, i16), 2>,
    root: Option<Child>,
    level: Option<u32>,
}

struct Writer {
    file: PageFile,
    /// Each with its level, as far as it has one.
    pages: Vec<(Extent, u32)>,
}

impl Writer {
    fn bits(&self, place: &Place) -> (u64, u32) {
        match place {
            Place::Before(back) if !self.pages.is_empty() => {
                // Counted from the end, as what was written last is what most often hangs below the next.
                let (extent, level) = self.pages[self.pages.len() - 1 - usize::from(*back) % self.pages.len()];
                (extent.to_bits(), level)
            }
            Place::Before(_) => (0, 0),
            Place::Bits(bits) => (*bits, 0),
        }
    }

    fn write(&mut self, page: &Page) -> Result<()> {
        let mut payload = Vec::new();
        let (kind, level) = match page {
            Page::Leaf { prefix, records } => {
                self.leaf(prefix, &records.0, &mut payload);
                (PageKind::Leaf, 0)
            }
            Page::Inner { level, children } => {
                let below = children.0.first().map_or(0, |child| self.bits(&child.place).1);
                let level = level.unwrap_or(below.saturating_add(1));
                let mut entries: Vec<_> = children.0.iter().map(|child| self.entry(child)).collect();
                entries.sort_by(|a, b| a.low.cmp(&b.low));
                entries.dedup_by(|a, b| a.low == b.low);
                payload = encode_inner(level, &entries);
                (PageKind::Inner, level)
            }
            Page::Blob(value) => {
                payload.clone_from(value);
                (PageKind::Blob, 0)
            }
            Page::Raw { kind, payload: raw } => {
                payload.clone_from(raw);
                ([PageKind::Leaf, PageKind::Inner, PageKind::Catalogue][usize::from(*kind) % 3], 0)
            }
        };
        let extent = self.file.write_page(kind, Codec::Lz4, &payload)?;
        self.pages.push((extent, level));
        Ok(())
    }

    fn leaf(&self, prefix: &[u8], records: &[RecordOnDisk], payload: &mut Vec<u8>) {
        let mut sorted: Vec<_> = records.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        sorted.dedup_by(|a, b| a.key == b.key);
        let records: Vec<_> = sorted
            .iter()
            .map(|record| Record {
                key: &record.key,
                value: &record.value,
                version: 0,
                expiry: record.expiry.map_or(0, u64::from) << 32,
                flags: if record.blob.is_some() { BLOB } else { 0 },
            })
            .collect();
        let mut places = sorted.iter().filter_map(|record| record.blob.as_ref());
        let place = |_: &Record<'_>| {
            let (place, length) = places.next().expect("one for each such record");
            (self.bits(place).0, u64::from(*length))
        };
        encode_leaf(prefix, &records, place, payload);
    }

    fn entry(&self, child: &Child) -> Entry {
        Entry {
            low: child.low.clone(),
            extent: self.bits(&child.place).0,
            records: child.records.into(),
            expiring: child.flags & 1 != 0,
            blobs: child.blobs.0.iter().map(|place| self.bits(place).0).collect(),
        }
    }

    fn family(&self, index: usize, family: &FamilyOnDisk) -> FamilyEntry {
        let root = family.root.as_ref().map(|child| {
            let Entry { extent, records, expiring, blobs, .. } = self.entry(child);
            Root { extent, level: family.level.unwrap_or(self.bits(&child.place).1), records, expiring, blobs }
        });
        FamilyEntry {
            id: index as u32 * 300 + u32::from(family.id),
            name: if index == 0 { "default".into() } else { format!("{index}{}", family.name) },
            note: family.note.clone(),
            settings: settings(&family.settings.0),
            root,
        }
    }
}

fn settings(list: &[(u8, i16)]) -> Vec<(String, Value)> {
    let names = ["leaf_bytes", "delta_records", "codec", "codec_level", "blob_bytes", "memory_bytes", "unknown"];
    let setting = |(name, value): &(u8, i16)| {
        let name = names[usize::from(*name) % names.len()];
        (name.to_string(), if name == "codec" { Value::Text("lz4".into()) } else { Value::Integer((*value).into()) })
    };
    list.iter().map(setting).collect()
}

/// The folder as described, with an empty log.
fn write(folder: &Folder) -> Result<MemoryDisk> {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let superblock =
        Superblock { sequence: 0, version: folder.version.into(), log_segment: 1, catalogue: None, identity: 7 };
    create_log(&disk, &superblock)?;
    let mut writer = Writer { file: PageFile::create(disk, &superblock)?, pages: Vec::new() };
    folder.pages.0.iter().try_for_each(|page| writer.write(page))?;
    let families = folder.families.0.iter().enumerate();
    let families = families.map(|(index, family)| writer.family(index, family)).collect();
    let catalogue = Catalogue { settings: settings(&folder.settings.0), families, next_id: 3000 };
    let catalogue = writer.file.write_page(PageKind::Catalogue, Codec::None, &catalogue.encode())?;
    writer.file.commit(&Superblock { catalogue: Some(catalogue), ..superblock })?;
    Ok(memory)
}

type Content = Vec<(Vec<u8>, Vec<u8>)>;

fn scan(snapshot: &Snapshot, family: &Family, reverse: bool) -> Result<Content> {
    let mut cursor = snapshot.cursor(family, Range::default(), reverse)?;
    let mut all = Vec::new();
    loop {
        let mut rows = Rows::default();
        let fetched = cursor.fetch(Columns::Both, 7, usize::MAX / 2, true, &mut rows)?;
        all.extend((0..rows.len()).map(|row| (rows.key(row).to_vec(), rows.value(row).to_vec())));
        if fetched == Fetched::Done {
            return Ok(all);
        }
    }
}

fn families(database: &Database) -> Vec<Family> {
    let names = database.families().expect("it is open");
    names.iter().map(|name| database.family(name).expect("it is open").expect("one of them")).collect()
}

fn problems(database: &Database) -> Vec<String> {
    let report = database.check(&mut |_, _| true).expect("a report");
    report.problems.iter().map(|problem| format!("{problem:?}")).collect()
}

/// Opens the folder and reads all that is in it. Where the check has no complaint, all else has to be right too, and the
/// database can be written to.
pub fn page_folder(input: &[u8]) {
    let Some(folder) = described::<Folder>(input).filter(|folder| !folder.families.0.is_empty()) else { return };
    let disk = write(&folder).expect("a disk without faults");
    let options = |read_only| Options { durability: Durability::Sync, read_only, ..Options::default() };
    let open = |read_only| Database::open_on(Arc::new(disk.clone()), options(read_only));
    let Ok(database) = open(true) else {
        assert!(open(false).is_err(), "it could not be opened for reading");
        return;
    };
    let is_sound = problems(&database).is_empty();
    let snapshot = database.snapshot().expect("it is open");
    let mut contents = Vec::new();
    for family in families(&database) {
        let forward = scan(&snapshot, &family, false);
        let backward = scan(&snapshot, &family, true);
        let count = snapshot.count(&family, &Range::default(), &mut |_, _| true);
        if is_sound {
            let forward = forward.expect("the check found nothing");
            assert!(forward.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(backward.expect("the check found nothing").iter().rev().eq(&forward));
            assert_eq!(count.expect("the check found nothing"), forward.len() as u64);
            for (key, value) in &forward {
                let same = snapshot.get(&family, key, |found| found == value).expect("the check found nothing");
                assert_eq!(same, Some(true));
            }
            contents.push(forward);
        }
    }
    drop(snapshot);
    database.close().expect("closes");
    if is_sound {
        let database = open(false).expect("it could be opened for reading");
        write_to(&database, &contents);
        database.close().expect("closes");
        let database = open(false).expect("it was closed");
        assert_eq!(problems(&database), Vec::<String>::new());
    }
}

/// Deletes every other record, puts one behind the others, and compares.
fn write_to(database: &Database, contents: &[Content]) {
    for (family, content) in families(database).iter().zip(contents) {
        let mut expected = Content::new();
        for (index, (key, value)) in content.iter().enumerate() {
            if index % 2 == 0 {
                assert!(family.delete(key).expect("a deletion"));
            } else {
                expected.push((key.clone(), value.clone()));
            }
        }
        let last = (vec![0xFF; 4096], b"last".to_vec());
        family.put(&last.0, &last.1, None).expect("room");
        if expected.last().is_some_and(|(key, _)| *key == last.0) {
            expected.pop();
        }
        expected.push(last);
        for _ in 0..2 {
            let snapshot = database.snapshot().expect("it is open");
            assert_eq!(scan(&snapshot, family, false).expect("a scan"), expected);
            database.checkpoint().expect("a checkpoint");
        }
    }
    assert_eq!(problems(database), Vec::<String>::new());
}
