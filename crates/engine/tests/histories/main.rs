//! Isolation, proven by histories: threads append to lists and read them in transactions, and what they saw is checked for
//! every anomaly that the level forbids.

#[path = "../common/mod.rs"]
mod common;

mod anomalies;
mod by_hand;
mod dependencies;
mod graph;
mod history;
#[path = "../common/unrest.rs"]
mod unrest;
mod workload;

use std::time::Instant;

use anomalies::{Class, Level, Name, Order, anomalies};
use common::{scaled, tally};
use lyredb_engine::Durability;
use workload::{Setup, Stage};

/// Runs and checks; whether there was write skew by what was read and written alone.
fn has_write_skew(setup: &Setup) -> bool {
    let level = if setup.serializable { Level::Serializable } else { Level::Snapshot };
    let begun = Instant::now();
    let (history, conflicts) = Stage::run(setup);
    let ran = begun.elapsed();
    let found = anomalies(&history);
    for anomaly in found.iter().filter(|anomaly| level.forbids(anomaly.name)).take(5) {
        println!("{}", anomaly.name);
        for transaction in &anomaly.transactions {
            println!("    {}", history.describe(*transaction).expect("text"));
        }
    }
    let forbidden = found.iter().filter(|anomaly| level.forbids(anomaly.name)).count();
    assert_eq!(forbidden, 0, "at level {level:?} with {:?}", setup.durability);
    let committed = history.committed() as u64;
    println!(
        "{level:?}, {:?}: {committed} commits of {}, {conflicts} conflicts, {} operations; {:.1} s, and {:.1} s to check",
        setup.durability,
        history.transactions.len(),
        history.operations.len(),
        ran.as_secs_f64(),
        (begun.elapsed() - ran).as_secs_f64(),
    );
    assert!(committed >= setup.commits && conflicts * 200 > committed, "the sessions hardly met each other");
    tally("transactions checked", committed);
    found.iter().any(|anomaly| anomaly.name == Name::Cycle(Class::G2Item, Order::Data))
}

fn setups(serializable: bool) -> impl Iterator<Item = Setup> {
    [
        (Durability::Async, false, 4, true),
        (Durability::Group, true, 4, true),
        (Durability::Sync, true, 4, true),
        (Durability::Async, true, 8, false),
    ]
    .into_iter()
    .map(move |(durability, tiny, sessions, clock)| Setup {
        serializable,
        durability,
        tiny,
        sessions,
        clock,
        commits: scaled(126_000),
    })
}

#[test]
fn snapshot_isolation_shows_no_anomaly_but_write_skew() {
    for setup in setups(false) {
        assert!(has_write_skew(&setup), "not one write skew: it was not a trial");
    }
}

#[test]
fn serializable_transactions_are_as_if_one_after_the_other_in_real_time() {
    for setup in setups(true) {
        assert!(!has_write_skew(&setup));
    }
}
