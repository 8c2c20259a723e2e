//! A histogram of distances in bytes, each exact to 1 %.

/// Of each power of two.
const PARTS_BITS: u32 = 7;
const PARTS: u64 = 1 << PARTS_BITS;

#[derive(Default)]
pub struct Distances {
    weights: Vec<f64>,
}

impl Distances {
    pub fn add(&mut self, distance: u64, weight: f64) {
        let index = index(distance);
        if self.weights.len() <= index {
            self.weights.resize(index + 1, 0.0);
        }
        self.weights[index] += weight;
    }

    pub fn scale(&mut self, factor: f64) {
        self.weights.iter_mut().for_each(|weight| *weight *= factor);
    }

    /// The weight of all distances up to this; where it lies between two that are known, in proportion.
    pub fn up_to(&self, distance: u64) -> f64 {
        let at = index(distance).min(self.weights.len());
        let below: f64 = self.weights[..at].iter().sum();
        let part = self.weights.get(at).map_or(0.0, |weight| {
            let (before, last) = (at.checked_sub(1).map_or(0, highest), highest(at));
            weight * (distance - before) as f64 / (last - before).max(1) as f64
        });
        below + part
    }

    /// Distances and the weight of all up to each, where there is any.
    pub fn sums(&self) -> impl Iterator<Item = (u64, f64)> {
        let mut sum = 0.0;
        self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0).map(move |(index, weight)| {
            sum += weight;
            (highest(index), sum)
        })
    }
}

fn index(distance: u64) -> usize {
    let shift = (distance | PARTS).ilog2() - PARTS_BITS;
    ((u64::from(shift) << PARTS_BITS) + (distance >> shift)) as usize
}

/// The highest distance of those that share an index.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index >> PARTS_BITS).saturating_sub(1);
    let first = index - (shift << PARTS_BITS);
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::{highest, index};

    #[test]
    fn indices_follow_each_other() {
        assert_eq!(highest(0), 0);
        for at in 1..6000 {
            assert_eq!(index(highest(at)), at);
            assert_eq!(index(highest(at - 1) + 1), at);
        }
    }
}
