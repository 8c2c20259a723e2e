//! The new database: families as the old one's catalogue has them, records in batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::{Batch, Operation};
use crate::bytes::Reader;
use crate::catalogue::{Catalogue, FamilyEntry};
use crate::database::{DEFAULT_FAMILY, Database, Options};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::range::Range;
use crate::tunables::{Settings, Value};
use crate::{Durability, MAX_KEY_BYTES, MAX_VALUE_BYTES};

use super::{SalvageOptions, SalvagedFamily};

/// Written at a time.
const BATCH_BYTES: usize = 1 << 20;

pub struct Destination {
    database: Database,
    /// By their numbers in the old database.
    families: BTreeMap<u32, Family>,
    apart: Vec<String>,
    batch: Batch,
    batch_bytes: usize,
    now: u64,
}

impl Destination {
    pub fn create(disk: Arc<dyn Disk>, options: &SalvageOptions) -> Result<Destination> {
        let opening = Options { durability: Durability::Async, clock: options.clock.clone(), ..Options::default() };
        let database = Database::open_on(disk, opening)?;
        let families = BTreeMap::from([(0, database.default_family())]);
        let now = options.clock.now();
        Ok(Destination { database, families, apart: Vec::new(), batch: Batch::default(), batch_bytes: 0, now })
    }

    /// Makes the families what a catalogue says; what of it could not be followed.
    pub fn follow(&mut self, catalogue: &Catalogue) -> Result<Vec<String>> {
        self.flush()?;
        let mut problems = Vec::new();
        let gone: Vec<u32> = self
            .families
            .keys()
            .copied()
            .filter(|id| !catalogue.families.iter().any(|entry| entry.id == *id))
            .collect();
        for id in gone.into_iter().filter(|id| *id != 0) {
            if let Some(family) = self.families.remove(&id) {
                self.database.drop_family(&family.name())?;
            }
        }
        for entry in &catalogue.families {
            let family = self.named(entry)?;
            if self.database.note(&family.name())? != entry.note {
                self.database.set_note(&family.name(), entry.note.as_deref())?;
            }
            keep(&family.core().settings, &entry.settings, &mut problems);
        }
        keep(&self.database.core().settings, &catalogue.settings, &mut problems);
        self.database.core().settings_changed();
        Ok(problems)
    }

    /// The family of this entry, under its name or, where that is taken or none, one like it.
    fn named(&mut self, entry: &FamilyEntry) -> Result<Family> {
        if entry.id == 0 {
            return Ok(self.families[&0].clone());
        }
        let known = self.families.get(&entry.id).cloned();
        if let Some(family) = known.as_ref().filter(|family| family.name() == entry.name) {
            return Ok(family.clone());
        }
        let name = self.free_name(&entry.name)?;
        let family = match known {
            Some(family) => {
                self.database.rename_family(&family.name(), &name)?;
                family
            }
            None => self.database.create_family(&name, &[])?,
        };
        self.families.insert(entry.id, family.clone());
        Ok(family)
    }

    fn free_name(&self, wanted: &str) -> Result<String> {
        let wanted = if wanted.is_empty() || wanted.len() > 240 { "family" } else { wanted };
        let is_free = |name: &str| Ok::<_, Error>(name != DEFAULT_FAMILY && self.database.family(name)?.is_none());
        if is_free(wanted)? {
            return Ok(wanted.into());
        }
        for number in 2u64.. {
            let name = format!("{wanted}-{number}");
            if is_free(&name)? {
                return Ok(name);
            }
        }
        unreachable!("there are more numbers than families")
    }

    /// The family of a number, which is made where no catalogue has named it.
    pub fn family(&mut self, id: u32) -> Result<Family> {
        if let Some(family) = self.families.get(&id) {
            return Ok(family.clone());
        }
        let entry = FamilyEntry { id, name: format!("family-{id}"), note: None, settings: Vec::new(), root: None };
        self.named(&entry)
    }

