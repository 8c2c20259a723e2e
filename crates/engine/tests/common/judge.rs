//! Cuts the power at every operation of a workload, opens what is left, and judges it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Database, Error, Options};

use crate::common::{Random, assert_sound, open_on};
use crate::cut::{Cut, Job};
use crate::recorder::Recorder;
use crate::recording::{Copy, Recording};
use crate::replay::{Loss, Replay};
use crate::workload::{options, seen, take_reads};

/// Images with some loss at each operation, beside the ones that have lost everything and nothing.
const LOSSES: usize = 3;
/// One image in so many is recovered with the power failing again and again; one in so many is worked with.
const RECOVERIES: u64 = 16;
const DEEP: u64 = 8;

/// Between checkpoints it starts with the same superblock twice, so that one may be damaged.
const PAGE_FILE_NAME: &str = "pages.lyre";
const SUPERBLOCK_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub images: u64,
    pub recoveries: u64,
    /// Point reads answered from excerpts, and from leaves as they are stored.
    pub reads: [u64; 2],
}

/// Tells how to repeat what failed.
struct Tell<'a>(&'a Job, Cut);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("\nto repeat it: make test-crash LYREDB_TEST_CUT='{}/{}'\n", self.0, self.1);
        }
    }
}

pub struct Judge {
    job: Job,
    recording: Recording,
    random: Random,
    counts: Counts,
}

/// Cuts the power after every operation of the job's steps.
pub fn cut_everywhere(job: Job) -> Counts {
    let recording = Recording::of(&job.workload.steps(job.seed), job.durability);
    let mut judge = Judge { job, recording, random: Random(job.seed), counts: Counts::default() };
    let mut replay = Replay::of(&judge.recording.recorder);
    // Before its creation has been acknowledged the database may be missing altogether.
    for event in judge.recording.created()..=judge.recording.recorder.events() {
        replay.advance(event);
        for loss in losses(&replay, LOSSES, &mut judge.random) {
            let cut = Cut { event, loss, again: None, of_copy: None };
            let image = replay.image(loss);
            if judge.random.one_in(RECOVERIES) {
                judge.fail_again(&image, cut);
            }
            let deep = judge.random.one_in(DEEP);
            judge.examine(&image, cut, deep);
        }
    }
    for number in 0..judge.recording.copies.len() {
        judge.cut_copy(number);
    }
    judge.counts.reads = take_reads();
    judge.counts
}

fn losses(replay: &Replay, count: usize, random: &mut Random) -> Vec<Loss> {
    if replay.is_all_durable() {
        return vec![Loss::Nothing];
    }
    let some = (0..count).map(|_| Loss::any(random));
    [Loss::Nothing, Loss::Everything].into_iter().chain(some).collect()
}

fn assert_superblocks(image: &MemoryDisk) {
    let pages = image.get(PAGE_FILE_NAME).expect("it was made");
    let slots = (pages.get(..SUPERBLOCK_BYTES), pages.get(SUPERBLOCK_BYTES..2 * SUPERBLOCK_BYTES));
    assert!(slots.0.is_some() && slots.0 == slots.1, "one superblock is not as the other");
}

impl Judge {
    /// The clock stands where it stood after the last step that may have been done.
    fn options(&self, event: usize) -> Options {
        let last = *self.recording.allowed(event).end();
        options(self.job.durability, &Arc::new(AtomicU64::new(self.recording.marks[last].now)))
    }

    /// Opens what a power cut left and compares; `deep` also goes on working with it.
    fn examine(&mut self, image: &MemoryDisk, cut: Cut, deep: bool) {
        let _tell = Tell(&self.job, cut);
        match cut.again {
            Some(_) => self.counts.recoveries += 1,
            None => self.counts.images += 1,
        }
        if cut.again.is_none() && !self.recording.is_amid_checkpoint(cut.event) {
            assert_superblocks(image);
        }
        let allowed = self.recording.allowed(cut.event);
        let now = self.recording.marks[*allowed.end()].now;
        let options = self.options(cut.event);
        let database = Database::open_on(Arc::new(image.clone()), options.clone());
        let database = database.unwrap_or_else(|error| panic!("it does not open: {error}"));
        let found = seen(&database);
        // The newest first: it mostly is that one.
        let known = self.recording.marks[allowed.clone()].iter().rev().any(|mark| mark.after.is_seen(&found, now));
        assert!(known, "not the content after any of the steps {allowed:?}");
        assert_sound(&database);
        if deep {
            let family = database.default_family();
            family.put(b"after the power came back", &[1; 700], None).expect("a put");
            database.checkpoint().expect("a checkpoint");
            database.close().expect("closes");
            let database = open_on(Arc::new(image.clone()), &options);
            let mut expected = found;
            let default = expected.families.get_mut("default").expect("it is always there");
            default.insert(b"after the power came back".to_vec(), vec![1; 700]);
            assert!(seen(&database) == expected, "it does not go on well");
            assert_sound(&database);
        }
    }

    /// The power fails again while the database recovers.
    fn fail_again(&mut self, image: &MemoryDisk, cut: Cut) {
        let recorder = Recorder::on(image);
        let before = recorder.events();
        let database = {
            let _tell = Tell(&self.job, cut);
            open_on(Arc::new(recorder.clone()), &self.options(cut.event))
        };
        let opened = recorder.events();
        drop(database);
        let mut replay = Replay::of(&recorder);
        for event in before..=opened {
            replay.advance(event);
            for loss in losses(&replay, 1, &mut self.random) {
                let (image, cut) = (replay.image(loss), Cut { again: Some((event - before, loss)), ..cut });
                if event == opened {
                    let _tell = Tell(&self.job, cut);
                    assert_superblocks(&image);
                }
                self.examine(&image, cut, false);
            }
        }
    }

    /// The power fails while a backup is made: it is whole, or is not taken for a database.
    fn cut_copy(&mut self, number: usize) {
        let Copy { recorder, content, now } = &self.recording.copies[number];
        let options = Options { create: false, ..options(self.job.durability, &Arc::new(AtomicU64::new(*now))) };
        let mut replay = Replay::of(recorder);
        for event in 0..=recorder.events() {
            replay.advance(event);
            for loss in losses(&replay, LOSSES, &mut self.random) {
                let _tell = Tell(&self.job, Cut { event, loss, again: None, of_copy: Some(number) });
                self.counts.images += 1;
                match Database::open_on(Arc::new(replay.image(loss)), options.clone()) {
                    Ok(database) => {
                        assert!(content.is_seen(&seen(&database), *now), "the backup holds something else");
                        assert_sound(&database);
                    }
                    Err(Error::NotFound { .. } | Error::NotADatabase { .. }) if event < recorder.events() => {}
                    Err(error) => panic!("the backup is neither whole nor refused: {error}"),
                }
            }
        }
    }
}
