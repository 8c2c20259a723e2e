//! A sample of the accesses to one family's leaves and records, from which follows what memory would be worth.
//!
//! Spatial sampling (SHARDS, FAST '15): some leaves and some keys are followed, by a hash, and of these every access. As
//! long as memory is not scarce nothing is followed at all.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::counters::Accesses;
use crate::curve::MissRatioCurve;
use crate::replacement::hash;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// One leaf in so many is followed at most: each access to it takes a lock.
const LEAST_SPACING: u64 = 1 << LEAST_HALVINGS;
pub const LEAST_HALVINGS: u32 = 4;
/// And one key in so many.
const LEAST_KEY_SPACING: u64 = 64;
const SAMPLES: usize = 8192;

pub struct Observer {
    /// Leaves and keys whose hash is below these are followed.
    leaves_below: AtomicU64,
    keys_below: AtomicU64,
    curves: Mutex<Curves>,
}

struct Curves {
    /// Over bytes of images.
    leaves: MissRatioCurve,
    /// Over numbers of records, as their sizes are not known before they are read.
    records: MissRatioCurve,
    /// Accesses that were followed since the last look, to leaves and to records.
    followed: [u64; 2],
    /// All that there had been by then.
    counted: Accesses,
}

/// What was seen since the last look, and before with less weight.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Bytes of images, and the part of the accesses that would miss.
    pub leaves: Vec<(u64, f64)>,
    /// Records in `look`, bytes of the point cache for who asks the database; and the part of the point reads that would miss.
    pub records: Vec<(u64, f64)>,
    /// Accesses since the last look; to leaves, where they are not counted, by reckoning from the sample.
    pub leaf_accesses: u64,
    pub record_accesses: u64,
}

impl Default for Observer {
    fn default() -> Observer {
        let curve = |spacing: u64| MissRatioCurve::new(SAMPLES, 1.0 / spacing as f64);
        let curves = Curves {
            leaves: curve(LEAST_SPACING),
            records: curve(LEAST_KEY_SPACING),
            followed: [0; 2],
            counted: Accesses::default(),
        };
        Observer { leaves_below: AtomicU64::new(0), keys_below: AtomicU64::new(0), curves: Mutex::new(curves) }
    }
}

impl Observer {
    /// From now on accesses are followed.
    pub fn begin(&self, counted: impl FnOnce() -> Accesses) {
        if self.leaves_below.load(Ordering::Relaxed) == 0 {
            let mut curves = self.curves.lock();
            curves.counted = counted();
            self.leaves_below.store(curves.leaves.threshold(), Ordering::Relaxed);
            self.keys_below.store(curves.records.threshold(), Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub fn follows_leaf(&self, page: u64) -> bool {
        let below = self.leaves_below.load(Ordering::Relaxed);
        below != 0 && hash(page) < below
    }

    /// Those below `others` are followed by somebody else, too.
    #[cold]
    pub fn leaf_accessed(&self, page: u64, bytes: usize, others: u64) {
        let mut curves = self.curves.lock();
        if hash(page) < curves.leaves.threshold() {
            curves.leaves.access(page, bytes as u32);
            curves.followed[0] += 1;
        }
        self.leaves_below.store(curves.leaves.threshold().max(others), Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn point_read(&self, key: &[u8]) {
        if self.keys_below.load(Ordering::Relaxed) != 0 {
            self.key_read(key);
        }
    }

    fn key_read(&self, key: &[u8]) {
        let mut hasher = FxHasher::default();
        hasher.write(key);
        let identity = hasher.finish();
        if hash(identity) < self.keys_below.load(Ordering::Relaxed) {
            let mut curves = self.curves.lock();
            curves.records.access(identity, 1);
            curves.followed[1] += 1;
            self.keys_below.store(curves.records.threshold(), Ordering::Relaxed);
        }
    }

    /// What was seen; from now on it weighs `keep` of what it did.
    ///
    /// The few leaves and records that are asked for most make up much of the accesses, and are in the sample by chance
    /// alone. So the curves need to know how many accesses there were in truth.
    pub fn look(&self, keep: f64, counted: Accesses) -> Observed {
        let mut curves = self.curves.lock();
        let curves = &mut *curves;
        let [leaves, records] = std::mem::take(&mut curves.followed);
        let before = std::mem::replace(&mut curves.counted, counted);
        let leaf_accesses = if counted.batch_records == before.batch_records {
            counted.leaves.saturating_sub(before.leaves).max(leaves)
        } else {
            // How many leaves a batch goes to is not counted.
            (leaves as f64 / curves.leaves.rate().max(1e-9)) as u64
        };
        let record_accesses = counted.records.saturating_sub(before.records).max(records);
        curves.leaves.pass(leaf_accesses - leaves);
        curves.records.pass(record_accesses - records);
        let observed = Observed {
            leaves: curves.leaves.points(),
            records: curves.records.points(),
            leaf_accesses,
            record_accesses,
        };
        curves.leaves.decay(keep);
        curves.records.decay(keep);
        observed
    }
}
