//! What the samples of all threads say together.

use rustc_hash::FxHashMap;

use super::{Dependent, Sample, Sketch, Writes};

/// Parts of the tree whose heat is told apart.
const PARTS: usize = 64;
/// Accesses of which the different keys are counted together: how many those are depends on how many accesses there are.
const TOGETHER: usize = 256;

/// Since the last look. Shares are parts of the sampled point accesses, from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub sampled: u64,
    /// Of the keys that one half of the sample has most often, the share in the other half: no luck is in it.
    pub top_16_share: f64,
    pub top_128_share: f64,
    /// Different keys among 256 accesses (or all, if there are fewer), by access.
    pub distinct_share: f64,
    /// Accesses whose key had been sampled before, and how many operations of the thread ago: the median and the ninth decile
    /// of these; without any, it must be more than all that the thread did.
    pub reuse_share: f64,
    pub reuse_median: f64,
    pub reuse_ninth_decile: f64,
    /// Entropy of the accesses over 64 equal parts of the tree, of what it could be at most: 1 is everywhere alike, 0 is one
    /// part. 1 for trees that are too small to tell.
    pub heat_entropy: f64,
    /// The share of the hottest part, and that of the last.
    pub heat_top_share: f64,
    pub heat_end_share: f64,
    pub values: u64,
    pub value_bytes: u64,
    pub writes: Writes,
    pub reads: Dependent,
    pub scans: Dependent,
}

/// Gathers what the threads have seen.
#[derive(Default)]
pub struct Gathering {
    /// Each thread's, in the order of their accesses.
    threads: Vec<Vec<Sample>>,
    leaves: u32,
    summary: Summary,
}

impl Gathering {
    /// Empties the sketch. Returns how many samples it had.
    pub fn take(&mut self, sketch: &mut Sketch) -> usize {
        let taken = sketch.samples.len();
        if taken > 0 {
            self.threads.push(sketch.samples.clone());
            sketch.samples.clear();
        }
        self.leaves = self.leaves.max(std::mem::take(&mut sketch.leaves));
        let summary = &mut self.summary;
        summary.values += std::mem::take(&mut sketch.values_read);
        summary.value_bytes += std::mem::take(&mut sketch.value_bytes);
        summary.writes.add(std::mem::take(&mut sketch.writes));
        summary.reads.add(std::mem::take(&mut sketch.reads));
        summary.scans.add(std::mem::take(&mut sketch.scans));
        taken
    }

    pub fn summary(mut self) -> Summary {
        let sampled: usize = self.threads.iter().map(Vec::len).sum();
        self.summary.sampled = sampled as u64;
        if sampled > 0 {
            self.skew(sampled);
            self.reuse(sampled);
            self.heat(sampled);
        }
        self.summary
    }

    fn skew(&mut self, sampled: usize) {
        // Neighbours in time stay together: what is read twice in a row is not popular by that.
        let (mut half, mut other) = (FxHashMap::<u64, u32>::default(), FxHashMap::<u64, u32>::default());
        let (mut distinct, mut of, mut among) = (0, 0, 0);
        let mut group = FxHashMap::<u64, ()>::default();
        for samples in &self.threads {
            for (index, sample) in samples.iter().enumerate() {
                *if sample.burst % 2 == 0 { &mut half } else { &mut other }.entry(sample.key).or_default() += 1;
                group.insert(sample.key, ());
                among += 1;
                // A rest is too small to be compared, unless there is nothing else.
                if among == TOGETHER || index + 1 == samples.len() && (of == 0 || among >= TOGETHER / 2) {
                    distinct += group.len();
                    of += among;
                }
                if among == TOGETHER || index + 1 == samples.len() {
                    group.clear();
                    among = 0;
                }
            }
        }
        self.summary.distinct_share = distinct as f64 / of.max(1) as f64;
        let total: u32 = other.values().sum();
        let mut top: Vec<(u32, u64)> = half.into_iter().map(|(key, count)| (count, key)).collect();
        top.sort_unstable_by(|one, two| two.cmp(one));
        let share = |most: usize| {
            let count: u32 = top.iter().take(most).filter_map(|(_, key)| other.get(key)).sum();
            f64::from(count) / f64::from(total.max(1))
        };
        debug_assert!(total as usize <= sampled);
        (self.summary.top_16_share, self.summary.top_128_share) = (share(16), share(128));
    }

