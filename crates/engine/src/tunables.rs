//! The one registry of tunables: every knob is declared here, and presets, validation, the tuner's search space, the
//! docs and the command line all read it.

use std::fmt;

use crate::error::{Error, Result};
use crate::pagefile::Codec;
use crate::sync::{AtomicU64, Ordering};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Integer(i64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(number) => number.fmt(formatter),
            Value::Text(text) => text.fmt(formatter),
        }
    }
}

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Database,
    Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both ends are allowed.
    Integer {
        low: i64,
        high: i64,
    },
    Choice(&'static [&'static str]),
}

/// What a change costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Instant,
    /// Takes hold page by page, as pages are next rewritten.
    Rewrite,
}

pub struct Tunable {
    pub name: &'static str,
    pub scope: Scope,
    pub kind: Kind,
    /// For a choice, its position.
    default: i64,
    pub unit: &'static str,
    pub what: &'static str,
    pub change: Change,
    /// Whether the tuner may set it.
    pub tuner: bool,
}

const CODECS: &[&str] = &["none", "lz4", "zstd"];

const fn integer(
    name: &'static str,
    scope: Scope,
    low: i64,
    high: i64,
    default: i64,
    unit: &'static str,
    what: &'static str,
) -> Tunable {
    Tunable {
        name,
        scope,
        kind: Kind::Integer { low, high },
        default,
        unit,
        what,
        change: Change::Instant,
        tuner: true,
    }
}

const fn rewrite(tunable: Tunable) -> Tunable {
    Tunable { change: Change::Rewrite, ..tunable }
}

pub static REGISTRY: &[Tunable] = &[
    rewrite(integer(
        "leaf_bytes",
        Scope::Family,
        1 << 10,
        1 << 20,
        8 << 10,
        "bytes",
        "Size at which a leaf page is split: small for point work, large for scans and compression.",
    )),
    integer(
        "delta_records",
        Scope::Family,
        1,
        256,
        16,
        "records",
        "Changes that a leaf gathers before it is rebuilt: more for writing, fewer for reading.",
    ),
    rewrite(Tunable {
        name: "codec",
        scope: Scope::Family,
        kind: Kind::Choice(CODECS),
        default: 2,
        unit: "",
        what: "Compression of pages on disk: none is fastest, zstd smallest.",
        change: Change::Instant,
        tuner: true,
    }),
    rewrite(integer("codec_level", Scope::Family, 1, 19, 1, "", "Effort of the zstd codec.")),
    rewrite(integer(
        "blob_bytes",
        Scope::Family,
        256,
        1 << 20,
        4 << 10,
        "bytes",
        "Values from this size on are kept outside the leaves, in extents of their own.",
    )),
    integer(
        "memory_bytes",
        Scope::Database,
        1 << 20,
        1 << 44,
        1 << 30,
        "bytes",
        "Memory for pages. Above it, leaves that were not used lately are dropped and read again when needed.",
    ),
    integer(
        "checkpoint_log_bytes",
        Scope::Database,
        1 << 20,
        1 << 36,
        256 << 20,
        "bytes",
        "Log since the last checkpoint that starts the next: more for writing, less for a quick recovery.",
    ),
    Tunable {
        tuner: false,
        ..integer(
            "group_interval_ms",
            Scope::Database,
            1,
            60_000,
            50,
            "ms",
            "Longest time that a commit with durability \"group\" is not yet on disk.",
        )
    },
];

impl Tunable {
    pub fn default_value(&self) -> Value {
        self.decode(self.default)
    }

    fn decode(&self, raw: i64) -> Value {
        match self.kind {
            Kind::Integer { .. } => Value::Integer(raw),
            Kind::Choice(names) => Value::Text(names[raw as usize].into()),
        }
    }