    /// A family for records whose place is not proven, with the note of the one they may belong to.
    pub fn family_apart(&mut self, of: Option<u32>, number: usize) -> Result<Family> {
        let source = of.and_then(|id| self.families.get(&id)).map(Family::name);
        let wanted = match &source {
            Some(name) => format!("{name}-salvaged-{number}"),
            None => format!("salvaged-{number}"),
        };
        let name = self.free_name(&wanted)?;
        let family = self.database.create_family(&name, &[])?;
        if let Some(note) = source.map(|name| self.database.note(&name)).transpose()?.flatten() {
            self.database.set_note(&name, Some(&note))?;
        }
        self.apart.push(name);
        Ok(family)
    }

    /// False: it has expired, and is left out.
    pub fn put(&mut self, family: &Family, key: &[u8], value: &[u8], expiry: u64) -> Result<bool> {
        if expiry != 0 && expiry <= self.now {
            return Ok(false);
        }
        self.batch.put_entry(family.core(), key, value, expiry);
        self.batch_bytes += key.len() + value.len();
        if self.batch_bytes > BATCH_BYTES {
            self.flush()?;
        }
        Ok(true)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.batch_bytes = 0;
        if self.batch.is_empty() { Ok(()) } else { self.database.write(std::mem::take(&mut self.batch)) }
    }

    /// Does what a record of the log says, all of it; `Ok(false)`, and nothing of it, if it makes no sense.
    pub fn replay(&mut self, record: &[u8], problems: &mut Vec<String>) -> Result<bool> {
        let mut reader = Reader::new(record);
        let mut operations = Vec::new();
        while !reader.is_empty() {
            let Some(operation) = Operation::decode(&mut reader).filter(is_possible) else { return Ok(false) };
            operations.push(operation);
        }
        let catalogues: Option<Vec<Catalogue>> = operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Catalogue(bytes) => Some(Catalogue::decode(bytes)),
                _ => None,
            })
            .collect();
        let Some(catalogues) = catalogues else { return Ok(false) };
        for catalogue in &catalogues {
            problems.extend(self.follow(catalogue)?);
        }
        for operation in &operations {
            if let Operation::Put { family, .. } = operation {
                self.family(*family)?;
            }
            self.batch.take(operation, &|id| self.families.get(&id).map(|family| Arc::clone(family.core())));
        }
        self.flush()?;
        Ok(true)
    }

    pub fn name_of(&self, id: u32) -> Option<String> {
        self.families.get(&id).map(Family::name)
    }

    pub fn holds(&self, family: &str, key: &[u8]) -> Result<bool> {
        let family = self.database.family(family)?;
        Ok(family.map(|family| family.get(key, |_| ())).transpose()?.flatten().is_some())
    }

    /// Writes all to disk; what there is now, by family.
    pub fn finish(mut self) -> Result<Vec<SalvagedFamily>> {
        self.flush()?;
        let snapshot = self.database.snapshot()?;
        let mut families = Vec::new();
        for name in self.database.families()? {
            let Some(family) = self.database.family(&name)? else { continue };
            let records = snapshot.count(&family, &Range::default(), &mut |_, _| true)?;
            let is_apart = self.apart.contains(&name);
            families.push(SalvagedFamily { name, records, lost_records: 0, is_apart });
        }
        drop(snapshot);
        self.families.clear();
        // Settings are written by it even where there is no record.
        self.database.checkpoint()?;
        self.database.close()?;
        Ok(families)
    }
}

fn is_possible(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::Put { key, value, .. } => key.len() <= MAX_KEY_BYTES && value.len() <= MAX_VALUE_BYTES,
        Operation::Delete { key, .. } => key.len() <= MAX_KEY_BYTES,
        Operation::DeleteRange { .. } | Operation::Catalogue(_) => true,
    }
}

/// Keeps all settings that can be kept.
fn keep(target: &Settings, settings: &[(String, Value)], problems: &mut Vec<String>) {
    let (good, bad): (Vec<_>, Vec<_>) = settings.iter().cloned().partition(|setting| {
        let one = [setting.clone()];
        target.can_keep(&one)
    });
    problems.extend(bad.iter().map(|(name, value)| format!("the setting {name}={value} cannot be kept")));
    let kept = target.keep(&good);
    debug_assert!(kept.is_ok(), "each of them can be kept");
}
