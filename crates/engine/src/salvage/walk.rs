//! The way through the damaged database: superblock, catalogue, trees, log, and what is left over.

use std::collections::{BTreeMap, HashSet};

use crate::catalogue::Catalogue;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::log::{self, LogLoss, LogVisitor, LogWanted};
use crate::page_tree::{Entry, decode_inner};
use crate::pagefile::{Extent, PageKind, Remains, Superblock};
use crate::range::KeyRange;
use crate::report::Problem;
use crate::snapshot::Progress;
use crate::tree::parse_leaf;

use super::destination::Destination;
use super::evidence::{Extents, Found};
use super::source::Source;
use super::{SalvageOptions, SalvageReport, orphans};

/// A page of the newest tree that cannot be read, and what hangs on it.
struct LostPage {
    family: u32,
    extent: Option<Extent>,
    level: u32,
    range: KeyRange,
    records: u64,
    why: String,
}

pub struct Walk<'a> {
    source: &'a Source,
    pub destination: Destination,
    pub report: SalvageReport,
    progress: Progress<'a>,
    done: u64,
    lost_pages: Vec<LostPage>,
    lost_records: BTreeMap<u32, u64>,
    /// Places of the newest trees' pages and long values: where each begins and ends.
    pub used: BTreeMap<u64, u64>,
    /// Ranges in which records of the newest trees are lost; `None` for the family: nothing tells.
    pub gaps: Vec<(Option<u32>, KeyRange)>,
    found: Option<Found>,
    /// Where the newest catalogue is not known: the leaves that all that may be it have.
    certain: Option<HashSet<(u32, u64)>>,
}

pub fn save(
    source: &Source,
    destination: Destination,
    options: &SalvageOptions,
    progress: Progress<'_>,
) -> Result<SalvageReport> {
    let mut walk = Walk {
        source,
        destination,
        report: SalvageReport { is_whole: true, ..SalvageReport::default() },
        progress,
        done: 0,
        lost_pages: Vec::new(),
        lost_records: BTreeMap::new(),
        used: BTreeMap::new(),
        gaps: Vec::new(),
        found: None,
        certain: None,
    };
    let superblock = match &source.pages {
        Some(pages) => walk.pages(pages)?,
        None => {
            walk.report.is_whole = false;
            walk.tell(None, None, None, "the page file is missing, and all that was in it".into());
            None
        }
    };
    walk.log(superblock.as_ref())?;
    if let Some(pages) = source.pages.as_ref().filter(|_| !walk.gaps.is_empty()) {
        walk.search(pages)?;
        orphans::gather(&mut walk, pages, options.all)?;
    }
    let Walk { destination, mut report, lost_records, progress, .. } = walk;
    let by_name = |(id, lost): (&u32, &u64)| Some((destination.name_of(*id)?, *lost));
    let mut lost: BTreeMap<String, u64> = lost_records.iter().filter_map(by_name).collect();
    // The log may have had a newer value.
    let mut lost_values = Vec::new();
    for (name, key) in std::mem::take(&mut report.lost_values) {
        if !destination.holds(&name, &key)? {
            *lost.entry(name.clone()).or_insert(0) += 1;
            lost_values.push((name, key));
        }
    }
    report.lost_values = lost_values;
    report.families = destination.finish()?;
    for family in report.families.iter_mut().filter(|family| !family.is_apart) {
        family.lost_records = lost.get(&family.name).copied().unwrap_or(0);
        report.is_whole &= family.lost_records == 0;
    }
    progress(source.size(), source.size());
    Ok(report)
}

