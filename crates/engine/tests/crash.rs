//! Power cuts: what was acknowledged as durable is there afterwards, nothing is there by halves.
//!
//! `LYREDB_TEST_EFFORT=100` makes a hundred times as many images as by default, ten million. A failure says which
//! `LYREDB_TEST_CUT` does the same steps again and cuts them at the same places.

mod common;

#[path = "common/cut.rs"]
mod cut;
#[path = "common/judge.rs"]
mod judge;
#[path = "common/recorder.rs"]
mod recorder;
#[path = "common/recording.rs"]
mod recording;
#[path = "common/replay.rs"]
mod replay;
#[path = "common/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{Random, scaled, tally};
use cut::{DURABILITIES, Job};
use judge::{Counts, cut_everywhere};
use lyredb_engine::Durability;
use lyredb_engine::disk::{Disk, OpenMode};
use recorder::Recorder;
use replay::{Kept, Loss, Replay};
use workload::{Content, START_MS, WORKLOADS, options, seen};

/// Of each workload with each durability.
const SEEDS: u64 = 3;
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// In a thread of its own, where nobody else would notice.
static ENGINE_PANICKED: AtomicBool = AtomicBool::new(false);

struct Tally {
    counts: BTreeMap<&'static str, Counts>,
    reported: Instant,
}

impl Tally {
    fn add(&mut self, job: &Job, counts: Counts, left: usize) {
        let sum = self.counts.entry(job.workload.name).or_default();
        sum.images += counts.images;
        sum.recoveries += counts.recoveries;
        sum.reads = [0, 1].map(|from| sum.reads[from] + counts.reads[from]);
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let Counts { images, recoveries, .. } = self.sum();
            println!("{images} images, {recoveries} crashes during recovery; {left} workloads to go");
        }
    }

    fn sum(&self) -> Counts {
        let values = || self.counts.values();
        Counts {
            images: values().map(|counts| counts.images).sum(),
            recoveries: values().map(|counts| counts.recoveries).sum(),
            reads: [0, 1].map(|from| values().map(|counts| counts.reads[from]).sum()),
        }
    }
}

fn jobs() -> Vec<Job> {
    if let Ok(wanted) = std::env::var("LYREDB_TEST_CUT") {
        return vec![wanted.parse().unwrap_or_else(|why| panic!("LYREDB_TEST_CUT={wanted}: {why}"))];
    }
    let of_seed = |seed| {
        let of_workload = move |workload| DURABILITIES.map(|(_, durability)| Job { workload, durability, seed });
        WORKLOADS.iter().flat_map(of_workload)
    };
    (0..scaled(SEEDS)).flat_map(of_seed).collect()
}

#[test]
fn every_workload_is_cut_at_every_operation() {
    let jobs = jobs();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let own = thread::current().name().is_some_and(|name| name.starts_with("lyredb-"));
        ENGINE_PANICKED.fetch_or(own, Ordering::Relaxed);
        before(info);
    }));
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let tallied = Mutex::new(Tally { counts: BTreeMap::new(), reported: Instant::now() });
    let work = || {
        /// Stops the others when one has failed.
        struct Failing<'a>(&'a AtomicBool);
        impl Drop for Failing<'_> {
            fn drop(&mut self) {
                self.0.fetch_or(thread::panicking(), Ordering::Relaxed);
            }
        }
        let _failing = Failing(&failed);
        while !failed.load(Ordering::Relaxed)
            && !ENGINE_PANICKED.load(Ordering::Relaxed)
            && let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let counts = cut_everywhere(*job);
            let left = jobs.len().saturating_sub(next.load(Ordering::Relaxed));
            tallied.lock().unwrap_or_else(PoisonError::into_inner).add(job, counts, left);
        }
    };
    thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        // Some of them pause.
        (0..2 * count).for_each(|_| drop(scope.spawn(work)));
    });
    assert!(!ENGINE_PANICKED.load(Ordering::Relaxed), "a thread of the engine's panicked");
    let tallied = tallied.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (name, Counts { images, recoveries, .. }) in &tallied.counts {
        println!("{name}: {images} images, {recoveries} crashes during recovery");
    }
    let Counts { images, recoveries, reads } = tallied.sum();
    assert!(jobs.len() == 1 || (reads[0] > 100 && reads[1] > 10), "leaves were hardly read in all forms: {reads:?}");
    tally("power-cut images", images);
    tally("crashes during recovery", recoveries);
}

/// While it is being made, a database is either not there yet or opens.
#[test]
fn creation() {
    let recorder = Recorder::default();
    let now = Arc::new(AtomicU64::new(START_MS));
    drop(common::open_on(Arc::new(recorder.clone()), &options(Durability::Sync, &now)));
    let mut replay = Replay::of(&recorder);
    let mut random = Random(1);
    for events in 0..=recorder.events() {
        replay.advance(events);
        for loss in [Loss::Nothing, Loss::Everything].into_iter().chain((0..40).map(|_| Loss::any(&mut random))) {
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
    let file = recorder.open("file", OpenMode::Create).expect("a file");
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
        let image = replay.image(Loss::Some(Kept::Sectors, seed));
        let bytes = image.get("file").or_else(|| image.get("renamed")).expect("one of the names");
        bytes == [[1; 512], [1; 512], [2; 512]].concat()
    });
    assert!(torn, "a later sector never survived an earlier one");
}
