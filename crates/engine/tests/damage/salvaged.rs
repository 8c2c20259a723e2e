//! What a salvage has to save.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Database, SalvageOptions, SalvageReport, salvage_on};

use crate::common::assert_sound;
use crate::specimen::{Content, Specimen, options, seen};

/// What may be missing.
pub enum Missing {
    /// Nothing.
    Nothing,
    /// Records of these keys only.
    Keys(BTreeSet<Vec<u8>>),
    /// One record at most.
    One,
    /// Whatever stood in damaged places, if it is told.
    Told,
}

pub struct Saved {
    pub report: SalvageReport,
    pub content: Content,
    /// Of families for records whose place is not proven, by key.
    pub apart: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

/// Saves what can be saved, and makes sure of the new database.
pub fn save(disk: &MemoryDisk, all: bool) -> Saved {
    let target = MemoryDisk::new();
    let before = disk.clone();
    let options = SalvageOptions { all, clock: options().clock };
    let saved = salvage_on(Arc::new(before), Arc::new(target.clone()), &options, &mut |_, _| true);
    let report = saved.expect("damage keeps no salvage from its end");
    let opening = lyredb_engine::Options { create: false, ..self::options() };
    let database = Database::open_on(Arc::new(target), opening).expect("the new database opens");
    assert_sound(&database);
    let mut content = seen(&database).expect("the new database can be read");
    let mut apart = BTreeMap::<Vec<u8>, BTreeSet<Vec<u8>>>::new();
    for family in report.families.iter() {
        assert_eq!(family.records, content[&family.name].len() as u64, "records of {}", family.name);
        if family.is_apart {
            for (key, value) in content.remove(&family.name).unwrap_or_default() {
                apart.entry(key).or_default().insert(value);
            }
        }
    }
    Saved { report, content, apart }
}

/// All values that a key of a family had since the page file was last written.
fn values<'a>(specimen: &'a Specimen, family: &str, key: &[u8]) -> impl Iterator<Item = &'a Vec<u8>> {
    specimen.states.iter().filter_map(move |state| state.get(family)?.get(key)).collect::<Vec<_>>().into_iter()
}

/// Saves, and fails where a value is wrong, or where something is missing that need not be.
pub fn examine(specimen: &Specimen, disk: &MemoryDisk, all: bool, missing: &Missing, what: &str) -> SalvageReport {
    let examined = catch_unwind(AssertUnwindSafe(|| {
        let Saved { report, content, apart } = save(disk, all);
        let is_log_whole = report.lost_versions.is_empty();
        let same = |state: &&Content| **state == content;
        let is_state = specimen.states.iter().rev().any(|state| same(&state));
        let newest = specimen.newest();
        for (name, records) in &content {
            for (key, value) in records {
                let is_right = if is_log_whole && !is_state {
                    newest.get(name).and_then(|records| records.get(key)) == Some(value)
                } else {
                    values(specimen, name, key).any(|known| known == value)
                };
                let shown = String::from_utf8_lossy(key);
                assert!(is_right, "a wrong value, or a deleted record, at {shown:?} of {name}; {report:#?}");
            }
        }
        let is_there =
            |name: &String, key: &Vec<u8>| content.get(name).is_some_and(|records| records.contains_key(key));
        let all_records = newest.iter().flat_map(|(name, records)| records.keys().map(move |key| (name, key)));
        let lost: Vec<(&String, &Vec<u8>)> = all_records.filter(|(name, key)| !is_there(name, key)).collect();
        let is_known = |(name, key): &&(&String, &Vec<u8>)| {
            let found = apart.get(*key);
            found.is_some_and(|found| values(specimen, name, key).any(|value| found.contains(value)))
        };
        let gone: Vec<_> = lost.iter().filter(|record| !is_known(record)).collect();
        let shown =
            || gone.iter().map(|(name, key)| format!("{name}/{}", String::from_utf8_lossy(key))).collect::<Vec<_>>();
        match missing {
            Missing::Nothing => assert!(gone.is_empty() && is_log_whole, "lost are {:?}; {report:#?}", shown()),
            Missing::Keys(keys) => {
                let is_allowed = gone.iter().all(|(_, key)| keys.contains(*key));
                assert!(is_allowed && is_log_whole, "lost are {:?}; {report:#?}", shown());
            }
            Missing::One => assert!(gone.len() <= 1 && is_log_whole, "lost are {:?}; {report:#?}", shown()),
            Missing::Told => {
                assert!(gone.is_empty() || is_state || !report.problems.is_empty(), "lost are {:?}", shown())
            }
        }
        assert!(lost.is_empty() || is_state || !report.problems.is_empty(), "nothing was told of {:?}", shown());
        report
    }));
    examined.unwrap_or_else(|panic| {
        eprintln!("salvaging with this damage: {what}{}", if all { ", with all" } else { "" });
        resume_unwind(panic)
    })
}
