//! What the sketch of accesses says of workloads whose nature is known.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Columns, Database, Family, Options, Range, Resident, Rows};

const KEYS: u32 = 20_000;
const READS: u32 = 60_000;

fn open() -> Database {
    Database::open_on(Arc::new(MemoryDisk::new()), Options::default()).expect("opens")
}

fn key(number: u32) -> Vec<u8> {
    format!("key:{number:08}").into_bytes()
}

fn sense(database: &Database) -> BTreeMap<&'static str, f64> {
    database.sense(true).expect("open").swap_remove(0).1.into_iter().collect()
}

/// A generator of numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % u64::from(limit)) as u32
    }
}

/// Each record's value names another one's key.
fn filled(database: &Database) -> (Family, Vec<u32>) {
    let family = database.default_family();
    let mut numbers = Numbers(1);
    let next: Vec<u32> = (0..KEYS).map(|_| numbers.below(KEYS)).collect();
    let mut batch = Batch::default();
    for (number, next) in next.iter().enumerate() {
        let value = [b"{\"next\": \"".as_slice(), &key(*next), b"\"}"].concat();
        batch.put(&family, &key(number as u32), &value, None).expect("room");
    }
    database.write(batch).expect("room");
    (family, next)
}

/// A database whose accesses are sensed from now on, with numbers to choose them by.
fn sensed(seed: u64) -> (Database, Family, Vec<u32>, Numbers) {
    let database = open();
    let (family, next) = filled(&database);
    sense(&database);
    (database, family, next, Numbers(seed))
}

fn read(family: &Family, number: u32) {
    assert!(matches!(family.get_resident(&key(number), |_| ()), Ok(Resident::Found(()))));
}

#[test]
fn nothing_is_sensed_before_somebody_looks() {
    let database = open();
    let (family, _) = filled(&database);
    (0..READS).for_each(|number| read(&family, number % KEYS));
    let seen = sense(&database);
    assert_eq!((seen["sampled"], seen["gets_found"]), (0.0, f64::from(READS)));
    (0..READS).for_each(|number| read(&family, number % KEYS));
    let seen = sense(&database);
    assert!((300.0..=4_096.0).contains(&seen["sampled"]), "{seen:?}");
    assert_eq!(sense(&database)["sampled"], 0.0, "nothing since");
    database.sense(false).expect("open");
    (0..READS).for_each(|number| read(&family, number % KEYS));
    assert_eq!(sense(&database)["sampled"], 0.0, "it was not to go on");
}

#[test]
fn skew_and_heat_of_reads() {
    let (database, family, _, mut numbers) = sensed(2);
    (0..READS).for_each(|_| read(&family, numbers.below(KEYS)));
    let alike = sense(&database);
    (0..READS).for_each(|_| {
        let hot = numbers.below(10) > 0;
        read(&family, if hot { numbers.below(10) } else { numbers.below(KEYS) });
    });
    let hot = sense(&database);
    assert!(alike["top_16_share"] < 0.02 && hot["top_16_share"] > 0.8, "{alike:?} {hot:?}");
    assert!(alike["distinct_share"] > 0.9 && hot["distinct_share"] < 0.3, "{alike:?} {hot:?}");
    assert!(alike["heat_entropy"] > 0.9 && hot["heat_entropy"] < 0.4, "{alike:?} {hot:?}");
    assert!(hot["reuse_share"] > 0.8 && hot["reuse_median"] < alike["reuse_median"], "{alike:?} {hot:?}");
}

fn dependent(seen: &BTreeMap<&'static str, f64>) -> f64 {
    (seen["reads_dependent"] - seen["reads_by_chance"]) / seen["reads_asked"]
}

#[test]
fn reads_that_follow_the_values_are_told_from_others() {
    let (database, family, next, mut numbers) = sensed(3);
    let mut at = 0;
    for step in 0..READS {
        read(&family, at);
        // Of random successors a path soon leads in a circle.
        at = if step % 8 == 7 { numbers.below(KEYS) } else { next[at as usize] };
    }
    let hops = dependent(&sense(&database));
    (0..READS).for_each(|_| read(&family, numbers.below(KEYS)));
    let others = dependent(&sense(&database));
    (0..READS).for_each(|number| read(&family, number % KEYS));
    let in_order = dependent(&sense(&database));
    assert!(hops > 0.7 && others.abs() < 0.05 && in_order.abs() < 0.05, "{hops} {others} {in_order}");
}

