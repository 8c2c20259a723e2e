//! The followed in the order of their last accesses: how many bytes of them were used since.

use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

const LEAST_TIMES: usize = 1024;

#[derive(Clone, Copy)]
struct Last {
    time: usize,
    bytes: u32,
}

pub struct Recency {
    last: FxHashMap<u64, Last>,
    by_hash: BinaryHeap<u64>,
    /// A Fenwick tree: at its last access's time each has its bytes.
    tree: Vec<u64>,
    total: u64,
    now: usize,
}

impl Recency {
    pub fn new() -> Recency {
        Recency {
            last: FxHashMap::default(),
            by_hash: BinaryHeap::new(),
            tree: vec![0; LEAST_TIMES + 1],
            total: 0,
            now: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// The bytes of all others that were used since its last access, if there was one.
    pub fn touch(&mut self, hash: u64, bytes: u32) -> Option<u64> {
        if self.now + 1 == self.tree.len() {
            self.renumber();
        }
        self.now += 1;
        let before = self.last.insert(hash, Last { time: self.now, bytes });
        let since = match before {
            Some(last) => {
                let since = self.total - self.sum(last.time);
                self.put(last, false);
                Some(since)
            }
            None => {
                self.by_hash.push(hash);
                None
            }
        };
        self.put(Last { time: self.now, bytes }, true);
        since
    }

    /// Forgets the one with the highest hash, and tells it.
    pub fn remove_highest(&mut self) -> u64 {
        let hash = self.by_hash.pop().expect("somebody is followed");
        let last = self.last.remove(&hash).expect("each in the heap is followed");
        self.put(last, false);
        hash
    }

    fn sum(&self, time: usize) -> u64 {
        let (mut at, mut sum) = (time, 0);
        while at > 0 {
            sum += self.tree[at];
            at &= at - 1;
        }
        sum
    }

    fn put(&mut self, last: Last, add: bool) {
        let bytes = u64::from(last.bytes);
        let change = |to: &mut u64| *to = if add { *to + bytes } else { *to - bytes };
        change(&mut self.total);
        let mut at = last.time;
        while at < self.tree.len() {
            change(&mut self.tree[at]);
            at += at & at.wrapping_neg();
        }
    }

    /// Times begin at 1 again, with as many free ones as there are followed.
    fn renumber(&mut self) {
        let mut order: Vec<&mut Last> = self.last.values_mut().collect();
        order.sort_unstable_by_key(|last| last.time);
        self.tree = vec![0; (2 * order.len()).max(LEAST_TIMES) + 1];
        self.now = order.len();
        for (at, last) in order.iter_mut().enumerate() {
            last.time = at + 1;
            self.tree[at + 1] = u64::from(last.bytes);
        }
        for at in 1..self.tree.len() {
            let above = at + (at & at.wrapping_neg());
            if above < self.tree.len() {
                self.tree[above] += self.tree[at];
            }
        }
    }
}
