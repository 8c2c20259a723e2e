//! The one registry of tunables: every knob is declared here, and presets, validation, the tuner's search space, the
//! docs and the command line all read it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::pagefile::Codec;
use crate::replacement::Policy;
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
const WARM_CODECS: &[&str] = &["stored", "none", "lz4", "zstd"];
const POLICIES: &[&str] = &["adaptive", "s3-fifo", "sieve", "second-chance"];
const SWITCH: &[&str] = &["off", "on"];

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
        "hot_bytes",
        Scope::Database,
        -1,
        1 << 44,
        -1,
        "bytes",
        "Of memory_bytes, for leaves that are read in place. -1: what the others leave.",
    ),
    integer(
        "warm_bytes",
        Scope::Database,
        -1,
        1 << 44,
        -1,
        "bytes",
        "Of memory_bytes, for leaves kept compressed: pays where they compress well. -1: as tiering plans it.",
    ),
    integer(
        "point_cache_bytes",
        Scope::Database,
        -1,
        1 << 44,
        -1,
        "bytes",
        "Of memory_bytes, for single records of leaves on disk: pays for skewed point reads. -1: as tiering plans it.",
    ),
    Tunable {
        name: "warm_codec",
        scope: Scope::Family,
        kind: Kind::Choice(WARM_CODECS),
        default: 0,
        unit: "",
        what: "Compression of leaves kept warm: stored leaves them as they are on disk, lz4 is unpacked fastest.",
        change: Change::Instant,
        tuner: true,
    },
    Tunable {
        name: "replacement",
        scope: Scope::Database,
        kind: Kind::Choice(POLICIES),
        default: 0,
        unit: "",
        what: "Which of the leaves in memory goes first when it is full.",
        change: Change::Instant,
        tuner: true,
    },
    Tunable {
        name: "absent_filter",
        scope: Scope::Family,
        kind: Kind::Choice(SWITCH),
        default: 1,
        unit: "",
        what: "Whether leaves on disk that were asked for a key they do not hold keep two bytes of each key in memory, \
               so that the next such question takes no disk.",
        change: Change::Instant,
        tuner: true,
    },
    integer(
        "readahead_bytes",
        Scope::Family,
        0,
        1 << 24,
        256 << 10,
        "bytes",
        "How far ahead of a long scan leaves on disk are read, before compression: the scan waits less. 0: not at all.",
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
    Tunable {
        tuner: false,
        ..integer(
            "held_back_bytes",
            Scope::Database,
            1 << 20,
            1 << 44,
            64 << 20,
            "bytes",
            "Old versions that a snapshot may keep in memory before a warning is logged that names it.",
        )
    },
    Tunable {
        tuner: false,
        ..integer(
            "slack_percent",
            Scope::Database,
            5,
            100_000,
            25,
            "%",
            "Space that the folder may take beyond what its records need: above it, quiet moments are used to give some back.",
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

/// What users chose for one tunable.
#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    /// Stays in the database: set for a family, or without one for all that set no value of their own.
    kept: Option<i64>,
    /// Was given to `open`, and holds until the database is closed.
    given: Option<i64>,
    /// `kept` was set since the opening, so that it is what the user said last.
    is_newer: bool,
    /// What automatic tuning found, for as long as the database is open.
    tuned: Option<i64>,
}

impl Choice {
    fn value(&self) -> Option<i64> {
        if self.is_newer { self.kept.or(self.given) } else { self.given.or(self.kept) }
    }

    fn without_kept(&self) -> Choice {
        Choice { kept: None, is_newer: false, ..*self }
    }
}

/// The values in force for one family, or for the database; read by every thread at any time.
///
/// A family's own value goes before those of the database, where what was said last goes first: set without a family
/// since the opening, given to `open`, kept from before. If there is none of these it is what was tuned, a family's own
/// before the database's, and else the registry's default.
#[derive(Debug)]
pub struct Settings {
    scope: Scope,
    /// The database's, for a family: they hold what it does not set itself.
    above: Option<Arc<Settings>>,
    /// Parallel to the registry.
    choices: Mutex<Vec<Choice>>,
    /// What follows from the choices, for who needs it at once. Parallel to the registry; of values of the other scope
    /// the database has those of families that set none, and a family nothing of use.
    values: Vec<AtomicU64>,
}

pub type FamilySettings = Settings;

/// The choices of one moment, to be put back when a change could not be written down.
pub struct Copy(Vec<Choice>);

impl Settings {
    pub fn of_database() -> Settings {
        Settings::new(Scope::Database, None)
    }

    pub fn of_family(database: &Arc<Settings>) -> Settings {
        Settings::new(Scope::Family, Some(Arc::clone(database)))
    }

    fn new(scope: Scope, above: Option<Arc<Settings>>) -> Settings {
        let values = REGISTRY.iter().map(|tunable| AtomicU64::new(tunable.default as u64)).collect();
        let settings = Settings { scope, above, choices: Mutex::new(vec![Choice::default(); REGISTRY.len()]), values };
        settings.refresh();
        settings
    }

    /// The one place that says which choice of users goes before which; `None`: nobody chose.
    fn chosen(&self, index: usize) -> Option<i64> {
        let own = self.choices.lock()[index].value();
        own.or_else(|| self.above.as_ref()?.chosen(index))
    }

    fn tuned(&self, index: usize) -> Option<i64> {
        let own = self.choices.lock()[index].tuned;
        own.or_else(|| self.above.as_ref()?.tuned(index))
    }

    /// Brings the values up to date with the choices; a family's, when the database's have changed.
    pub fn refresh(&self) {
        for (index, tunable) in REGISTRY.iter().enumerate() {
            let value = self.chosen(index).or_else(|| self.tuned(index)).unwrap_or(tunable.default);
            self.values[index].store(value as u64, Ordering::Relaxed);
        }
    }

    /// Where `name` is, if it may be set here: for the database all may.
    fn index(&self, name: &str) -> Result<usize> {
        let index = position(name)?;
        if self.scope == Scope::Family && REGISTRY[index].scope == Scope::Database {
            let why = "it is set for the whole database, not for a family".into();
            return Err(Error::Config { name: name.into(), why });
        }
        Ok(index)
    }

    fn encode(&self, settings: &[(String, Value)]) -> Result<Vec<(usize, i64)>> {
        let encode = |(name, value): &(String, Value)| {
            let index = self.index(name)?;
            Ok((index, REGISTRY[index].encode(value)?))
        };
        settings.iter().map(encode).collect()
    }

    fn choose(&self, change: impl FnOnce(&mut [Choice])) {
        change(&mut self.choices.lock());
        self.refresh();
    }

    /// Sets and keeps; all or nothing.
    pub fn set(&self, changes: &[(String, Value)]) -> Result<()> {
        let changes = self.encode(changes)?;
        self.choose(|choices| {
            for (index, value) in changes {
                choices[index] = Choice { kept: Some(value), is_newer: true, ..choices[index] };
            }
        });
        Ok(())
    }

    /// What `open` was given; all or nothing.
    pub fn give(&self, settings: &[(String, Value)]) -> Result<()> {
        let settings = self.encode(settings)?;
        self.choose(|choices| settings.into_iter().for_each(|(index, value)| choices[index].given = Some(value)));
        Ok(())
    }

    /// Makes what is tuned exactly this; all or nothing. Whatever a user chose goes before it.
    pub fn tune(&self, settings: &[(String, Value)]) -> Result<()> {
        let settings = self.encode(settings)?;
        if let Some(&(index, _)) = settings.iter().find(|(index, _)| !REGISTRY[*index].tuner) {
            let why = "it changes what a program can observe, so that only its user may set it".into();
            return Err(Error::Config { name: REGISTRY[index].name.into(), why });
        }
        self.choose(|choices| {
            choices.iter_mut().for_each(|choice| choice.tuned = None);
            settings.into_iter().for_each(|(index, value)| choices[index].tuned = Some(value));
        });
        Ok(())
    }

    /// Forgets what `set` set; what was given to `open` holds again. All or nothing.
    pub fn reset(&self, names: &[String]) -> Result<()> {
        let indexes = names.iter().map(|name| self.index(name)).collect::<Result<Vec<_>>>()?;
        self.choose(|choices| {
            for index in indexes {
                choices[index] = choices[index].without_kept();
            }
        });
        Ok(())
    }

    pub fn copy(&self) -> Copy {
        Copy(self.choices.lock().clone())
    }

    pub fn restore(&self, copy: Copy) {
        self.choose(|choices| choices.copy_from_slice(&copy.0));
    }

    /// Name, value in force, and whether a user chose it, here or for the whole database.
    pub fn list(&self) -> Vec<(&'static str, Value, bool)> {
        let mine = REGISTRY.iter().enumerate().filter(|(_, tunable)| tunable.scope == self.scope);
        mine.map(|(index, tunable)| (tunable.name, tunable.decode(self.raw(index)), self.chosen(index).is_some()))
            .collect()
    }

    /// What the catalogue remembers.
    pub fn kept(&self) -> Vec<(String, Value)> {
        let choices = self.choices.lock();
        let kept = REGISTRY.iter().zip(&*choices).filter_map(|(tunable, choice)| Some((tunable, choice.kept?)));
        kept.map(|(tunable, value)| (tunable.name.into(), tunable.decode(value))).collect()
    }

    /// Makes what is kept exactly this, as a catalogue from before the opening says.
    pub fn keep(&self, settings: &[(String, Value)]) -> Result<()> {
        let settings = self.encode(settings)?;
        self.choose(|choices| {
            choices.iter_mut().for_each(|choice| *choice = choice.without_kept());
            settings.into_iter().for_each(|(index, value)| choices[index].kept = Some(value));
        });
        Ok(())
    }

    /// Whether `keep` would take them.
    pub fn can_keep(&self, settings: &[(String, Value)]) -> bool {
        self.encode(settings).is_ok()
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

    /// `None`: as planned.
    pub fn hot_bytes(&self) -> Option<u64> {
        u64::try_from(self.raw(HOT_BYTES)).ok()
    }

    /// `None`: as planned.
    pub fn warm_bytes(&self) -> Option<u64> {
        u64::try_from(self.raw(WARM_BYTES)).ok()
    }

    /// `None`: as planned.
    pub fn point_cache_bytes(&self) -> Option<u64> {
        u64::try_from(self.raw(POINT_CACHE_BYTES)).ok()
    }

    /// Of what is compressed to be kept warm; what comes from disk stays as it is there unless this names another.
    pub fn warm_codec(&self) -> Codec {
        match self.raw(WARM_CODEC) {
            0 => self.codec(),
            1 => Codec::None,
            2 => Codec::Lz4,
            _ => Codec::Zstd(self.raw(CODEC_LEVEL) as i32),
        }
    }

    pub fn replacement(&self) -> Policy {
        match self.raw(REPLACEMENT) {
            0 => Policy::Adaptive,
            1 => Policy::S3Fifo,
            2 => Policy::Sieve,
            _ => Policy::SecondChance,
        }
    }

    pub fn absent_filter(&self) -> bool {
        self.raw(ABSENT_FILTER) == 1
    }

    pub fn readahead_bytes(&self) -> usize {
        self.raw(READAHEAD_BYTES) as usize
    }

    pub fn checkpoint_log_bytes(&self) -> u64 {
        self.raw(CHECKPOINT_LOG_BYTES) as u64
    }

    pub fn group_interval_ms(&self) -> u64 {
        self.raw(GROUP_INTERVAL_MS) as u64
    }

    pub fn held_back_bytes(&self) -> u64 {
        self.raw(HELD_BACK_BYTES) as u64
    }

    pub fn slack_percent(&self) -> u64 {
        self.raw(SLACK_PERCENT) as u64
    }
}

const LEAF_BYTES: usize = 0;
const DELTA_RECORDS: usize = 1;
const CODEC: usize = 2;
const CODEC_LEVEL: usize = 3;
const BLOB_BYTES: usize = 4;
const MEMORY_BYTES: usize = 5;
const HOT_BYTES: usize = 6;
const WARM_BYTES: usize = 7;
const POINT_CACHE_BYTES: usize = 8;
const WARM_CODEC: usize = 9;
const REPLACEMENT: usize = 10;
const ABSENT_FILTER: usize = 11;
const READAHEAD_BYTES: usize = 12;
const CHECKPOINT_LOG_BYTES: usize = 13;
const GROUP_INTERVAL_MS: usize = 14;
const HELD_BACK_BYTES: usize = 15;
const SLACK_PERCENT: usize = 16;
