//! Power cuts and failing disks: what was acknowledged as durable is there afterwards, nothing is there by halves.
//!
//! `LYREDB_TEST_EFFORT=10` makes ten times as many images as by default.

mod common;

#[path = "common/recorder.rs"]
mod recorder;
#[path = "common/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Model, Random, assert_sound, content_at, effort, tiny};
use lyredb_engine::disk::{Disk, Fault, MemoryDisk, Operation};
use lyredb_engine::{Clock, Database, Durability, Error, Options};
use recorder::{Loss, Recorder, Replay};
use workload::{Content, Mix, START_MS, Step, steps};

/// Where in the recording a step began and was acknowledged, and the content after it.
struct Mark {
    begun: usize,
    done: usize,
    durable: bool,
    after: Content,
    now: u64,
}

fn options(durability: Durability, now: &Arc<AtomicU64>) -> Options {
    Options { clock: Clock::Manual(Arc::clone(now)), ..tiny(durability) }
}

/// All that can be seen, by family.
fn seen(database: &Database) -> BTreeMap<String, Model> {
    let snapshot = database.snapshot().expect("a snapshot");
    let names = database.families().expect("names");
    let family = |name: &str| database.family(name).expect("open").expect("it is listed");
    names.into_iter().map(|name| (name.clone(), content_at(&snapshot, &family(&name)))).collect()
}

/// Runs the steps on a recorder.
fn record(steps: &[Step], durability: Durability) -> (Recorder, Vec<Mark>) {
    let recorder = Recorder::default();
    let now = Arc::new(AtomicU64::new(START_MS));
    let open = || common::open_on(Arc::new(recorder.clone()), &options(durability, &now));
    let mut after = Content::new();
    let mut marks = vec![Mark { begun: 0, done: usize::MAX, durable: true, after: after.clone(), now: START_MS }];
    let mut database = Some(open());
    marks[0].done = recorder.events();
    for step in steps {
        let begun = recorder.events();
        match step {
            Step::Reopen => {
                database.take().expect("it is open").close().expect("closes");
                database = Some(open());
            }
            Step::Advance(milliseconds) => drop(now.fetch_add(*milliseconds, Ordering::Relaxed)),
            _ => step.run(database.as_ref().expect("it is open")).expect("the disk is well"),
        }
        let now = now.load(Ordering::Relaxed);
        step.apply(&mut after, now);
        let durable = step.makes_durable(durability);
        marks.push(Mark { begun, done: recorder.events(), durable, after: after.clone(), now });
    }
    (recorder, marks)
}

/// The first and the last step after which the content may be what is found when the power fails after `events`.
fn allowed(marks: &[Mark], events: usize) -> std::ops::RangeInclusive<usize> {
    let first = marks.iter().rposition(|mark| mark.durable && mark.done <= events).unwrap_or(0);
    let last = marks.iter().rposition(|mark| mark.begun < events).unwrap_or(0).max(first);
    first..=last
}

struct Judge<'a> {
    marks: &'a [Mark],
    durability: Durability,
    images: u64,
}

