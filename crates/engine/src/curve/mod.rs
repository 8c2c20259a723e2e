//! How often a least-recently-used cache would miss, at every size: a miss-ratio curve from a sample of the accesses.
//!
//! Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS", FAST '15: of all identities those are
//! followed whose hash is below a threshold, with all their accesses. The threshold falls so that there are never more
//! than a given number of them. What they tell is scaled by the rate, and the accesses that the sample has too many or too few
//! are counted at the smallest distance ("SHARDS-adj").

mod distances;
mod recency;
#[cfg(test)]
mod tests;

use distances::Distances;
use recency::Recency;

use crate::replacement::hash;

pub struct MissRatioCurve {
    /// Identities are followed if their hash is below it.
    threshold: u64,
    most_samples: usize,
    recency: Recency,
    distances: Distances,
    /// All accesses, sampled or not.
    accesses: f64,
    /// What the sampled ones stand for.
    accounted: f64,
}

impl MissRatioCurve {
    /// Follows a `rate` of the identities, and fewer when there are more than `most_samples`.
    pub fn new(most_samples: usize, rate: f64) -> MissRatioCurve {
        MissRatioCurve {
            threshold: (rate.clamp(0.0, 1.0) * 2_f64.powi(64)) as u64,
            most_samples: most_samples.max(1),
            recency: Recency::new(),
            distances: Distances::default(),
            accesses: 0.0,
            accounted: 0.0,
        }
    }

    /// The part of the identities that is followed now.
    pub fn rate(&self) -> f64 {
        self.threshold as f64 / 2_f64.powi(64)
    }

    /// How many are followed.
    pub fn samples(&self) -> usize {
        self.recency.len()
    }

    /// Accesses so far, as `decay` left them.
    pub fn accesses(&self) -> f64 {
        self.accesses
    }

    /// Identities are followed if their `replacement::hash` is below this. Accesses to others may `pass`, many at once.
    #[inline]
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// So many accesses to what is not followed.
    pub fn pass(&mut self, accesses: u64) {
        self.accesses += accesses as f64;
    }

    /// An access to what takes so many bytes. Logarithmic in the number of samples.
    pub fn access(&mut self, identity: u64, bytes: u32) {
        self.accesses += 1.0;
        let hash = hash(identity);
        if hash >= self.threshold {
            return;
        }
        let rate = self.rate();
        let weight = 1.0 / rate;
        self.accounted += weight;
        match self.recency.touch(hash, bytes) {
            // The others are a sample; it itself is certain.
            Some(others) => self.distances.add((others as f64 / rate) as u64 + u64::from(bytes), weight),
            None => {
                while self.recency.len() > self.most_samples {
                    self.threshold = self.recency.remove_highest();
                }
            }
        }
    }

    /// What is known weighs so much of what it did, so that what comes counts for more. `factor` is from 0 to 1.
    pub fn decay(&mut self, factor: f64) {
        self.distances.scale(factor);
        self.accesses *= factor;
        self.accounted *= factor;
    }

    /// A cache of so many bytes would miss so many of the accesses; 1 when there were none.
    pub fn miss_ratio(&self, bytes: u64) -> f64 {
        self.ratio(self.distances.up_to(bytes), bytes)
    }

    /// Sizes in bytes, rising from 0, with the miss ratio at each: all sizes where it falls, to 1 %.
    pub fn points(&self) -> Vec<(u64, f64)> {
        let mut points = vec![(0, 1.0)];
        points.extend(self.distances.sums().map(|(bytes, within)| (bytes, self.ratio(within, bytes))));
        points
    }

    fn ratio(&self, within: f64, bytes: u64) -> f64 {
        if self.accesses <= 0.0 || bytes == 0 {
            return 1.0;
        }
        let missing = self.accesses - self.accounted;
        (1.0 - (within + missing) / self.accesses).clamp(0.0, 1.0)
    }
}
