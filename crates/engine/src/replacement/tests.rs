//! The queues beside a plain set of what should be in them.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Policy, Queues, Simulation, Slot, hash};

const POLICIES: [Policy; 4] = [Policy::SecondChance, Policy::Sieve, Policy::S3Fifo, Policy::Adaptive];

#[derive(Clone, Debug)]
enum Step {
    Admit {
        identity: u64,
        bytes: u32,
        probation: bool,
    },
    Use {
        which: usize,
        times: u8,
    },
    Forget {
        which: usize,
    },
    Resize {
        which: usize,
        bytes: u32,
    },
    /// Victims until so many bytes are left, of which those that `stuck` tells are put back once.
    Shrink {
        percent: u64,
        stuck: u8,
    },
    SetCapacity(u64),
    SetPolicy(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..60_u64, 1..300_u32, prop::bool::weighted(0.1))
            .prop_map(|(identity, bytes, probation)| Step::Admit { identity, bytes, probation }),
        12 => (any::<usize>(), 1..5_u8).prop_map(|(which, times)| Step::Use { which, times }),
        2 => any::<usize>().prop_map(|which| Step::Forget { which }),
        2 => (any::<usize>(), 1..300_u32).prop_map(|(which, bytes)| Step::Resize { which, bytes }),
        2 => (0..100_u64, any::<u8>()).prop_map(|(percent, stuck)| Step::Shrink { percent, stuck }),
        1 => (1..6000_u64).prop_map(Step::SetCapacity),
        1 => (0..POLICIES.len()).prop_map(Step::SetPolicy),
    ];
    prop::collection::vec(step, 1..400)
}

#[derive(Clone, Copy)]
struct Entry {
    identity: u64,
    bytes: u32,
    marks: u8,
}

struct Pair {
    queues: Queues<u64>,
    entries: HashMap<Slot, Entry>,
}

impl Pair {
    fn pick(&self, which: usize) -> Option<Slot> {
        let mut slots: Vec<Slot> = self.entries.keys().copied().collect();
        slots.sort_unstable();
        (!slots.is_empty()).then(|| slots[which % slots.len()])
    }

    fn victim(&mut self, looks: &mut usize) -> Option<Slot> {
        let entries = &mut self.entries;
        let victim = self.queues.victim(&mut |_, slot| {
            *looks += 1;
            let entry = entries.get_mut(&slot).expect("a forgotten entry was looked at");
            std::mem::take(&mut entry.marks)
        });
        assert!(victim.is_some() || self.entries.is_empty(), "no victim among {}", self.entries.len());
        victim
    }