    fn encode(&self, value: &Value) -> Result<i64> {
        let refuse = |why: String| Err(Error::Config { name: self.name.into(), why });
        match (self.kind, value) {
            (Kind::Integer { low, high }, Value::Integer(number)) if (low..=high).contains(number) => Ok(*number),
            (Kind::Integer { low, high }, Value::Integer(number)) => {
                refuse(format!("{number} is not between {low} and {high}"))
            }
            (Kind::Integer { .. }, Value::Text(text)) => refuse(format!("{text:?} is not a whole number")),
            (Kind::Choice(names), Value::Text(text)) => match names.iter().position(|name| name == text) {
                Some(position) => Ok(position as i64),
                None => refuse(format!("{text:?} is not one of {}", names.join(", "))),
            },
            (Kind::Choice(names), Value::Integer(number)) => {
                refuse(format!("{number} is not one of {}", names.join(", ")))
            }
        }
    }
}

fn position(name: &str) -> Result<usize> {
    let found = REGISTRY.iter().position(|tunable| tunable.name == name);
    found.ok_or_else(|| Error::Config { name: name.into(), why: "there is no such tunable".into() })
}

/// The values in force for one family, or for the database; read by every thread at any time.
#[derive(Debug)]
pub struct Settings {
    scope: Scope,
    /// Parallel to the registry; values of the other scope are unused.
    values: Vec<AtomicU64>,
    /// Bit i: the i-th value was set by the user, who is not to be overruled.
    pinned: AtomicU64,
    /// Bit i: the i-th value stays in the database; a pinned one that does not is for this opening.
    kept: AtomicU64,
}

pub type FamilySettings = Settings;

impl Settings {
    pub fn new(scope: Scope) -> Settings {
        let values = REGISTRY.iter().map(|tunable| AtomicU64::new(tunable.default as u64)).collect();
        Settings { scope, values, pinned: AtomicU64::new(0), kept: AtomicU64::new(0) }
    }

    /// Checks that all of `changes` may be set here.
    pub fn validate(&self, changes: &[(String, Value)]) -> Result<()> {
        changes.iter().try_for_each(|(name, value)| {
            let tunable = &REGISTRY[position(name)?];
            if tunable.scope != self.scope {
                let why = match tunable.scope {
                    Scope::Database => "it is set for the whole database, not for a family",
                    Scope::Family => "it is set for a family, not for the database",
                };
                return Err(Error::Config { name: name.clone(), why: why.into() });
            }
            tunable.encode(value).map(drop)
        })
    }

