//! How tests of schedules are run, and those that take a whole database:
//! `cargo test --package lyredb-engine --features shuttle,small-pages --lib schedules`.

#[path = "../../tests/common/effort.rs"]
mod effort;

mod closing;
mod commits;
mod leaves;
mod pages;
mod reading_ahead;

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use crate::disk::MemoryDisk;
use crate::sync;
use crate::tunables::Value;
use crate::{Database, Durability, Family, Options};

/// Switches at the worst places, in half of the schedules.
const SWITCHES: usize = 3;
/// A thread's; a test is over when it has gone through all.
const STACK_BYTES: usize = 256 << 10;

/// Runs `test` in so many schedules, some with switches anywhere, some with few of them at the worst places.
pub fn explore(schedules: u64, test: impl Fn() + Send + Sync + Clone + 'static) {
    let half = effort::scaled(schedules / 2);
    run(RandomScheduler::new(half as usize), test.clone());
    run(PctScheduler::new(SWITCHES, half as usize), test);
    effort::tally("schedules", 2 * half);
}

fn run(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || {
        sync::begin();
        test();
        sync::end();
    });
}

/// A new database whose leaves split and whose deltas are full after a few records.
fn database(durability: Durability) -> (Database, MemoryDisk) {
    let disk = MemoryDisk::new();
    (open(&disk, durability), disk)
}

fn open(disk: &MemoryDisk, durability: Durability) -> Database {
    let settings = [("leaf_bytes", 1 << 10), ("delta_records", 2), ("blob_bytes", 256)];
    let mut settings: Vec<_> = settings.map(|(name, value)| (name.to_string(), Value::Integer(value))).into();
    settings.push(("codec".into(), Value::Text("none".into())));
    let options = Options { durability, settings, ..Options::default() };
    Database::open_on(Arc::new(disk.clone()), options).expect("the disk has no faults")
}

fn value(number: u64) -> Vec<u8> {
    value_of(number, 100)
}

fn value_of(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = vec![0; bytes];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

fn number_in(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().expect("it is longer"))
}

/// 0 where there is none.
fn get(family: &Family, key: &[u8]) -> u64 {
    family.get(key, number_in).expect("it is open and the disk has no faults").unwrap_or(0)
}