    fn reuse(&mut self, sampled: usize) {
        let mut distances = Vec::new();
        for samples in &self.threads {
            let mut last = FxHashMap::<u64, u64>::default();
            for sample in samples {
                distances.extend(last.insert(sample.key, sample.at).map(|before| sample.at.saturating_sub(before)));
            }
        }
        distances.sort_unstable();
        let spans = self.threads.iter().filter_map(|samples| samples.last()?.at.checked_sub(samples.first()?.at));
        let longest = spans.max().unwrap_or(0) as f64;
        let at = |part: f64| match distances.len() {
            0 => longest,
            length => distances[((length - 1) as f64 * part) as usize] as f64,
        };
        self.summary.reuse_share = distances.len() as f64 / sampled as f64;
        (self.summary.reuse_median, self.summary.reuse_ninth_decile) = (at(0.5), at(0.9));
    }

    fn heat(&mut self, sampled: usize) {
        let mut parts = [0_u32; PARTS];
        for sample in self.threads.iter().flatten() {
            parts[(usize::from(sample.part) * PARTS) >> 16] += 1;
        }
        let sampled = sampled as f64;
        let shares = parts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / sampled);
        let entropy: f64 = shares.map(|share| -share * share.log2()).sum();
        let most = (self.leaves as f64).min(PARTS as f64).min(sampled).log2();
        let summary = &mut self.summary;
        summary.heat_entropy = if most > 0.0 { (entropy / most).min(1.0) } else { 1.0 };
        summary.heat_top_share = f64::from(parts.into_iter().max().unwrap_or(0)) / sampled;
        summary.heat_end_share = f64::from(parts[PARTS - 1]) / sampled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sense::Position;

    const COUNT: u64 = 4_000;

    /// Of accesses to such keys, in bursts of 16, 100 operations between two.
    fn summary(leaves: u32, key: impl Fn(u64) -> u64) -> Summary {
        let mut sketch = Sketch::default();
        for number in 0..COUNT {
            if number.is_multiple_of(16) {
                sketch.begin_burst();
            }
            let key = key(number);
            let position = Position { part: (key * 65_536 / 1_000) as u16, leaves };
            sketch.read(&key.to_be_bytes(), None, number * 100, position);
        }
        let mut gathering = Gathering::default();
        assert_eq!(gathering.take(&mut sketch), COUNT as usize);
        gathering.summary()
    }

    fn random(number: u64) -> u64 {
        crate::replacement::hash(number.wrapping_add(1))
    }

    #[test]
    fn of_thousand_keys_alike() {
        let seen = summary(1_000, |number| random(number) % 1_000);
        assert_eq!(seen.sampled, COUNT);
        assert!(seen.top_16_share < 0.03 && seen.top_128_share < 0.19, "{seen:?}");
        assert!((0.85..0.92).contains(&seen.distinct_share), "{seen:?}");
        assert!(seen.heat_entropy > 0.97 && seen.heat_top_share < 0.04, "{seen:?}");
        // One in thousand operations meets the same key again.
        assert!((50_000.0..90_000.0).contains(&seen.reuse_median), "{seen:?}");
    }

    #[test]
    fn of_few_keys_that_are_most() {
        let hot = |number: u64| {
            if random(number).is_multiple_of(10) { random(!number) % 1_000 } else { random(!number) % 10 }
        };
        let seen = summary(1_000, hot);
        assert!(seen.top_16_share > 0.85, "{seen:?}");
        assert!(seen.distinct_share < 0.2, "{seen:?}");
        assert!(seen.heat_entropy < 0.5 && seen.heat_top_share > 0.85, "{seen:?}");
        assert!(seen.reuse_median < 2_000.0 && seen.reuse_share > 0.9, "{seen:?}");
    }

    #[test]
    fn a_key_after_the_other() {
        let seen = summary(1_000, |number| number % 1_000);
        assert!(seen.top_16_share < 0.03, "{seen:?}");
        assert!((seen.distinct_share, seen.reuse_median) == (1.0, 100_000.0), "{seen:?}");
    }

    #[test]
    fn nothing_and_little() {
        assert_eq!(Gathering::default().summary(), Summary::default());
        let mut sketch = Sketch::default();
        sketch.read(b"a", Some(b"value"), 7, Position { part: 65_535, leaves: 1 });
        let mut gathering = Gathering::default();
        gathering.take(&mut sketch);
        let seen = gathering.summary();
        assert_eq!((seen.sampled, seen.values, seen.value_bytes), (1, 1, 5));
        assert_eq!((seen.distinct_share, seen.heat_entropy, seen.heat_end_share), (1.0, 1.0, 1.0));
        assert_eq!(sketch.samples.len(), 0);
    }
}
