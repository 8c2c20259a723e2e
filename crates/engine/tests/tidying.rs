//! What heavy writing leaves behind in the folder is given back once it is quiet, and by closing.

mod common;

use std::time::{Duration, Instant};

use common::{Random, assert_sound, content, figure, open, setting};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Database, Durability, Options};

const KEYS: u64 = 20_000;
/// A folder may always take so much more than the slack.
const TRIFLE_BYTES: u64 = 4 << 20;

fn options() -> Options {
    // Checkpoints only where the test asks for them, and where it is quiet.
    let settings = vec![setting("checkpoint_log_bytes", 1 << 36)];
    Options { durability: Durability::Async, settings, ..Options::default() }
}

/// All records anew, with values of which no codec makes less.
fn replace_all(database: &Database, seed: u64) {
    let (family, mut random) = (database.default_family(), Random(seed));
    for first in (0..KEYS).step_by(500) {
        let mut batch = Batch::default();
        for key in first..first + 500 {
            let value: Vec<u8> = (0..125).flat_map(|_| random.next().to_le_bytes()).collect();
            batch.put(&family, &key.to_be_bytes(), &value, None).expect("a put");
        }
        database.write(batch).expect("a commit");
    }
}

fn folder_bytes(database: &Database) -> u64 {
    figure(database, "file_size") + figure(database, "log_size")
}

fn assert_takes_soon(database: &Database, most: u64) {
    let limit = Instant::now() + Duration::from_secs(60);
    while folder_bytes(database) > most {
        let takes = folder_bytes(database);
        assert!(Instant::now() < limit, "{takes} bytes are still taken, not {most}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_quiet_moment_gives_back_the_log_and_what_is_free() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &options());
    for round in 0..3 {
        replace_all(&database, round);
        database.checkpoint().expect("a checkpoint");
    }
    replace_all(&database, 3);
    let (takes, live) = (folder_bytes(&database), KEYS * 1008);
    assert!(takes > 2 * live, "{takes} bytes for {live} leave nothing to tidy");
    let before = content(&database, &database.default_family());
    assert_takes_soon(&database, live / 4 * 5 + TRIFLE_BYTES);
    assert!(content(&database, &database.default_family()) == before);
    assert_sound(&database);
    // And again, for less: deleting leaves more behind than writing does.
    database.default_family().delete_range(Some(&(KEYS / 8).to_be_bytes()), None).expect("a deletion");
    database.checkpoint().expect("a checkpoint");
    assert_takes_soon(&database, live / 8 / 4 * 5 + TRIFLE_BYTES);
    assert_sound(&database);
    let killed = open(&disk.image(), &options());
    assert_eq!(content(&killed, &killed.default_family()).len() as u64, KEYS / 8);
}

/// Long values, which have their own places in the file until nobody can read them.
#[test]
fn what_a_snapshot_held_back_is_given_back_once_it_is_closed() {
    let database = open(&MemoryDisk::new(), &options());
    let family = database.default_family();
    let put_all = |length| {
        for key in 0..100u64 {
            family.put(&key.to_be_bytes(), &common::noise(length, key), None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
    };
    put_all(200_000);
    let snapshot = database.snapshot().expect("a snapshot");
    put_all(10);
    // It is seen to, and in vain, while the snapshot is open.
    std::thread::sleep(Duration::from_secs(4));
    assert!(folder_bytes(&database) > 100 * 200_000);
    assert!(snapshot.get(&family, &7u64.to_be_bytes(), <[u8]>::len).expect("a read") == Some(200_000));
    drop(snapshot);
    assert_takes_soon(&database, TRIFLE_BYTES);
    assert_sound(&database);
}

#[test]
fn the_slack_is_for_the_user_to_choose() {
    let database = open(&MemoryDisk::new(), &options());
    database.configure(None, &[setting("slack_percent", 100_000)]).expect("a setting");
    for round in 0..3 {
        replace_all(&database, round);
        database.checkpoint().expect("a checkpoint");
    }
    let takes = folder_bytes(&database);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(folder_bytes(&database), takes, "nothing is given back within the slack");
    database.configure(None, &[setting("slack_percent", 10)]).expect("a setting");
    assert_takes_soon(&database, KEYS * 1008 / 10 * 11 + TRIFLE_BYTES);
}

#[test]
fn closing_leaves_no_more_than_the_slack() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &options());
    for round in 0..3 {
        replace_all(&database, round);
        database.checkpoint().expect("a checkpoint");
    }
    let before = content(&database, &database.default_family());
    database.close().expect("a close");
    let bytes: usize = lyredb_engine::disk::Disk::list(&disk)
        .expect("names")
        .iter()
        .filter_map(|name| disk.get(name))
        .map(|file| file.len())
        .sum();
    let live = KEYS as usize * 1008;
    assert!(bytes < live * 3 / 2, "{bytes} bytes for {live} of records");
    let database = open(&disk, &options());
    assert!(content(&database, &database.default_family()) == before);
    assert_sound(&database);
}
