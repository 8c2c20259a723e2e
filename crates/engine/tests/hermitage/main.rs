//! Which anomalies each level of isolation prevents: the table in `docs/isolation.md`, tried in all orders of the steps of
//! each scenario, and with threads.

#[path = "../common/mod.rs"]
mod common;

mod orders;
mod outcome;
mod scenarios;
mod stage;

use std::collections::BTreeMap;

use common::{Random, scaled, tally};
use orders::{is_serial, orders};
use scenarios::{SCENARIOS, Scenario};
use stage::{Arrangement, Level, Stage};

const LEVELS: [Level; 3] = [Level::Plain, Level::Snapshot, Level::Serializable];
/// Orders at most with the first arrangement, even for a quick look, and with each other one.
const ORDERS: [u64; 2] = [1000, 60];
const BY_THREADS: u64 = 100;

/// By anomaly: whether it is possible, at each level.
fn documented() -> BTreeMap<String, [bool; 3]> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/isolation.md");
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut table = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, levels @ ..] = cells.as_slice() else { continue };
        let possible = |cell: &&str| match *cell {
            "possible" => Some(true),
            "prevented" => Some(false),
            _ => None,
        };
        let levels: Option<Vec<bool>> = levels.iter().map(possible).collect();
        if let Some(Ok(levels)) = levels.map(<[bool; 3]>::try_from) {
            assert!(table.insert(name.to_string(), levels).is_none(), "{name} is there twice");
        }
    }
    table
}

#[test]
fn the_table_has_the_ten_anomalies() {
    let mut tried: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.anomaly).collect();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 10);
    assert_eq!(documented().keys().map(String::as_str).collect::<Vec<_>>(), tried);
}

struct Tried {
    interleavings: u64,
    happened: u64,
}

/// All arrangements, and in each of them many orders.
fn try_orders(scenario: &Scenario, level: Level) -> Tried {
    let steps: Vec<usize> = scenario.transactions.iter().map(|steps| steps.len()).collect();
    let all = orders(&steps, scaled(ORDERS[0]).max(ORDERS[0]) as usize);
    let mut random = Random(all.len() as u64);
    let mut tried = Tried { interleavings: 0, happened: 0 };
    for (number, arrangement) in Arrangement::all().into_iter().enumerate() {
        let mut chosen: Vec<&Vec<usize>> = all.iter().collect();
        if number > 0 {
            for at in (1..chosen.len()).rev() {
                chosen.swap(at, random.below(at as u64 + 1) as usize);
            }
            chosen.truncate(scaled(ORDERS[1]) as usize);
        }
        let stage = Stage::new(level, arrangement, chosen.len() as u32);
        for (run, order) in chosen.iter().enumerate() {
            let outcome = stage.run(scenario, run as u32, order);
            let happened = (scenario.happened)(&outcome);
            tried.interleavings += 1;
            tried.happened += u64::from(happened);
            if is_serial(order) {
                let what = (scenario.anomaly, scenario.variant, level, arrangement, order, &outcome);
                assert!(!happened, "one after the other: {what:?}");
                let met = outcome
                    .transactions
                    .iter()
                    .zip(scenario.transactions)
                    .any(|(done, steps)| !done.committed && matches!(steps.last(), Some(scenarios::Step::Commit)));
                assert!(!met, "a conflict with nobody: {what:?}");
            }
        }
        stage.end();
    }
    tried
}

fn try_threads(scenario: &Scenario, level: Level, arrangement: Arrangement) -> Tried {
    let mut random = Random(3);
    let runs = scaled(BY_THREADS);
    let stage = Stage::new(level, arrangement, runs as u32);
    let happened = (0..runs).filter(|&run| (scenario.happened)(&stage.run_threads(scenario, run as u32, &mut random)));
    let happened = happened.count() as u64;
    stage.end();
    Tried { interleavings: runs, happened }
}

#[test]
fn levels_prevent_what_the_table_says() {
    let documented = documented();
    let mut arrangements = Arrangement::all().into_iter().cycle();
    for scenario in SCENARIOS {
        for (level, possible) in LEVELS.into_iter().zip(documented[scenario.anomaly]) {
            let what = format!("{} ({}) at {level:?}", scenario.anomaly, scenario.variant);
            let in_order = try_orders(scenario, level);
            assert!(in_order.interleavings >= scaled(1000), "{what}: {} interleavings", in_order.interleavings);
            assert_eq!(in_order.happened > 0, possible, "{what}: {} times", in_order.happened);
            let by_threads = try_threads(scenario, level, arrangements.next().expect("a cycle has no end"));
            assert!(possible || by_threads.happened == 0, "{what}: {} times by threads", by_threads.happened);
            let interleavings = in_order.interleavings + by_threads.interleavings;
            println!("{what}: {} times in {interleavings}", in_order.happened + by_threads.happened);
            tally("interleavings", interleavings);
        }
    }
}