    fn evict(&mut self, looks: &mut usize) -> bool {
        let Some(slot) = self.victim(looks) else { return false };
        let entry = self.entries.remove(&slot).expect("an entry went twice");
        assert_eq!(self.queues.payload(slot), entry.identity);
        self.queues.forget(slot);
        true
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Admit { identity, bytes, probation } => {
                let slot = self.queues.admit(identity, bytes, probation, identity);
                let before = self.entries.insert(slot, Entry { identity, bytes, marks: 0 });
                assert!(before.is_none(), "slot {slot} was handed out twice");
            }
            Step::Use { which, times } => {
                if let Some(slot) = self.pick(which) {
                    self.entries.get_mut(&slot).unwrap().marks = times.min(3);
                }
            }
            Step::Forget { which } => {
                if let Some(slot) = self.pick(which) {
                    self.queues.forget(slot);
                    self.entries.remove(&slot);
                }
            }
            Step::Resize { which, bytes } => {
                if let Some(slot) = self.pick(which) {
                    self.queues.resize(slot, bytes);
                    self.entries.get_mut(&slot).unwrap().bytes = bytes;
                }
            }
            Step::Shrink { percent, stuck } => {
                let goal = self.queues.bytes() * percent / 100;
                let mut stuck = stuck;
                while self.queues.bytes() > goal {
                    if stuck & 1 == 1 {
                        let slot = self.victim(&mut 0).expect("there are bytes");
                        self.queues.resize(slot, 7);
                        self.queues.put_back(slot);
                        self.entries.get_mut(&slot).unwrap().bytes = 7;
                    } else {
                        self.evict(&mut 0);
                    }
                    stuck >>= 1;
                }
            }
            Step::SetCapacity(bytes) => self.queues.set_capacity(bytes),
            Step::SetPolicy(policy) => self.queues.set_policy(POLICIES[policy]),
        }
        assert_eq!(self.queues.len(), self.entries.len());
        assert_eq!(self.queues.bytes(), self.entries.values().map(|entry| u64::from(entry.bytes)).sum::<u64>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn queues_hold_what_was_admitted_and_give_all_of_it_back(
        policy in 0..POLICIES.len(), capacity in 1..6000_u64, steps in steps()
    ) {
        let mut pair = Pair { queues: Queues::new(POLICIES[policy], capacity), entries: HashMap::new() };
        for step in &steps {
            pair.apply(step);
        }
        // Three uses can hold an entry back for three rounds, and one more in each list that it goes through.
        let (most, mut looks) = (pair.entries.len() * 6, 0);
        while pair.evict(&mut looks) {}
        prop_assert!(pair.entries.is_empty());
        prop_assert!(looks <= most, "{looks} looks for {most}");
        prop_assert_eq!((pair.queues.len(), pair.queues.bytes()), (0, 0));
    }
}

/// Of a cache of so many identities.
fn hits(policy: Policy, capacity: u64, identities: impl IntoIterator<Item = u64>) -> usize {
    let mut cache = Simulation::new(policy, capacity);
    identities.into_iter().filter(|identity| cache.access(*identity, 1)).count()
}

#[test]
fn entries_that_are_all_in_use_do_not_hold_up_a_victim() {
    for policy in POLICIES {
        let mut queues = Queues::new(policy, 100_000);
        (0..100_000).for_each(|identity| {
            queues.admit(identity, 1, false, ());
        });
        let mut looks = 0;
        let used = &mut |_, _| {
            looks += 1;
            3
        };
        assert!(queues.victim(used).is_some());
        assert!(looks <= 1024, "{policy:?} looked at {looks}");
    }
}

#[test]
fn what_scans_bring_in_goes_first() {
    for policy in POLICIES {
        let mut queues = Queues::new(policy, 1000);
        for identity in 0..1000 {
            queues.admit(identity, 1, identity % 2 == 1, identity);
        }
        for _ in 0..500 {
            let victim = queues.victim(&mut |_, _| 0).unwrap();
            assert_eq!(queues.payload(victim) % 2, 1, "{policy:?}");
            queues.forget(victim);
        }
    }
}

#[test]
fn a_loop_larger_than_the_cache_keeps_a_part_of_it() {
    let round = || (0..100).flat_map(|_| 0..1000);
    assert_eq!(hits(Policy::SecondChance, 500, round()), 0);
    assert_eq!(hits(Policy::Sieve, 500, round()), 0);
    for policy in [Policy::S3Fifo, Policy::Adaptive] {
        assert!(hits(policy, 500, round()) > 40_000, "{policy:?}");
    }
}

#[test]
fn a_new_working_set_takes_the_place_of_an_old_one() {
    // Not with Sieve: a hand that has passed the old ones goes on among the new ones for as long as they come.
    for policy in [Policy::SecondChance, Policy::S3Fifo, Policy::Adaptive] {
        let before = (0..20).flat_map(|_| 0..900);
        let after = (0..20).flat_map(|_| 10_000..10_900);
        let hits = hits(policy, 1000, before.chain(after));
        assert!(hits > 2 * 19 * 900 - 5 * 900, "{policy:?} has {hits}");
    }
}

/// Turns of three kinds of work: some identities more often than others, those of late, and a loop larger than the cache.
fn turns(capacity: u64) -> impl Iterator<Item = u64> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 33) as f64 / (1_u64 << 31) as f64
    };
    let length = 30 * capacity;
    (0..3 * length).map(move |at| match at / length {
        0 => (random().powi(6) * (20 * capacity) as f64) as u64,
        1 => (1 << 32) + at / 4 - (random().powi(2) * capacity as f64) as u64,
        _ => (2 << 32) + at % (2 * capacity),
    })
}

#[test]
fn the_adaptive_policy_is_about_the_best_for_each_kind_of_work() {
    // The second size has few of its identities simulated.
    for capacity in [1000, 20_000] {
        let adaptive = hits(Policy::Adaptive, capacity, turns(capacity));
        for policy in [Policy::SecondChance, Policy::Sieve, Policy::S3Fifo] {
            let other = hits(policy, capacity, turns(capacity));
            assert!(adaptive as f64 > 0.99 * other as f64, "{adaptive} beside {other} of {policy:?} with {capacity}");
        }
    }
}

#[test]
fn a_large_cache_asks_for_few_of_the_accesses() {
    let mut queues = Queues::new(Policy::Adaptive, 100_000);
    assert_eq!(queues.threshold(), u64::MAX);
    (0..100_000).for_each(|identity| {
        queues.admit(identity, 1, false, ());
    });
    let asked_for = (0..100_000).filter(|identity| hash(*identity) < queues.threshold()).count();
    assert!((2500..4000).contains(&asked_for), "{asked_for}");
    queues.set_policy(Policy::S3Fifo);
    assert_eq!(queues.threshold(), 0);
}