impl Judge<'_> {
    /// Opens what a power cut left and compares; `deep` also goes on working with it.
    fn examine(&mut self, image: &MemoryDisk, events: usize, what: &str, deep: bool) {
        self.images += 1;
        let allowed = allowed(self.marks, events);
        let now = Arc::new(AtomicU64::new(self.marks[*allowed.end()].now));
        let options = options(self.durability, &now);
        let at = now.load(Ordering::Relaxed);
        let database = Database::open_on(Arc::new(image.clone()), options.clone())
            .unwrap_or_else(|error| panic!("{what}: after {events} operations it does not open: {error}"));
        let found = seen(&database);
        let known = self.marks[allowed.clone()].iter().any(|mark| mark.after.at(at) == found);
        assert!(known, "{what}: after {events} operations not the content after any of the steps {allowed:?}");
        assert_sound(&database);
        if deep {
            let family = database.default_family();
            family.put(b"after the power came back", &[1; 700], None).expect("a put");
            database.checkpoint().expect("a checkpoint");
            database.close().expect("closes");
            let database = common::open_on(Arc::new(image.clone()), &options);
            let mut expected = found;
            let default = expected.get_mut("default").expect("it is always there");
            default.insert(b"after the power came back".to_vec(), vec![1; 700]);
            assert!(seen(&database) == expected, "{what}: after {events} operations it does not go on well");
            assert_sound(&database);
        }
    }

    /// The power fails again while the database recovers.
    fn fail_again(&mut self, image: &MemoryDisk, events: usize, what: &str, random: &mut Random) {
        let recorder = Recorder::on(image);
        let before = recorder.events();
        let now = Arc::new(AtomicU64::new(self.marks[*allowed(self.marks, events).end()].now));
        let database = common::open_on(Arc::new(recorder.clone()), &options(self.durability, &now));
        let opened = recorder.events();
        drop(database);
        let mut replay = Replay::of(&recorder);
        for second in before..opened {
            replay.advance(second + 1);
            for loss in [Loss::Everything, Loss::Some(random.next())] {
                self.examine(&replay.image(loss), events, &format!("{what}, then {second} {loss:?}"), false);
            }
        }
    }
}

/// Cuts the power after every operation of the steps.
fn cut_everywhere(name: &str, mix: &Mix, durability: Durability, count: usize, keys: u64) {
    let mut images = 0;
    for seed in 0..effort("LYREDB_TEST_EFFORT") {
        let steps = steps(mix, count, keys, seed);
        let (recorder, marks) = record(&steps, durability);
        let mut judge = Judge { marks: &marks, durability, images: 0 };
        let mut replay = Replay::of(&recorder);
        let mut random = Random(seed);
        // Before its creation has been acknowledged the database may be missing altogether.
        for events in marks[0].done..=recorder.events() {
            replay.advance(events);
            let mut losses = vec![Loss::Nothing];
            if !replay.is_all_durable() {
                losses.extend([Loss::Everything, Loss::Some(random.next()), Loss::Some(random.next())]);
            }
            for loss in losses {
                let what = format!("{name}, {durability:?}, seed {seed}, {loss:?}");
                let image = replay.image(loss);
                if random.one_in(12) {
                    judge.fail_again(&image, events, &what, &mut random);
                }
                judge.examine(&image, events, &what, random.one_in(8));
            }
        }
        images += judge.images;
    }
    println!("{name}, {durability:?}: {images} images");
    assert!(images > 100, "{name} made {images} images only");
}

#[test]
fn single_writes() {
    let mix = Mix { puts: 60, deletes: 30, syncs: 5, checkpoints: 3, ..Mix::default() };
    for durability in [Durability::Sync, Durability::Group, Durability::Async] {
        cut_everywhere("single writes", &mix, durability, 120, 60);
    }
}

#[test]
fn batches_and_transactions_over_families() {
    let mix = Mix {
        puts: 10,
        batches: 30,
        transactions: 30,
        ranges: 5,
        families: 8,
        syncs: 5,
        checkpoints: 5,
        reopenings: 2,
        ..Mix::default()
    };
    for durability in [Durability::Sync, Durability::Async] {
        cut_everywhere("batches and transactions", &mix, durability, 70, 300);
    }
}

#[test]
fn deletes_with_merges() {
    let mix = Mix { batches: 40, deletes: 40, ranges: 12, checkpoints: 8, compactions: 2, ..Mix::default() };
    cut_everywhere("deletes", &mix, Durability::Sync, 80, 500);
}

#[test]
fn long_values() {
    let mix = Mix {
        puts: 50,
        deletes: 15,
        batches: 10,
        checkpoints: 8,
        compactions: 3,
        reopenings: 2,
        long_values: true,
        ..Mix::default()
    };
    for durability in [Durability::Sync, Durability::Group] {
        cut_everywhere("long values", &mix, durability, 60, 40);
    }
}

#[test]
fn expiring_records() {
    let mix =
        Mix { puts: 60, deletes: 10, batches: 10, checkpoints: 8, reopenings: 3, expiring: true, ..Mix::default() };
    cut_everywhere("expiring records", &mix, Durability::Sync, 80, 60);
}

