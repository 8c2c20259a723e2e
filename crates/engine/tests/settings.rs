//! What is in force when several have set the same tunable, and that a refused change changes nothing.

mod common;

use common::{figure, open, setting};
use lyredb_engine::disk::{Fault, MemoryDisk, Operation};
use lyredb_engine::tunables::Value;
use lyredb_engine::{DEFAULT_FAMILY, Database, Durability, Error, Options};

const ENOSPC: i32 = 28;
const DEFAULT_LEAF: u64 = 8192;

fn given(leaf_bytes: u64) -> Options {
    Options { settings: vec![setting("leaf_bytes", leaf_bytes)], ..Options::default() }
}

fn in_force(database: &Database, family: Option<&str>, name: &str) -> (u64, bool) {
    let settings = database.settings(family).expect("settings");
    match settings.into_iter().find(|(known, ..)| *known == name) {
        Some((_, Value::Integer(number), pinned)) => (number as u64, pinned),
        other => panic!("{name}: {other:?}"),
    }
}

/// The `leaf_bytes` of a family, and whether somebody set it.
fn leaf(database: &Database, family: &str) -> (u64, bool) {
    in_force(database, Some(family), "leaf_bytes")
}

fn set_leaf(database: &Database, family: Option<&str>, bytes: u64) {
    database.configure(family, &[setting("leaf_bytes", bytes)]).expect("a setting");
}

fn reset_leaf(database: &Database, family: Option<&str>) {
    database.reset(family, &["leaf_bytes".into()]).expect("a reset");
}

#[test]
fn what_is_set_without_a_family_holds_for_families_of_now_and_of_later() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &Options::default());
    database.create_family("before", &[]).expect("a family");
    database.create_family("own", &[setting("leaf_bytes", 2048)]).expect("a family");
    set_leaf(&database, None, 4096);
    database.create_family("after", &[]).expect("a family");
    let expected = |database: &Database| {
        for family in [DEFAULT_FAMILY, "before", "after"] {
            assert_eq!(leaf(database, family), (4096, true), "{family}");
        }
        assert_eq!(leaf(database, "own"), (2048, true), "its own goes before");
    };
    expected(&database);
    // From the log, then from the page file.
    database.sync().expect("a sync");
    let killed = open(&disk.image(), &Options::default());
    expected(&killed);
    killed.create_family("later", &[]).expect("a family");
    assert_eq!(leaf(&killed, "later"), (4096, true));
    database.close().expect("closes");
    let database = open(&disk, &Options::default());
    expected(&database);
    database.create_family("later", &[]).expect("a family");
    assert_eq!(leaf(&database, "later"), (4096, true));
    reset_leaf(&database, None);
    assert_eq!(leaf(&database, "later"), (DEFAULT_LEAF, false));
    assert_eq!(leaf(&database, "own"), (2048, true));
    reset_leaf(&database, Some("own"));
    assert_eq!(leaf(&database, "own"), (DEFAULT_LEAF, false));
}

#[test]
fn a_reset_goes_back_to_what_open_was_given() {
    let disk = MemoryDisk::new();
    let mut options = given(2048);
    options.settings.push(setting("memory_bytes", 64 << 20));
    let database = open(&disk, &options);
    database.create_family("one", &[setting("leaf_bytes", 4096)]).expect("a family");
    reset_leaf(&database, Some("one"));
    assert_eq!(leaf(&database, "one"), (2048, true));
    database.configure(None, &[setting("memory_bytes", 32 << 20), setting("leaf_bytes", 1024)]).expect("settings");
    assert_eq!(figure(&database, "memory_budget"), 32 << 20, "what was said last goes first");
    assert_eq!(leaf(&database, "one"), (1024, true));
    database.reset(None, &["memory_bytes".into(), "leaf_bytes".into()]).expect("a reset");
    assert_eq!(figure(&database, "memory_budget"), 64 << 20);
    assert_eq!(in_force(&database, None, "memory_bytes"), (64 << 20, true));
    assert_eq!(leaf(&database, "one"), (2048, true));
    database.close().expect("closes");
    let database = open(&disk, &Options::default());
    assert_eq!(in_force(&database, None, "memory_bytes"), (1 << 30, false), "it was for that opening");
    assert_eq!(leaf(&database, "one"), (DEFAULT_LEAF, false));
}

