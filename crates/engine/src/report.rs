//! What `check` and `stats` tell.

use std::sync::Arc;

use crate::core::Core;
use crate::counters::{Count, Measure};
use crate::error::{Error, Result};
use crate::family::FamilyCore;
use crate::histogram::Reading;
use crate::memory::Part;
use crate::pagefile::{Extent, PAGE_FILE_NAME};
use crate::range::KeyRange;
use crate::snapshot::Progress;
use crate::sync::{Ordering, epoch};
use crate::tree::Finding;

/// What a check saw, and what was wrong.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    pub families: u64,
    pub pages: u64,
    pub records: u64,
    /// Of keys and values.
    pub bytes: u64,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug)]
pub struct Problem {
    pub path: String,
    pub offset: Option<u64>,
    pub family: Option<String>,
    /// Where what is damaged holds the records of a range.
    pub keys: Option<KeyRange>,
    pub what: String,
}

/// A figure with its unit.
#[derive(Clone, Debug)]
pub enum Stat {
    Count(u64),
    Seconds(f64),
    Bytes(u64),
    Text(String),
}

/// How often which values occurred since the database was opened.
#[derive(Clone, Debug)]
pub enum Distribution {
    /// Of times, in nanoseconds.
    Times(Reading),
    /// Of numbers of rows.
    Rows(Reading),
}

