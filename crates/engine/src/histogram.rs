//! How often values of which size occurred: counts by bucket, each power of two cut into eight.

use crate::sync::{AtomicU64, Ordering};

/// Buckets in a power of two, as a power of two. A bucket is an eighth as wide as its octave's lowest value, so its
/// middle is at most 1/16 (6.25 %) away from any value in it. Below 16 each value has a bucket of its own.
const CUTS_LOG2: u32 = 3;
const CUTS: u64 = 1 << CUTS_LOG2;
/// Enough for every `u64`.
const BUCKETS: usize = bucket_of(u64::MAX) + 1;

const fn bucket_of(value: u64) -> usize {
    if value < CUTS {
        return value as usize;
    }
    let shift = value.ilog2() - CUTS_LOG2;
    (shift as u64 * CUTS + (value >> shift)) as usize
}

/// The lowest value of a bucket, and the highest.
fn bounds_of(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    let shift = (bucket / CUTS).saturating_sub(1);
    let low = (bucket - shift * CUTS) << shift;
    (low, low + ((1 << shift) - 1))
}

/// Counts that only grow, so that whoever keeps an earlier reading can subtract it from a later one.
#[derive(Debug)]
pub struct Histogram {
    /// Wraps around; of nanoseconds after centuries.
    sum: AtomicU64,
    counts: [AtomicU64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { sum: AtomicU64::new(0), counts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Histogram {
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// The same value so many times.
    pub fn record_many(&self, value: u64, times: u64) {
        self.counts[bucket_of(value)].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value * times, Ordering::Relaxed);
    }

    pub fn add_to(&self, reading: &mut Reading) {
        for (sum, count) in reading.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        reading.sum = reading.sum.wrapping_add(self.sum.load(Ordering::Relaxed));
    }

    pub fn read(&self) -> Reading {
        let mut reading = Reading::default();
        self.add_to(&mut reading);
        reading
    }
}

/// What one histogram, or several, had counted when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Of all values.
    pub sum: u64,
    counts: [u64; BUCKETS],
}

impl Default for Reading {
    fn default() -> Reading {
        Reading { sum: 0, counts: [0; BUCKETS] }
    }
}

impl Reading {
    /// How many values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The buckets that hold something, lowest first: their lowest value, their highest, how many.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bucket, &count)| {
            let (low, high) = bounds_of(bucket);
            (low, high, count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let (low, high) = bounds_of(bucket);
            assert_eq!(low, next, "bucket {bucket}");
            assert!(high >= low);
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            next = high.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last bucket ends with the largest number");
    }

    /// Of all sizes alike, not nearly all of them huge.
    fn any_size() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64u32).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn each_value_is_in_its_bucket_and_near_its_middle(value in any_size()) {
            let (low, high) = bounds_of(bucket_of(value));
            prop_assert!((low..=high).contains(&value));
            let middle = low as f64 / 2.0 + high as f64 / 2.0;
            prop_assert!((middle - value as f64).abs() <= value as f64 / 16.0, "{value} in {low}..={high}");
        }

        #[test]
        fn readings_add_up_and_only_grow(values in prop::collection::vec(any_size(), 0..50), cut: usize) {
            let (first, second) = (Histogram::default(), Histogram::default());
            let cut = cut % (values.len() + 1);
            values[..cut].iter().for_each(|&value| first.record(value));
            let before = first.read();
            values[cut..].iter().for_each(|&value| second.record(value));
            let mut both = before.clone();
            second.add_to(&mut both);
            prop_assert_eq!(both.count(), values.len() as u64);
            prop_assert_eq!(both.sum, values.iter().fold(0, |sum, &value| value.wrapping_add(sum)));
            prop_assert!(before.counts.iter().zip(&both.counts).all(|(earlier, later)| earlier <= later));
            let kept: Vec<(u64, u64, u64)> = both.buckets().collect();
            for (low, high, count) in kept {
                let inside = values.iter().filter(|value| (low..=high).contains(value)).count();
                prop_assert_eq!(inside as u64, count);
            }
        }
    }
}