/// A family's settings in the page file are taken back by the log: opening goes the same way as it went then.
#[test]
fn a_reset_that_is_replayed_goes_back_to_what_open_was_given() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &Options::default());
    database.create_family("one", &[setting("leaf_bytes", 4096)]).expect("a family");
    database.configure(None, &[setting("memory_bytes", 32 << 20)]).expect("a setting");
    database.checkpoint().expect("a checkpoint");
    reset_leaf(&database, Some("one"));
    database.reset(None, &["memory_bytes".into()]).expect("a reset");
    database.sync().expect("a sync");
    let mut options = given(2048);
    options.settings.push(setting("memory_bytes", 64 << 20));
    let killed = open(&disk.image(), &options);
    assert_eq!(leaf(&killed, "one"), (2048, true));
    assert_eq!(in_force(&killed, None, "memory_bytes"), (64 << 20, true));
}

#[test]
fn what_open_is_given_goes_before_what_is_kept_without_a_family() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &Options::default());
    database.create_family("own", &[setting("leaf_bytes", 4096)]).expect("a family");
    set_leaf(&database, None, 1024);
    database.close().expect("closes");
    let database = open(&disk, &given(2048));
    assert_eq!(leaf(&database, DEFAULT_FAMILY), (2048, true));
    assert_eq!(leaf(&database, "own"), (4096, true));
    database.close().expect("closes");
    let database = open(&disk, &Options::default());
    assert_eq!(leaf(&database, DEFAULT_FAMILY), (1024, true), "given to one opening, it has not taken its place");
}

fn all_settings(database: &Database) -> Vec<Vec<(&'static str, Value, bool)>> {
    [None, Some(DEFAULT_FAMILY), Some("one")].map(|family| database.settings(family).expect("settings")).to_vec()
}

#[test]
fn a_refused_change_of_settings_changes_nothing() {
    type Change = fn(&Database) -> Result<(), Error>;
    const CHANGES: [Change; 4] = [
        |database| database.configure(None, &[setting("memory_bytes", 16 << 20), setting("leaf_bytes", 1024)]),
        |database| database.configure(Some("one"), &[setting("leaf_bytes", 1024), setting("delta_records", 9)]),
        |database| database.reset(None, &["memory_bytes".into(), "delta_records".into()]),
        |database| database.reset(Some("one"), &["leaf_bytes".into()]),
    ];
    for durability in [Durability::Async, Durability::Group, Durability::Sync] {
        for (number, change) in CHANGES.into_iter().enumerate() {
            let disk = MemoryDisk::new();
            let options = Options { durability, settings: vec![setting("delta_records", 7)], ..Options::default() };
            let database = open(&disk, &options);
            database.create_family("one", &[setting("leaf_bytes", 4096)]).expect("a family");
            database.configure(None, &[setting("memory_bytes", 32 << 20), setting("delta_records", 8)]).expect("room");
            let before = all_settings(&database);
            for operation in [Operation::Write, Operation::SetLength] {
                disk.fail_next(operation, u64::MAX, Fault::Raw(ENOSPC));
            }
            if durability != Durability::Sync {
                // What is in memory only cannot be refused; so something else has to wait for the disk already.
                database.default_family().put(b"key", b"value", None).expect("there is room in memory");
                database.sync().expect_err("the disk is full");
            }
            let refused = change(&database);
            let what = format!("change {number} with {durability:?}");
            assert!(matches!(refused, Err(Error::Io { .. })), "{what}: {refused:?}");
            assert_eq!(all_settings(&database), before, "{what}");
            assert_eq!(figure(&database, "memory_budget"), 32 << 20, "{what}");
            disk.heal();
            if durability == Durability::Sync {
                // Whether it got to the disk is not known, so nothing goes on until the database is opened again.
                assert!(matches!(change(&database), Err(Error::Poisoned { .. })), "{what}");
                assert_eq!(all_settings(&database), before, "{what}");
                continue;
            }
            database.close().expect("closes");
            let database = open(&disk, &Options { settings: Vec::new(), ..options.clone() });
            assert_eq!(leaf(&database, "one"), (4096, true), "{what}");
            assert_eq!(in_force(&database, None, "memory_bytes"), (32 << 20, true), "{what}");
            change(&database).expect("there is room again");
            assert_ne!(all_settings(&database), before, "{what}");
        }
    }
}