/// What one family, or the database as a whole, tells of itself, by name.
#[derive(Clone, Debug)]
pub struct Figures {
    pub figures: Vec<(&'static str, Stat)>,
    pub distributions: Vec<(&'static str, Distribution)>,
}

/// A family's name, and by kind of operation the nanoseconds that the sampled ones took.
pub type Timings = (String, Vec<(&'static str, Reading)>);

#[derive(Clone, Debug)]
pub struct Stats {
    pub database: Figures,
    pub families: Vec<(String, Figures)>,
}

impl Core {
    /// Walks every page of every family, in memory and on disk, and reads the superblocks. `progress` counts pages.
    pub fn check(&self, progress: Progress<'_>) -> Result<CheckReport> {
        self.open_check()?;
        let mut report = CheckReport::default();
        let path = self.path.join(PAGE_FILE_NAME).display().to_string();
        for family in self.all_families() {
            report.families += 1;
            let name = family.name.read().clone();
            let mut problems = Vec::new();
            let before = report.pages;
            let mut go_on = |pages| progress(before + pages, before + pages);
            let census = family
                .tree
                .verify(&|leaf| self.leaf_blobs.of(leaf), &mut |finding| problems.push(finding), &mut go_on)
                .ok_or(Error::Interrupted)?;
            match family.usable() {
                Ok(()) => {}
                Err(Error::Closed) => return Err(Error::Closed),
                // It was dropped meanwhile.
                Err(_) => continue,
            }
            report.pages += census.pages;
            report.records += census.records;
            report.bytes += census.bytes;
            report.problems.extend(problems.into_iter().map(|Finding { offset, keys, what }| Problem {
                path: path.clone(),
                offset,
                family: Some(name.clone()),
                keys,
                what,
            }));
        }
        let rest = self.check_structure().into_iter().chain(self.pages.check_superblocks()?);
        let problem =
            |(offset, what)| Problem { path: path.clone(), offset: Some(offset), family: None, keys: None, what };
        report.problems.extend(rest.map(problem));
        self.open_check().map(|()| report)
    }

    /// Reads the catalogue and the inner pages above the lowest, which are on disk for the next opening only.
    fn check_structure(&self) -> Vec<(u64, String)> {
        let state = self.checkpoint.lock();
        // Pinned under the lock: what the next checkpoint frees stays as it is until we are done.
        let _guard = epoch::pin();
        let extents: Vec<Extent> = state.structure.iter().filter_map(|&bits| Extent::from_bits(bits)).collect();
        drop(state);
        let mut payload = Vec::new();
        let read =
            |extent: Extent| Some((extent.offset(), self.pages.read_any_page(extent, &mut payload).err()?.what()));
        extents.into_iter().filter_map(read).collect()
    }

    pub fn stats(&self) -> Result<crate::Stats> {
        self.open_check()?;
        let usage = self.pages.usage();
        let paged = self.pages.counters();
        let logged = self.log.counters();
        let oldest_version = self.versions.active()[0];
        let (open, oldest) = self.versions.open_snapshots();
        let syncs = self.log.sync_times();
        let checkpoints = self.checkpointed.times.read();
        let segment = self.checkpointed.segment.load(Ordering::Relaxed);
        let memory = |part: Part| Stat::Bytes(self.memory.part(part));
        let mut database = vec![
            ("memory_used", Stat::Bytes(self.memory.used())),
            ("memory_leaves", memory(Part::Leaves)),
            ("memory_long_values", memory(Part::LongValues)),
            ("memory_warm", memory(Part::Stored)),
            ("memory_point_cache", memory(Part::Excerpts)),
            ("memory_inner_pages", memory(Part::InnerPages)),
            ("memory_page_references", memory(Part::Pages)),
            ("memory_queues", memory(Part::Queues)),
            ("memory_scans", memory(Part::Scans)),
            ("memory_log", memory(Part::Log)),
            ("leaves_hot", Stat::Count(self.residents.len(Part::Leaves) as u64)),
            ("leaves_warm", Stat::Count(self.residents.len(Part::Stored) as u64)),
            ("leaves_excerpts", Stat::Count(self.residents.len(Part::Excerpts) as u64)),
            ("memory_budget", Stat::Bytes(self.memory.budget())),
            ("file_size", Stat::Bytes(usage.file_bytes)),
            ("file_used", Stat::Bytes(usage.used_bytes)),
            ("file_free", Stat::Bytes(usage.free_bytes)),
            ("log_size", Stat::Bytes(self.log.bytes_since(segment))),
            ("log_blocks", Stat::Count(logged.blocks)),
            ("log_written", Stat::Bytes(logged.bytes)),
            ("log_syncs", Stat::Count(syncs.count())),
            ("log_sync_time", Stat::Seconds(syncs.sum as f64 / 1e9)),
            ("pages_read", Stat::Count(paged.pages_read)),
            ("pages_read_bytes", Stat::Bytes(paged.bytes_read)),
            ("pages_written", Stat::Count(paged.pages_written)),
            ("pages_written_bytes", Stat::Bytes(paged.bytes_written)),
            ("checkpoints", Stat::Count(checkpoints.count())),
            ("checkpoint_time", Stat::Seconds(checkpoints.sum as f64 / 1e9)),
            ("version", Stat::Count(self.versions.visible())),
            ("version_on_disk", Stat::Count(self.log.synced_version())),
            ("oldest_snapshot_version", Stat::Count(oldest_version)),
            ("open_snapshots", Stat::Count(open as u64)),
            ("held_back", Stat::Bytes(self.maintenance.held_back())),
        ];
        if let Some(oldest) = oldest {
            database.push(("oldest_snapshot_age", Stat::Seconds(oldest.age().as_secs_f64())));
            if let Some(origin) = oldest.origin {
                database.push(("oldest_snapshot_thread", Stat::Count(origin.thread)));
                let place =
                    origin.place.map(|(file, line)| ("oldest_snapshot_place", Stat::Text(format!("{file}:{line}"))));
                database.extend(place);
            }
        }
        database.extend(self.maintenance.last_failure().map(|failure| ("last_failure", Stat::Text(failure))));
        let families = self.all_families().into_iter().map(|family| {
            let mut figures: Vec<(&'static str, Stat)> =
                Count::ALL.iter().map(|&(count, name)| (name, Stat::Count(family.counters.sum(count)))).collect();
            let writer = family.tree.writer.lock();
            figures.push(("consolidations", Stat::Count(writer.consolidations)));
            figures.push(("splits", Stat::Count(writer.splits)));
            figures.push(("merges", Stat::Count(writer.merges)));
            drop(writer);
            let distributions = Measure::ALL.iter().map(|&(measure, name)| {
                let reading = family.counters.read(measure);
                let rows = measure == Measure::ScanLength;
                (name, if rows { Distribution::Rows(reading) } else { Distribution::Times(reading) })
            });
            (family.name.read().clone(), Figures { figures, distributions: distributions.collect() })
        });
        let families = families.collect();
        let distributions =
            vec![("log_sync", Distribution::Times(syncs)), ("checkpoint", Distribution::Times(checkpoints))];
        Ok(Stats { database: Figures { figures: database, distributions }, families })
    }

    pub fn timings(&self) -> Result<Vec<Timings>> {
        self.open_check()?;
        let of = |family: &Arc<FamilyCore>| {
            let times = Measure::ALL.iter().filter(|(measure, _)| *measure != Measure::ScanLength);
            let readings = times.map(|&(measure, name)| (name, family.counters.read(measure)));
            (family.name.read().clone(), readings.collect())
        };
        Ok(self.all_families().iter().map(of).collect())
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