    /// Sets, pins and keeps; all or nothing.
    pub fn set(&self, changes: &[(String, Value)]) -> Result<()> {
        self.set_for_now(changes)?;
        for (name, _) in changes {
            self.kept.fetch_or(1 << position(name)?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sets and pins until the database is closed; all or nothing.
    pub fn set_for_now(&self, changes: &[(String, Value)]) -> Result<()> {
        self.validate(changes)?;
        for (name, value) in changes {
            let index = position(name)?;
            self.values[index].store(REGISTRY[index].encode(value)? as u64, Ordering::Relaxed);
            self.pinned.fetch_or(1 << index, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Back to the defaults, not pinned.
    pub fn reset(&self, names: &[String]) -> Result<()> {
        let indexes = names.iter().map(|name| position(name)).collect::<Result<Vec<_>>>()?;
        for index in indexes {
            self.values[index].store(REGISTRY[index].default as u64, Ordering::Relaxed);
            self.pinned.fetch_and(!(1 << index), Ordering::Relaxed);
            self.kept.fetch_and(!(1 << index), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Everything, to be put back by `restore` when a change could not be written down.
    pub fn copy(&self) -> Vec<u64> {
        let marks = [&self.pinned, &self.kept];
        self.values.iter().chain(marks).map(|value| value.load(Ordering::Relaxed)).collect()
    }

    pub fn restore(&self, copy: &[u64]) {
        let marks = [&self.pinned, &self.kept];
        for (value, before) in self.values.iter().chain(marks).zip(copy) {
            value.store(*before, Ordering::Relaxed);
        }
    }

    /// Name, value and whether it is pinned.
    pub fn list(&self) -> Vec<(&'static str, Value, bool)> {
        let pinned = self.pinned.load(Ordering::Relaxed);
        let mine = REGISTRY.iter().enumerate().filter(|(_, tunable)| tunable.scope == self.scope);
        mine.map(|(index, tunable)| (tunable.name, tunable.decode(self.raw(index)), pinned >> index & 1 == 1)).collect()
    }

    /// What the catalogue remembers.
    pub fn kept(&self) -> Vec<(String, Value)> {
        let kept = self.kept.load(Ordering::Relaxed);
        let mine = REGISTRY.iter().enumerate().filter(|(index, _)| kept >> index & 1 == 1);
        mine.map(|(index, tunable)| (tunable.name.into(), tunable.decode(self.raw(index)))).collect()
    }

    /// Makes what is kept exactly this, as a logged catalogue says.
    pub fn keep(&self, settings: &[(String, Value)]) -> Result<()> {
        let gone: Vec<String> = self
            .kept()
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| settings.iter().all(|(other, _)| other != name))
            .collect();
        self.reset(&gone)?;
        self.set(settings)
    }

    #[inline(always)]
    fn raw(&self, index: usize) -> i64 {
        self.values[index].load(Ordering::Relaxed) as i64
    }

    #[inline(always)]
    pub fn leaf_bytes(&self) -> usize {
        self.raw(LEAF_BYTES) as usize
    }

    #[inline(always)]
    pub fn delta_records(&self) -> usize {
        self.raw(DELTA_RECORDS) as usize
    }

    pub fn codec(&self) -> Codec {
        match self.raw(CODEC) {
            0 => Codec::None,
            1 => Codec::Lz4,
            _ => Codec::Zstd(self.raw(CODEC_LEVEL) as i32),
        }
    }

    #[inline(always)]
    pub fn blob_bytes(&self) -> usize {
        self.raw(BLOB_BYTES) as usize
    }

    pub fn memory_bytes(&self) -> u64 {
        self.raw(MEMORY_BYTES) as u64
    }

    pub fn checkpoint_log_bytes(&self) -> u64 {
        self.raw(CHECKPOINT_LOG_BYTES) as u64
    }

    pub fn group_interval_ms(&self) -> u64 {
        self.raw(GROUP_INTERVAL_MS) as u64
    }
}

const LEAF_BYTES: usize = 0;
const DELTA_RECORDS: usize = 1;
const CODEC: usize = 2;
const CODEC_LEVEL: usize = 3;
const BLOB_BYTES: usize = 4;
const MEMORY_BYTES: usize = 5;
const CHECKPOINT_LOG_BYTES: usize = 6;
const GROUP_INTERVAL_MS: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_the_names() {
        let named = [
            (LEAF_BYTES, "leaf_bytes"),
            (DELTA_RECORDS, "delta_records"),
            (CODEC, "codec"),
            (CODEC_LEVEL, "codec_level"),
            (BLOB_BYTES, "blob_bytes"),
            (MEMORY_BYTES, "memory_bytes"),
            (CHECKPOINT_LOG_BYTES, "checkpoint_log_bytes"),
            (GROUP_INTERVAL_MS, "group_interval_ms"),
        ];
        assert_eq!(named.len(), REGISTRY.len());
        for (index, name) in named {
            assert_eq!(position(name).expect("declared"), index);
        }
    }

    #[test]
    fn defaults_are_in_range_and_bad_values_change_nothing() {
        for tunable in REGISTRY {
            assert_eq!(tunable.encode(&tunable.default_value()).expect(tunable.name), tunable.default);
        }
        let settings = Settings::new(Scope::Family);
        let good = ("leaf_bytes".to_string(), Value::Integer(4096));
        for bad in [
            ("leaf_bytes", Value::Integer(0)),
            ("codec", Value::Text("rar".into())),
            ("memory_bytes", Value::Integer(1 << 20)),
            ("no_such", Value::Integer(1)),
            ("codec", Value::Integer(1)),
            ("leaf_bytes", Value::Text("big".into())),
        ] {
            let error = settings.set(&[good.clone(), (bad.0.to_string(), bad.1)]).expect_err(bad.0);
            assert!(matches!(error, Error::Config { name, .. } if name == bad.0));
        }
        assert!(settings.kept().is_empty());
        settings.set(std::slice::from_ref(&good)).expect("in range");
        assert_eq!((settings.leaf_bytes(), settings.kept()), (4096, vec![good]));
        settings.reset(&["leaf_bytes".to_string()]).expect("known");
        assert!(settings.kept().is_empty());
    }
}