#[test]
fn many_keys_at_once_are_sensed_too() {
    let (database, family, _, mut numbers) = sensed(4);
    let snapshot = database.snapshot().expect("open");
    for _ in 0..READS / 100 {
        let keys: Vec<Vec<u8>> = (0..100).map(|_| key(numbers.below(20))).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        assert!(snapshot.multi_get_resident(&family, &keys, &mut |_, _| ()).expect("open").is_empty());
    }
    let seen = sense(&database);
    assert!(seen["sampled"] > 200.0 && seen["top_16_share"] > 0.6, "{seen:?}");
}

#[test]
fn writes_are_told_apart() {
    let database = open();
    let family = database.default_family();
    sense(&database);
    let share = |seen: &BTreeMap<&str, f64>, name| seen[name] / seen["writes_sampled"];
    for number in 0..KEYS {
        family.put(&key(number), &[1; 50], None).expect("room");
    }
    let seen = sense(&database);
    assert_eq!((share(&seen, "appends_sampled"), share(&seen, "overwrites_sampled")), (1.0, 0.0));
    assert!((0.7..1.4).contains(&(seen["writes_sampled"] / f64::from(KEYS))), "{seen:?}");
    assert!(seen["heat_end_share"] > 0.98, "{seen:?}");

    for number in 0..KEYS {
        family.put(&key(number), &[2; 50], Some(Duration::from_secs(9))).expect("room");
    }
    let seen = sense(&database);
    assert_eq!(share(&seen, "overwrites_sampled"), 1.0);
    assert!(share(&seen, "appends_sampled") < 0.01);
    assert_eq!(seen["puts_expiring"], f64::from(KEYS));

    for step in 0..KEYS / 100 {
        let mut batch = Batch::default();
        for number in 0..100 {
            let behind = key(KEYS + step * 100 + number);
            batch.put(&family, &behind, &[3; 50], Some(Duration::from_secs(9))).expect("room");
        }
        database.write(batch).expect("room");
    }
    let seen = sense(&database);
    assert!(share(&seen, "appends_sampled") > 0.99 && share(&seen, "overwrites_sampled") == 0.0, "{seen:?}");
    assert_eq!(seen["puts_expiring"], f64::from(2 * KEYS));
}

#[test]
fn scans_by_length_and_by_what_they_follow() {
    let database = open();
    let family = database.default_family();
    let mut numbers = Numbers(5);
    let mut batch = Batch::default();
    let edges: Vec<[u32; 2]> = (0..KEYS).map(|from| [from / 4, numbers.below(KEYS / 4)]).collect();
    for (edge, [from, to]) in edges.iter().enumerate() {
        batch.put(&family, format!("{from:06}:{to:06}:{edge}").as_bytes(), b"", None).expect("room");
    }
    database.write(batch).expect("room");
    let snapshot = database.snapshot().expect("open");
    let scan = |from: u32| {
        let range = Range::prefix(format!("{from:06}:").as_bytes());
        let mut cursor = snapshot.cursor(&family, range, false).expect("open");
        cursor.fetch(Columns::Keys, 100, usize::MAX / 2, true, &mut Rows::default()).expect("rows");
    };
    let dependent =
        |seen: &BTreeMap<&str, f64>| (seen["scans_dependent"] - seen["scans_by_chance"]) / seen["scans_asked"].max(1.0);
    sense(&database);
    let mut at = 0;
    for _ in 0..4_000 {
        scan(at);
        at = edges[(at * 4 + numbers.below(4)) as usize][1];
    }
    let hops = sense(&database);
    assert!(dependent(&hops) > 0.8, "{hops:?}");
    assert_eq!([hops["scans_of_1"], hops["scans_of_16"], hops["scans_of_more"]], [0.0, 4_000.0, 0.0]);
    for _ in 0..4_000 {
        scan(numbers.below(KEYS / 4));
    }
    let others = sense(&database);
    assert!(dependent(&others) < 0.2, "{others:?}");
}

#[test]
fn threads_are_sensed_while_somebody_looks() {
    let database = open();
    let (family, _) = filled(&database);
    sense(&database);
    let sampled: f64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let family = &family;
                scope.spawn(move || {
                    let mut numbers = Numbers(worker);
                    for _ in 0..READS {
                        let number = numbers.below(KEYS);
                        match numbers.below(4) {
                            0 => family.put(&key(number), b"value", None).expect("room"),
                            _ => read(family, number),
                        }
                    }
                })
            })
            .collect();
        let mut sampled = 0.0;
        while !workers.iter().all(|worker| worker.is_finished()) {
            let seen = sense(&database);
            sampled += seen["sampled"];
            assert!((0.0..=1.0).contains(&seen["top_16_share"]) && seen["distinct_share"] <= 1.0, "{seen:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        sampled + sense(&database)["sampled"]
    });
    assert!(sampled > f64::from(READS * 3) / 256.0 / 2.0, "{sampled}");
}
