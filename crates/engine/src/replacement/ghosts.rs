//! Fingerprints of entries that went lately: eight bytes each, in a table that forgets the oldest.

const WAYS: usize = 8;
/// Of a bucket's ways, so many are meant to be taken.
const TAKEN: usize = 6;
const LEAST_BUCKETS: usize = 4;

#[derive(Clone, Copy, Default)]
struct Ghost {
    /// Of the identity; it also tells the bucket. Zero means none.
    hash: u32,
    /// How many had gone before it.
    time: u32,
}

/// Remembers in the order of forgetting: `recall` tells how many have gone since.
pub struct Ghosts {
    buckets: Box<[[Ghost; WAYS]]>,
    time: u32,
}

impl Ghosts {
    pub fn new() -> Ghosts {
        Ghosts { buckets: Box::new([]), time: 0 }
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Makes room for so many, if it is much more than there is; what is remembered stays.
    pub fn reserve(&mut self, ghosts: usize) {
        let wanted = (ghosts / TAKEN + 1).max(LEAST_BUCKETS);
        if wanted > self.buckets.len() || wanted < self.buckets.len() / 4 {
            let before = std::mem::replace(&mut self.buckets, vec![Default::default(); wanted + wanted / 8].into());
            for ghost in before.iter().flatten().filter(|ghost| ghost.hash != 0) {
                self.put(*ghost);
            }
        }
    }

    pub fn remember(&mut self, identity: u64) {
        if self.buckets.is_empty() {
            return;
        }
        self.time = self.time.wrapping_add(1);
        self.put(Ghost { hash: fingerprint(identity), time: self.time });
    }

    fn put(&mut self, ghost: Ghost) {
        let now = self.time;
        let age = |other: &Ghost| if other.hash == 0 { u32::MAX } else { now.wrapping_sub(other.time) };
        let bucket = &mut self.buckets[bucket(ghost.hash, self.buckets.len())];
        let same = bucket.iter().position(|other| other.hash == ghost.hash);
        let oldest = || (0..WAYS).max_by_key(|way| age(&bucket[*way])).unwrap_or(0);
        bucket[same.unwrap_or_else(oldest)] = ghost;
    }

    /// How many have gone since this one did, if it is remembered; it is no longer.
    pub fn recall(&mut self, identity: u64) -> Option<u32> {
        if self.buckets.is_empty() {
            return None;
        }
        let hash = fingerprint(identity);
        let bucket = &mut self.buckets[bucket(hash, self.buckets.len())];
        let ghost = bucket.iter_mut().find(|ghost| ghost.hash == hash)?;
        Some(self.time.wrapping_sub(std::mem::take(ghost).time))
    }
}

fn fingerprint(identity: u64) -> u32 {
    // The lower half: of what is sampled, the upper one has few values.
    (super::hash(identity) as u32).max(1)
}

fn bucket(hash: u32, buckets: usize) -> usize {
    ((u64::from(hash) * buckets as u64) >> 32) as usize
}