#[test]
fn checkpoints_and_compactions() {
    let mix = Mix {
        puts: 20,
        batches: 30,
        ranges: 8,
        syncs: 3,
        checkpoints: 20,
        compactions: 12,
        reopenings: 5,
        long_values: true,
        ..Mix::default()
    };
    for durability in [Durability::Sync, Durability::Async] {
        cut_everywhere("checkpoints", &mix, durability, 50, 150);
    }
}

#[test]
fn families_made_dropped_and_renamed() {
    let mix = Mix {
        puts: 20,
        batches: 15,
        families: 50,
        syncs: 3,
        checkpoints: 8,
        compactions: 2,
        reopenings: 4,
        long_values: true,
        ..Mix::default()
    };
    for durability in [Durability::Sync, Durability::Async] {
        cut_everywhere("families", &mix, durability, 80, 30);
    }
}

/// While it is being made, a database is either not there yet or opens.
#[test]
fn creation() {
    let recorder = Recorder::default();
    let now = Arc::new(AtomicU64::new(START_MS));
    drop(common::open_on(Arc::new(recorder.clone()), &options(Durability::Sync, &now)));
    let mut replay = Replay::of(&recorder);
    for events in 0..=recorder.events() {
        replay.advance(events);
        for loss in [Loss::Nothing, Loss::Everything].into_iter().chain((0..40).map(Loss::Some)) {
            let database = common::open_on(Arc::new(replay.image(loss)), &options(Durability::Sync, &now));
            assert_eq!(seen(&database), Content::new().at(START_MS), "{events}, {loss:?}");
            database.default_family().put(b"key", b"value", None).expect("a put");
        }
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn everything() -> Mix {
    Mix {
        puts: 30,
        deletes: 10,
        batches: 15,
        transactions: 10,
        ranges: 3,
        families: 8,
        syncs: 4,
        checkpoints: 6,
        compactions: 2,
        reopenings: 2,
        long_values: true,
        ..Mix::default()
    }
}

/// Runs the steps on a disk of which the `nth` operation fails, heals it, reopens, and compares. Returns whether the
/// fault struck.
fn fail_at(steps: &[Step], durability: Durability, nth: u64, fault: Fault, seed: u64) -> bool {
    let disk = MemoryDisk::new();
    let now = Arc::new(AtomicU64::new(START_MS));
    let options = options(durability, &now);
    let open = || Database::open_on(Arc::new(disk.clone()), options.clone());
    let mut database = open().expect("the disk is still well");
    disk.fail_at(nth, fault);
    let strikes = disk.operations() + nth;
    let what = || format!("{durability:?}, seed {seed}, {fault:?} at operation {nth}");
    // Contents that are possible, each with what of it is durable at least.
    let mut possible = vec![Content::new()];
    let mut since_durable = possible.clone();
    let mut failures = 0;
    for step in steps {
        // What an earlier failure kept from being made cannot be worked with.
        if !possible.iter().all(|content| step.makes_sense(content)) {
            continue;
        }
        let result = match step {
            Step::Reopen => {
                let closed = database.close();
                match open() {
                    Ok(opened) => {
                        database = opened;
                        closed
                    }
                    Err(error) => {
                        // The next attempt finds the disk well.
                        database = open().unwrap_or_else(|error| panic!("{}: {error}", what()));
                        Err(error)
                    }
                }
            }
            Step::Advance(_) => Ok(()),
            step => step.run(&database),
        };
        match result {
            Ok(()) => {
                possible.iter_mut().for_each(|content| step.apply(content, START_MS));
                since_durable.extend(possible.iter().cloned());
                if step.makes_durable(durability) {
                    since_durable = possible.clone();
                }
            }
            Err(error) => {
                failures += 1;
                let injected = |source: &std::io::Error| match fault {
                    Fault::Raw(number) => source.raw_os_error() == Some(number),
                    Fault::Kind(kind) => source.kind() == kind,
                };
                match &error {
                    Error::Io { source, .. } => assert!(injected(source), "{}: {error}", what()),
                    Error::Poisoned { .. } => {}
                    other => panic!("{}: {step:?} ended with {other:?}", what()),
                }
                if let Step::Reopen = step {
                    // It was opened without having been closed well.
                    possible.append(&mut since_durable);
                } else {
                    let with = possible.clone().into_iter().map(|mut content| {
                        step.apply(&mut content, START_MS);
                        content
                    });
                    possible.extend(with.collect::<Vec<_>>());
                }
                // What can be seen now is what is there, unless the failed step waits to be seen.
                let found = seen(&database);
                let as_seen: Vec<Content> =
                    possible.iter().filter(|content| content.at(START_MS) == found).cloned().collect();
                assert!(!as_seen.is_empty(), "{}: {step:?} changed something else", what());
                let poisoned = matches!(database.sync(), Err(Error::Poisoned { .. }));
                if !poisoned {
                    possible = as_seen;
                }
                possible.dedup();
                since_durable.extend(possible.iter().cloned());
                if poisoned {
                    break;
                }
            }
        }
    }
    let struck = disk.operations() >= strikes;
    disk.heal();
    drop(database.close());
    drop(database);
    let again = open().unwrap_or_else(|error| panic!("{}: it does not open again: {error}", what()));
    let found = seen(&again);
    let known = since_durable.iter().chain(&possible).any(|content| content.at(START_MS) == found);
    assert!(known, "{}: after {failures} failures something is missing, or too much is there", what());
    assert_sound(&again);
    again.default_family().put(b"still", b"works", None).expect("a put");
    again.close().expect("closes");
    struck
}

/// What checkpoints have to cope with above all.
fn much_to_move() -> Mix {
    Mix {
        puts: 15,
        batches: 25,
        deletes: 10,
        families: 20,
        checkpoints: 15,
        compactions: 12,
        reopenings: 3,
        long_values: true,
        ..Mix::default()
    }
}

fn fail_everywhere(fault: Fault, durability: Durability) {
    let mut faults = 0;
    for seed in 0..2 * effort("LYREDB_TEST_EFFORT") {
        for mix in [everything(), much_to_move()] {
            let steps = steps(&mix, 40, 100, seed);
            let mut nth = 1;
            while fail_at(&steps, durability, nth, fault, seed) {
                nth += 1;
                assert!(nth < 20_000, "the steps do not end");
            }
            faults += nth - 1;
        }
    }
    println!("{fault:?}, {durability:?}: {faults} faults");
    assert!(faults > 100, "the fault struck {faults} times only");
}

#[test]
fn input_output_errors() {
    for durability in [Durability::Sync, Durability::Group, Durability::Async] {
        fail_everywhere(Fault::Raw(EIO), durability);
    }
}

#[test]
fn a_full_disk() {
    for durability in [Durability::Sync, Durability::Group, Durability::Async] {
        fail_everywhere(Fault::Raw(ENOSPC), durability);
    }
}

#[test]
fn refused_permission() {
    fail_everywhere(Fault::Kind(ErrorKind::PermissionDenied), Durability::Sync);
}

/// A failed sync is never taken for a success later on, and nothing is written after it.
#[test]
fn a_failed_sync_refuses_all_later_writes() {
    let disk = MemoryDisk::new();
    let now = Arc::new(AtomicU64::new(START_MS));
    let options = options(Durability::Sync, &now);
    let database = common::open(&disk, &options);
    let family = database.default_family();
    family.put(b"before", b"1", None).expect("a put");
    disk.fail_next(Operation::Sync, 1, Fault::Raw(EIO));
    assert!(matches!(family.put(b"failed", b"2", None), Err(Error::Io { .. })));
    assert_eq!(common::get(&family, b"failed"), None, "nobody sees what may not be on disk");
    assert!(matches!(family.put(b"after", b"3", None), Err(Error::Poisoned { .. })));
    assert!(matches!(database.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(database.checkpoint(), Err(Error::Poisoned { .. })));
    assert_eq!(common::get(&family, b"before").as_deref(), Some(&b"1"[..]), "reading goes on");
    drop(family);
    drop(database);
    let database = common::open(&disk, &options);
    let family = database.default_family();
    assert_eq!(common::get(&family, b"before").as_deref(), Some(&b"1"[..]));
    assert_eq!(common::get(&family, b"after"), None);
    family.put(b"after", b"3", None).expect("a put");
}

/// The disk is full for a while; whoever does not wait for it goes on without being reopened.
#[test]
fn a_full_disk_is_survived_without_reopening() {
    for durability in [Durability::Group, Durability::Async] {
        let disk = MemoryDisk::new();
        let now = Arc::new(AtomicU64::new(START_MS));
        let options = options(durability, &now);
        let database = common::open(&disk, &options);
        let family = database.default_family();
        let mut expected = Model::new();
        let mut put = |number: u64| {
            let (key, value) = (number.to_be_bytes().to_vec(), vec![number as u8; 300]);
            let done = family.put(&key, &value, None);
            if done.is_ok() {
                expected.insert(key, value);
            }
            done
        };
        (0..200).for_each(|number| put(number).expect("a put"));
        database.checkpoint().expect("a checkpoint");
        for operation in [Operation::Write, Operation::SetLength] {
            disk.fail_next(operation, u64::MAX, Fault::Raw(ENOSPC));
        }
        for number in 200..400 {
            match put(number) {
                Ok(()) => {}
                Err(Error::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(ENOSPC)),
                Err(error) => panic!("{error}"),
            }
        }
        for attempt in [Database::checkpoint, Database::sync, |database: &Database| database.compact(&mut |_, _| true)]
        {
            match attempt(&database) {
                Err(Error::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(ENOSPC)),
                other => panic!("{other:?}"),
            }
        }
        disk.heal();
        (400..600).for_each(|number| put(number).expect("there is room again"));
        database.sync().expect("there is room again");
        assert!(common::content(&database, &family) == expected);
        let killed = common::open_on(Arc::new(disk.image()), &options);
        assert!(common::content(&killed, &killed.default_family()) == expected, "after a kill");
        database.checkpoint().expect("there is room again");
        database.compact(&mut |_, _| true).expect("there is room again");
        assert_sound(&database);
        database.close().expect("closes");
        let database = common::open(&disk, &options);
        assert!(common::content(&database, &database.default_family()) == expected, "after a reopening");
        assert_sound(&database);
    }
}

/// What could not be logged has not happened.
#[test]
fn families_stay_as_they_are_on_a_full_disk() {
    let disk = MemoryDisk::new();
    let now = Arc::new(AtomicU64::new(START_MS));
    let database = common::open(&disk, &options(Durability::Async, &now));
    let family = database.create_family("one", &[]).expect("a family");
    family.put(b"key", b"value", None).expect("a put");
    database.set_note("one", Some("before")).expect("a note");
    disk.fail_next(Operation::Write, u64::MAX, Fault::Raw(ENOSPC));
    database.sync().expect_err("the disk is full");
    database.drop_family("one").expect_err("the disk is full");
    database.rename_family("one", "two").expect_err("the disk is full");
    database.create_family("three", &[]).map(drop).expect_err("the disk is full");
    database.set_note("one", Some("after")).expect_err("the disk is full");
    for healed in [false, true] {
        if healed {
            disk.heal();
            database.sync().expect("there is room again");
        }
        assert_eq!(database.families().expect("names"), ["default", "one"]);
        assert_eq!(common::get(&family, b"key").as_deref(), Some(&b"value"[..]));
        assert_eq!(database.note("one").expect("a note").as_deref(), Some("before"));
    }
    family.put(b"key", b"again", None).expect("a put");
    database.drop_family("one").expect("there is room again");
}

/// Bytes that no codec makes shorter.
fn noise(length: u64, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

/// Makes a checkpoint or a compaction fail at each of its writes; the next one has to make up for it.
fn fail_within(prepare: impl Fn(&Database), attempt: impl Fn(&Database) -> Result<(), Error>) {
    let now = Arc::new(AtomicU64::new(START_MS));
    let options = options(Durability::Async, &now);
    for nth in 1.. {
        let disk = MemoryDisk::new();
        let database = common::open(&disk, &options);
        prepare(&database);
        let expected = seen(&database);
        database.sync().expect("the disk is well");
        disk.fail_at(nth, Fault::Raw(ENOSPC));
        let failed = attempt(&database);
        disk.heal();
        if failed.is_ok() {
            assert!(nth > 5, "only {nth} operations could fail");
            return;
        }
        match database.checkpoint() {
            Ok(()) => {
                // A failure that is not of the superblock itself does no harm to what follows.
                database.checkpoint().expect("nothing is wrong any more");
                // What was freed is written to again, by pages that nothing else depends on.
                let more = database.create_family("more", &common::tiny_settings()).expect("a family");
                for number in 0..60u64 {
                    more.put(&number.to_be_bytes(), &noise(400 + number * 40, number), None).expect("a put");
                }
                database.checkpoint().expect("nothing is wrong any more");
                let killed = common::open(&disk.image(), &options);
                let mut found = seen(&killed);
                found.remove("more");
                assert!(found == expected, "at operation {nth}: something was written over");
                assert_sound(&killed);
                database.drop_family("more").expect("it is there");
                database.compact(&mut |_, _| true).expect("nothing is wrong any more");
            }
            Err(Error::Poisoned { .. }) => {}
            Err(error) => panic!("at operation {nth}: {error}"),
        }
        assert!(seen(&database) == expected, "at operation {nth}: something changed");
        assert_sound(&database);
        drop(database.close());
        let database = common::open(&disk, &options);
        assert!(seen(&database) == expected, "at operation {nth}: something changed with the reopening");
        assert_sound(&database);
        database.checkpoint().expect("the disk is well");
        database.compact(&mut |_, _| true).expect("the disk is well");
        assert!(seen(&database) == expected, "at operation {nth}: something changed in the end");
        assert_sound(&database);
    }
}

#[test]
fn a_failed_checkpoint_of_a_dropped_family_is_made_up_for() {
    let prepare = |database: &Database| {
        let family = database.create_family("dropped", &common::tiny_settings()).expect("a family");
        for number in 0..200u64 {
            family.put(&number.to_be_bytes(), &vec![1; 50 + number as usize * 5], None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
        database.drop_family("dropped").expect("it is there");
        for number in 0..200u64 {
            database.default_family().put(&number.to_be_bytes(), &[2; 100], None).expect("a put");
        }
    };
    fail_within(prepare, Database::checkpoint);
}

#[test]
fn a_failed_compaction_of_long_values_is_made_up_for() {
    let prepare = |database: &Database| {
        let family = database.default_family();
        for number in 0..150u64 {
            family.put(&number.to_be_bytes(), &noise(600 + number * 20, number), None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
        (0..150u64).filter(|number| number % 3 != 2).for_each(|number| {
            family.delete(&number.to_be_bytes()).expect("a delete");
        });
        for _ in 0..2 {
            database.checkpoint().expect("a checkpoint");
        }
    };
    fail_within(prepare, |database| database.compact(&mut |_, _| true));
}

/// The recorder itself, against what its images promise.
#[test]
fn images_hold_what_was_synced() {
    let recorder = Recorder::default();
    let file = recorder.open("file", lyredb_engine::disk::OpenMode::Create).expect("a file");
    file.write_at(&[1; 1024], 0).expect("a write");
    file.sync().expect("a sync");
    recorder.sync_directory().expect("a sync");
    file.write_at(&[2; 1024], 512).expect("a write");
    recorder.rename("file", "renamed").expect("a new name");
    let mut replay = Replay::of(&recorder);
    replay.advance(recorder.events());
    let everything = replay.image(Loss::Everything);
    assert_eq!(everything.get("file").expect("the old name"), [1; 1024]);
    let nothing = replay.image(Loss::Nothing).get("renamed").expect("the new name");
    assert_eq!(nothing, [[1; 512], [2; 512], [2; 512]].concat());
    let torn = (0..100).any(|seed| {
        let image = replay.image(Loss::Some(seed));
        let bytes = image.get("file").or_else(|| image.get("renamed")).expect("one of the names");
        bytes == [[1; 512], [1; 512], [2; 512]].concat()
    });
    assert!(torn, "a later sector never survived an earlier one");
}
