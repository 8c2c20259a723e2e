//! Power cuts: what was acknowledged as durable is there afterwards, nothing is there by halves.
//!
//! `LYREDB_TEST_EFFORT=10` makes ten times as many images as by default.

mod common;

#[path = "common/recorder.rs"]
mod recorder;
#[path = "common/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Random, assert_sound, scaled, tally};
use lyredb_engine::disk::{Disk, MemoryDisk};
use lyredb_engine::{Database, Durability};
use recorder::{Loss, Recorder, Replay};
use workload::{Content, Mix, START_MS, Step, options, seen, steps};

/// Where in the recording a step began and was acknowledged, and the content after it.
struct Mark {
    begun: usize,
    done: usize,
    durable: bool,
    after: Content,
    now: u64,
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
    for seed in 0..scaled(1) {
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
    tally("power-cut images", images);
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
