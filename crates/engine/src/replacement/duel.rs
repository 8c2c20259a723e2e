//! Which of a few rules does best now: each runs a small cache of a sample of the identities.
//!
//! Waldspurger et al., ATC '17: a cache that sees a part of the identities, and is as much smaller, has nearly the same hit
//! ratio. Two rules differ in few accesses, so these alone are counted: what one of them would have had in memory and the
//! other not.

use super::hash;
use super::rule::{FAVOURING_FREQUENCY, FAVOURING_LOOPS, FAVOURING_RECENCY, FAVOURING_USE, Rule};
use super::simulation::Simulation;

/// The first is what a cache starts with.
const RULES: [Rule; 4] = [FAVOURING_FREQUENCY, FAVOURING_USE, FAVOURING_RECENCY, FAVOURING_LOOPS];
/// Entries of one simulated cache at most.
const MOST_ENTRIES: usize = 4096;
/// Sampled accesses between two decisions.
const PERIOD: u32 = 16;
/// What was counted weighs half after so many sampled accesses, by entries simulated and besides.
const HALF_LIFE: (f64, f64) = (10.0, 1000.0);
/// A rule takes over when it is ahead by so many hits and so many standard deviations of what chance would do.
const LEAD: (f64, f64) = (1.0, 2.5);

pub struct Duel {
    simulations: [Simulation; RULES.len()],
    /// Accesses of late that the first would have found in memory and the second not.
    ahead: [[f64; RULES.len()]; RULES.len()],
    best: usize,
    /// One identity in two to the power of this is simulated.
    halvings: u32,
    least_halvings: u32,
    until_decision: u32,
}

impl Duel {
    /// Of the identities one in two to the power of `least_halvings` is heard of at most.
    pub fn new(capacity: u64, least_halvings: u32) -> Duel {
        Duel {
            simulations: RULES.map(|rule| Simulation::of_rule(rule, capacity)),
            ahead: [[0.0; RULES.len()]; RULES.len()],
            best: 0,
            halvings: least_halvings,
            least_halvings,
            until_decision: PERIOD,
        }
    }

    pub fn rule(&self) -> Rule {
        RULES[self.best]
    }

    /// Identities are simulated if their hash is below this.
    pub fn threshold(&self) -> u64 {
        u64::MAX >> self.halvings
    }

    /// The real cache has so many entries, and may have so many bytes.
    pub fn scale(&mut self, entries: usize, capacity: u64) {
        while entries >> self.halvings > MOST_ENTRIES {
            self.halvings += 1;
        }
        while self.halvings > self.least_halvings && entries >> (self.halvings - 1) < MOST_ENTRIES / 2 {
            self.halvings -= 1;
        }
        for simulation in &mut self.simulations {
            simulation.set_capacity((capacity >> self.halvings).max(1));
        }
    }

    pub fn access(&mut self, identity: u64, bytes: u32) {
        if hash(identity) >= self.threshold() {
            return;
        }
        let hits = self.simulations.each_mut().map(|simulation| simulation.access(identity, bytes));
        for (ahead, hit) in self.ahead.iter_mut().zip(hits) {
            for (ahead, other) in ahead.iter_mut().zip(hits) {
                *ahead += f64::from(u8::from(hit && !other));
            }
        }
        self.until_decision -= 1;
        if self.until_decision == 0 {
            self.until_decision = PERIOD;
            self.decide();
        }
    }

    fn decide(&mut self) {
        let live = self.best;
        let mut most = 0.0;
        for rule in 0..RULES.len() {
            let (ahead, behind) = (self.ahead[rule][live], self.ahead[live][rule]);
            let lead = ahead - behind - LEAD.0 - LEAD.1 * (ahead + behind).sqrt();
            if lead > most {
                (most, self.best) = (lead, rule);
            }
        }
        let entries = self.simulations[0].len() as f64;
        let keep = 0.5_f64.powf(f64::from(PERIOD) / (HALF_LIFE.0 * entries + HALF_LIFE.1));
        self.ahead.iter_mut().flatten().for_each(|ahead| *ahead *= keep);
    }
}
