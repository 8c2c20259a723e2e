//! Power cuts: what was acknowledged as durable is there afterwards, nothing is there by halves.
//!
//! `LYREDB_TEST_EFFORT=10` makes ten times as many images as by default.

mod common;

#[path = "common/recorder.rs"]
mod recorder;
#[path = "common/recording.rs"]
mod recording;
#[path = "common/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Random, assert_sound, scaled, tally};
use lyredb_engine::disk::{Disk, MemoryDisk};
use lyredb_engine::{Database, Durability};
use recorder::{Loss, Recorder, Replay};
use recording::Recording;
use workload::{Content, START_MS, WORKLOADS, Workload, options, seen};

struct Judge<'a> {
    recording: &'a Recording,
    durability: Durability,
    images: u64,
}

impl Judge<'_> {
    /// Opens what a power cut left and compares; `deep` also goes on working with it.
    fn examine(&mut self, image: &MemoryDisk, events: usize, what: &str, deep: bool) {
        self.images += 1;
        let allowed = self.recording.allowed(events);
        let now = Arc::new(AtomicU64::new(self.recording.marks[*allowed.end()].now));
        let options = options(self.durability, &now);
        let at = now.load(Ordering::Relaxed);
        let database = Database::open_on(Arc::new(image.clone()), options.clone())
            .unwrap_or_else(|error| panic!("{what}: after {events} operations it does not open: {error}"));
        let found = seen(&database);
        let known = self.recording.marks[allowed.clone()].iter().any(|mark| mark.after.is_seen(&found, at));
        assert!(known, "{what}: after {events} operations not the content after any of the steps {allowed:?}");
        assert_sound(&database);
        if deep {
            let family = database.default_family();
            family.put(b"after the power came back", &[1; 700], None).expect("a put");
            database.checkpoint().expect("a checkpoint");
            database.close().expect("closes");
            let database = common::open_on(Arc::new(image.clone()), &options);
            let mut expected = found;
            let default = expected.families.get_mut("default").expect("it is always there");
            default.insert(b"after the power came back".to_vec(), vec![1; 700]);
            assert!(seen(&database) == expected, "{what}: after {events} operations it does not go on well");
            assert_sound(&database);
        }
    }

    /// The power fails again while the database recovers.
    fn fail_again(&mut self, image: &MemoryDisk, events: usize, what: &str, random: &mut Random) {
        let recorder = Recorder::on(image);
        let before = recorder.events();
        let now = Arc::new(AtomicU64::new(self.recording.marks[*self.recording.allowed(events).end()].now));
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
fn cut_everywhere(workload: &Workload, durability: Durability) {
    let mut images = 0;
    for seed in 0..scaled(1) {
        let recording = Recording::of(&workload.steps(seed), durability);
        let mut judge = Judge { recording: &recording, durability, images: 0 };
        let mut replay = Replay::of(&recording.recorder);
        let mut random = Random(seed);
        // Before its creation has been acknowledged the database may be missing altogether.
        for events in recording.created()..=recording.recorder.events() {
            replay.advance(events);
            let mut losses = vec![Loss::Nothing];
            if !replay.is_all_durable() {
                losses.extend([Loss::Everything, Loss::Some(random.next()), Loss::Some(random.next())]);
            }
            for loss in losses {
                let what = format!("{}, {durability:?}, seed {seed}, {loss:?}", workload.name);
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
    assert!(images > 100, "{} made {images} images only", workload.name);
}

#[test]
fn every_workload_is_cut_everywhere() {
    for workload in &WORKLOADS {
        for durability in [Durability::Sync, Durability::Group, Durability::Async] {
            cut_everywhere(workload, durability);
        }
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
            assert!(Content::new().is_seen(&seen(&database), START_MS), "{events}, {loss:?}");
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