impl Walk<'_> {
    fn tell(&mut self, offset: Option<u64>, family: Option<u32>, keys: Option<KeyRange>, what: String) {
        let family = family.and_then(|id| self.destination.name_of(id));
        let path = self.source.page_path().display().to_string();
        self.report.problems.push(Problem { path, offset, family, keys, what });
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        let total = self.source.size();
        self.done = (self.done + bytes).min(total);
        if (self.progress)(self.done, total) { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Looks for all sound pages outside of the trees that are known, once.
    fn search(&mut self, pages: &Remains) -> Result<()> {
        if self.found.is_none() {
            let used = &self.used;
            let skip = |at: u64| used.range(..=at).next_back().map(|(_, end)| *end).filter(|end| *end > at);
            let (progress, size, done) = (&mut *self.progress, self.source.size(), self.done);
            let found = pages.search(&skip, &mut |at| progress(done.max(at).min(size), size))?;
            self.found = Some(Found::new(found));
        }
        Ok(())
    }

    pub fn found(&self) -> &[crate::pagefile::FoundPage] {
        self.found.as_ref().map_or(&[], |found| &found.pages)
    }

    fn pages(&mut self, pages: &Remains) -> Result<Option<Superblock>> {
        let slots = pages.slots()?;
        for &offset in &slots.damaged {
            let what = match slots.superblock {
                Some(_) => "a superblock is damaged; the other one is sound, and nothing is lost by it",
                None => "a superblock is damaged",
            };
            self.tell(Some(offset), None, None, what.into());
        }
        let hinted = slots.hints.iter().find_map(|extent| read_catalogue(pages, *extent).ok());
        let is_told = hinted.is_some();
        let catalogue = match &slots.superblock {
            Some(Superblock { catalogue: None, .. }) => return Ok(slots.superblock),
            Some(Superblock { catalogue: Some(extent), .. }) => self.catalogue_at(pages, *extent)?,
            None if is_told => hinted,
            None => self.any_catalogue(pages)?,
        };
        self.report.is_whole = catalogue.is_some() && (slots.superblock.is_some() || is_told);
        let Some(catalogue) = catalogue else {
            self.gaps.push((None, KeyRange::default()));
            return Ok(slots.superblock);
        };
        for problem in self.destination.follow(&catalogue)? {
            self.tell(None, None, None, problem);
        }
        for family in &catalogue.families {
            let Some(root) = &family.root else { continue };
            let entry = Entry {
                low: Vec::new(),
                extent: root.extent,
                records: root.records,
                expiring: root.expiring,
                blobs: root.blobs.clone(),
            };
            self.page(pages, family.id, &entry, root.level, KeyRange::default())?;
        }
        while let Some(lost) = self.lost_pages.pop() {
            self.below(pages, lost)?;
        }
        Ok(slots.superblock)
    }

    fn catalogue_at(&mut self, pages: &Remains, extent: Extent) -> Result<Option<Catalogue>> {
        let why = match read_catalogue(pages, extent) {
            Ok(catalogue) => return Ok(Some(catalogue)),
            Err(why) => why,
        };
        self.search(pages)?;
        let legible = self.found.as_ref().and_then(|found| found.legible_catalogue(pages, extent));
        // The search has skipped nothing, and later ones may.
        self.found = None;
        let what = match legible {
            Some(_) => "the catalogue; all trees begin where it says, so names, notes and settings were taken from it",
            None => "the catalogue, which says where each family's records are",
        };
        self.tell(Some(extent.offset()), None, None, format!("{why}: {what}"));
        Ok(legible)
    }

    /// With no superblock to say which is the newest: what all catalogues agree on that may be it.
    fn any_catalogue(&mut self, pages: &Remains) -> Result<Option<Catalogue>> {
        self.search(pages)?;
        let mut candidates = self.found.take().map_or(Vec::new(), |found| found.catalogues(pages));
        candidates.sort_by_key(|(_, catalogue)| (catalogue.next_id, catalogue.families.len()));
        let mut agreed: Option<HashSet<(u32, u64)>> = None;
        for (_, catalogue) in &candidates {
            let mut tree = Extents::default();
            for family in &catalogue.families {
                family.root.iter().for_each(|root| tree.add(pages, family.id, root.extent, root.level, &root.blobs));
            }
            agreed = Some(match agreed {
                Some(agreed) => agreed.intersection(&tree.leaves).copied().collect(),
                None => tree.leaves,
            });
        }
        let Some((extent, catalogue)) = candidates.pop() else {
            self.tell(None, None, None, "no superblock and no catalogue can be read".into());
            return Ok(None);
        };
        if candidates.is_empty() {
            let what = "no superblock can be read; this is the only catalogue in the file, and was followed".into();
            self.tell(Some(extent.offset()), None, None, what);
        } else {
            let what = format!(
                "no superblock can be read, and {} catalogues may be the newest; only what they agree on was taken",
                candidates.len() + 1
            );
            self.tell(None, None, None, what);
            self.certain = agreed;
        }
        Ok(Some(catalogue))
    }

    /// Saves what stands in and below a page, or notes that it is lost.
    fn page(&mut self, pages: &Remains, family: u32, entry: &Entry, level: u32, range: KeyRange) -> Result<()> {
        let extent = Extent::from_bits(entry.extent);
        let read = match extent {
            Some(extent) if self.overlaps(extent) => Err("the page's place is another page's as well".to_owned()),
            Some(extent) => pages.read(extent),
            None => Err("the page's place is no extent".to_owned()),
        };
        let lost = |why: String| LostPage { family, extent, level, range: range.clone(), records: entry.records, why };
        let (kind, payload) = match read {
            Ok(read) => read,
            Err(why) => {
                self.lost_pages.push(lost(why));
                return Ok(());
            }
        };
        if level > 0 {
            let entries = decode_inner(&payload).filter(|(stored, _)| kind == PageKind::Inner && *stored == level);
            let Some((_, entries)) = entries else {
                self.lost_pages.push(lost("the inner page's content makes no sense".into()));
                return Ok(());
            };
            self.take(extent)?;
            for (index, entry) in entries.iter().enumerate() {
                let start = if index == 0 { range.start.clone() } else { entry.low.clone() };
                let stop = entries.get(index + 1).map(|next| next.low.clone()).or_else(|| range.stop.clone());
                self.page(pages, family, entry, level - 1, KeyRange { start, stop })?;
            }
            return Ok(());
        }
        let is_certain = self.certain.as_ref().is_none_or(|certain| certain.contains(&(family, entry.extent)));
        let why = match (is_certain, sound_leaf(kind, &payload, entry, &range)) {
            (true, true) => {
                self.take(extent)?;
                entry.blobs.iter().for_each(|&bits| self.occupy(Extent::from_bits(bits)));
                let family = self.destination.family(family)?;
                return self.records(pages, &family, extent, &payload, None);
            }
            (false, _) => "nothing tells whether this leaf is the newest",
            (_, false) => "the leaf is not the one that its parent names",
        };
        self.lost_pages.push(lost(why.into()));
        Ok(())
    }

    fn overlaps(&self, extent: Extent) -> bool {
        self.used.range(..extent.end()).next_back().is_some_and(|(_, end)| *end > extent.offset())
    }

    fn occupy(&mut self, extent: Option<Extent>) {
        self.used.extend(extent.map(|extent| (extent.offset(), extent.end())));
    }

    fn take(&mut self, extent: Option<Extent>) -> Result<()> {
        self.occupy(extent);
        self.advance(extent.map_or(0, Extent::len_bytes))
    }

    /// Writes a leaf's records, those in `within` only.
    pub fn records(
        &mut self,
        pages: &Remains,
        family: &Family,
        leaf: Option<Extent>,
        payload: &[u8],
        within: Option<&KeyRange>,
    ) -> Result<()> {
        let Some(parsed) = parse_leaf(payload) else { return Ok(()) };
        let mut blobs = parsed.blobs.iter().peekable();
        for (index, record) in parsed.records.iter().enumerate() {
            let key = [parsed.prefix, record.key].concat();
            let blob = blobs.next_if(|(of, ..)| *of == index);
            if within.is_some_and(|range| !range.contains(&key)) {
                continue;
            }
            let Some(&(_, bits, length)) = blob else {
                self.destination.put(family, &key, record.value, record.expiry)?;
                continue;
            };
            let place = Extent::from_bits(bits);
            // Of an old leaf: what is used by now holds another value.
            let is_reused = within.is_some() && place.is_some_and(|place| self.overlaps(place));
            let read = match place {
                Some(_) if is_reused => Err("its place is used again".to_owned()),
                Some(place) => pages.read(place),
                None => Err("its place is no extent".to_owned()),
            };
            let why = match read {
                Ok((PageKind::Blob, value)) if value.len() as u64 == length => {
                    if within.is_none() {
                        self.occupy(place);
                    }
                    self.destination.put(family, &key, &value, record.expiry)?;
                    self.advance(length)?;
                    continue;
                }
                Ok(_) => "what is at its place is not it".to_owned(),
                Err(why) => why,
            };
            let name = family.name();
            let path = self.source.page_path().display().to_string();
            let what = format!("a long value of {length} bytes is lost: {why}");
            let keys = Some(KeyRange::of_key(&key));
            let offset = place.or(leaf).map(Extent::offset);
            self.report.problems.push(Problem { path, offset, family: Some(name.clone()), keys, what });
            self.report.lost_values.push((name, key));
        }
        Ok(())
    }

    /// Saves what is proven to hang on a lost page, and tells of the rest.
    fn below(&mut self, pages: &Remains, lost: LostPage) -> Result<()> {
        let LostPage { family, extent, level, range, records, why } = lost;
        let mut children = Vec::new();
        if let Some(extent) = extent.filter(|_| level > 0) {
            self.search(pages)?;
            let found = self
                .found
                .as_ref()
                .map(|found| found.children(pages, extent, level, &range.start, range.stop.as_deref()));
            children = found.unwrap_or_default();
            let is_free = |child: &super::evidence::Child| {
                Extent::from_bits(child.extent).is_some_and(|extent| !self.overlaps(extent))
            };
            children.retain(is_free);
        }
        let saved: u64 = children.iter().map(|child| child.records).sum();
        let missing = records.saturating_sub(saved);
        let place = extent.map(Extent::offset);
        let what = match (level, missing) {
            (0, _) => format!("{why}; its {records} records are lost"),
            (_, 0) => format!("{why}; all {records} records below it were found"),
            _ => format!("{why}; of the {records} records below it {missing} are lost"),
        };
        self.tell(place, Some(family), Some(range.clone()), what);
        *self.lost_records.entry(family).or_insert(0) += missing;
        let mut start = range.start.clone();
        for (index, child) in children.iter().enumerate() {
            let next = children.get(index + 1).map(|next| next.first.clone()).or_else(|| range.stop.clone());
            let entry = Entry {
                low: child.first.clone(),
                extent: child.extent,
                records: child.records,
                expiring: false,
                blobs: Vec::new(),
            };
            if missing > 0 && start < child.first {
                self.gaps.push((Some(family), KeyRange { start, stop: Some(child.first.clone()) }));
            }
            start = match &child.last {
                Some(last) => [last.as_slice(), &[0]].concat(),
                None => next.clone().unwrap_or_default(),
            };
            self.page(pages, family, &entry, child.level, KeyRange { start: child.first.clone(), stop: next })?;
        }
        let is_open = range.stop.as_ref().is_none_or(|stop| start < *stop);
        let is_done = children.last().is_some_and(|child| child.last.is_none());
        if missing > 0 && is_open && !is_done {
            self.gaps.push((Some(family), KeyRange { start, stop: range.stop }));
        }
        Ok(())
    }

    fn log(&mut self, superblock: Option<&Superblock>) -> Result<()> {
        let wanted = LogWanted {
            identity: superblock.map(|superblock| superblock.identity),
            from_segment: superblock.map(|superblock| superblock.log_segment),
            after_version: superblock.map(|superblock| superblock.version),
        };
        let source = self.source;
        log::read_remains(&*source.disk, &wanted, self)?;
        self.destination.flush()
    }
}

impl LogVisitor for Walk<'_> {
    fn record(&mut self, version: u64, payload: &[u8]) -> Result<()> {
        let mut problems = Vec::new();
        if !self.destination.replay(payload, &mut problems)? {
            let what = format!("the log record of version {version} makes no sense, and is left out");
            let path = self.source.disk.root().to_path_buf();
            self.lost(LogLoss { path, offset: None, versions: Some((version, Some(version))), is_lost: true, what });
        }
        problems.into_iter().for_each(|what| self.tell(None, None, None, what));
        Ok(())
    }

    fn lost(&mut self, loss: LogLoss) {
        let path = loss.path.display().to_string();
        self.report.lost_versions.extend(loss.versions);
        self.report.is_whole &= !loss.is_lost;
        self.report.problems.push(Problem { path, offset: loss.offset, family: None, keys: None, what: loss.what });
    }

    fn go_on(&mut self, _bytes: u64) -> bool {
        self.advance(0).is_ok()
    }
}

fn read_catalogue(pages: &Remains, extent: Extent) -> Result<Catalogue, String> {
    let (kind, payload) = pages.read(extent)?;
    let catalogue = Catalogue::decode(&payload).filter(|_| kind == PageKind::Catalogue);
    let catalogue = catalogue.filter(|catalogue| catalogue.families.iter().any(|family| family.id == 0));
    catalogue.ok_or_else(|| "the catalogue's content makes no sense".to_owned())
}

/// Whether a leaf is the one that is meant: as many records, all of them in its range.
fn sound_leaf(kind: PageKind, payload: &[u8], entry: &Entry, range: &KeyRange) -> bool {
    let Some(leaf) = parse_leaf(payload).filter(|_| kind == PageKind::Leaf) else { return false };
    let whole = |record: &crate::tree::Record<'_>| [leaf.prefix, record.key].concat();
    let ends = leaf.records.first().into_iter().chain(leaf.records.last());
    leaf.records.len() as u64 == entry.records && ends.map(whole).all(|key| range.contains(&key))
}
