//! What a database holds, as the steps of a workload make it, and as it is seen.

use std::collections::{BTreeMap, BTreeSet};

use lyredb_engine::tunables::{REGISTRY, Scope, Value};
use lyredb_engine::{DEFAULT_FAMILY, Database};

use crate::common::{Model, content_at, tiny_settings};

/// A value and when it expires; 0 for never.
pub type Record = (Vec<u8>, u64);

pub type Settings = BTreeMap<String, Value>;

/// Names, values in force, and whether somebody chose them.
type InForce = Vec<(&'static str, Value, bool)>;

/// The families, their records and all settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub families: BTreeMap<String, FamilyContent>,
    /// Kept without a family.
    pub settings: Settings,
    /// To the present opening.
    given: Settings,
    /// What was set without a family since the opening.
    said_since: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FamilyContent {
    pub records: BTreeMap<Vec<u8>, Record>,
    pub settings: Settings,
}

/// What can be seen of a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub families: BTreeMap<String, Model>,
    /// Without a name, the database's own.
    pub settings: BTreeMap<Option<String>, InForce>,
}

impl Content {
    pub fn new() -> Content {
        let families = BTreeMap::from([(DEFAULT_FAMILY.to_string(), FamilyContent::default())]);
        let given = tiny_settings().into_iter().collect();
        Content { families, settings: Settings::new(), given, said_since: BTreeSet::new() }
    }

    /// The database is opened again, with these settings beside the tiny ones.
    pub fn reopen(&mut self, given: &[(String, Value)]) {
        self.given = tiny_settings().into_iter().chain(given.iter().cloned()).collect();
        self.said_since.clear();
    }

    pub fn configure(&mut self, family: Option<&str>, settings: &[(String, Value)]) {
        if family.is_none() {
            self.said_since.extend(settings.iter().map(|(name, _)| name.clone()));
        }
        self.settings_of(family).extend(settings.iter().cloned());
    }

    pub fn reset(&mut self, family: Option<&str>, names: &[String]) {
        if family.is_none() {
            self.said_since.retain(|name| !names.contains(name));
        }
        self.settings_of(family).retain(|name, _| !names.contains(name));
    }

    fn settings_of(&mut self, family: Option<&str>) -> &mut Settings {
        match family {
            Some(name) => &mut self.families.get_mut(name).expect("only families that are there are set up").settings,
            None => &mut self.settings,
        }
    }

    fn in_force(&self, family: Option<&FamilyContent>) -> InForce {
        let scope = if family.is_some() { Scope::Family } else { Scope::Database };
        let force = |name: &str| {
            let own = family.and_then(|family| family.settings.get(name));
            let (kept, given) = (self.settings.get(name), self.given.get(name));
            own.or(if self.said_since.contains(name) { kept.or(given) } else { given.or(kept) })
        };
        let mine = REGISTRY.iter().filter(|tunable| tunable.scope == scope);
        mine.map(|tunable| {
            let chosen = force(tunable.name);
            (tunable.name, chosen.cloned().unwrap_or_else(|| tunable.default_value()), chosen.is_some())
        })
        .collect()
    }

    /// What can be seen at a time.
    pub fn at(&self, now: u64) -> Seen {
        let view = |family: &FamilyContent| {
            let live = family.records.iter().filter(|(_, record)| is_live(record, now));
            live.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
        };
        let mut settings: BTreeMap<_, _> =
            self.families.iter().map(|(name, family)| (Some(name.clone()), self.in_force(Some(family)))).collect();
        settings.insert(None, self.in_force(None));
        Seen { families: self.families.iter().map(|(name, family)| (name.clone(), view(family))).collect(), settings }
    }

    /// As comparing with `at(now)`, without making it.
    pub fn is_seen(&self, seen: &Seen, now: u64) -> bool {
        let mut families = self.families.iter().zip(&seen.families);
        self.families.len() == seen.families.len()
            && families.all(|((name, family), (seen_name, model))| {
                let live = family.records.iter().filter(|(_, record)| is_live(record, now));
                name == seen_name && live.map(|(key, (value, _))| (key, value)).eq(model)
            })
            && seen.settings.iter().all(|(name, in_force)| {
                let family = name.as_ref().map(|name| &self.families[name]);
                *in_force == self.in_force(family)
            })
    }
}

fn is_live(record: &Record, now: u64) -> bool {
    record.1 == 0 || record.1 > now
}

impl Seen {
    /// For messages: where `found` is otherwise.
    pub fn apart_from(&self, found: &Seen) -> String {
        let mut all = String::new();
        for name in self.families.keys().chain(found.families.keys()).collect::<BTreeSet<_>>() {
            let (Some(wanted), Some(found)) = (self.families.get(name), found.families.get(name)) else {
                all += &format!("family {name:?} is there once; ");
                continue;
            };
            for key in wanted.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
                let lengths = [wanted.get(key), found.get(key)].map(|value| value.map(Vec::len));
                if wanted.get(key) != found.get(key) {
                    all += &format!("{name:?} {}: {:?} and {:?} bytes; ", key.escape_ascii(), lengths[0], lengths[1]);
                }
            }
        }
        if self.settings != found.settings { all + "settings" } else { all }
    }

    pub fn without(mut self, family: &str) -> Seen {
        self.families.remove(family);
        self.settings.remove(&Some(family.to_string()));
        self
    }
}

pub fn seen(database: &Database) -> Seen {
    let snapshot = database.snapshot().expect("a snapshot");
    let names = database.families().expect("names");
    let family = |name: &str| database.family(name).expect("open").expect("it is listed");
    let settings = |name: Option<&str>| database.settings(name).expect("settings");
    let scopes = names.iter().cloned().map(Some).chain([None]);
    Seen {
        families: names.iter().map(|name| (name.clone(), content_at(&snapshot, &family(name)))).collect(),
        settings: scopes.map(|scope| (scope.clone(), settings(scope.as_deref()))).collect(),
    }
}
