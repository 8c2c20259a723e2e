//! What a queue can be told about how to choose.

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    SecondChance,
    Sieve,
    Filtered(Filter),
}

/// New entries have to show that they are used before they may stay, as in S3-FIFO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    /// Of the capacity, for new entries.
    pub small: f64,
    /// Uses of a new entry after which it may stay.
    pub uses: u8,
    pub horizon: Horizon,
    /// Those that go from the main list may come back to it, too.
    pub remember_main: bool,
    /// Of those that come back: rounds that they may stay without being used.
    pub lives: u8,
}

/// For how long an entry that has gone may come back to the main list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Horizon {
    /// Until as many went as there are entries, times this.
    OfEntries(f64),
    /// For as long as entries last in the main list that are not used there, times this: what takes longer to be used again
    /// would not last either.
    OfStay(f64),
}

/// Yang et al., SOSP '23.
pub const S3_FIFO: Rule =
    Rule::Filtered(Filter { small: 0.1, uses: 2, horizon: Horizon::OfEntries(0.9), remember_main: false, lives: 0 });

// What the adaptive policy chooses among. Each does best for some kind of work, the first well for most.

pub const FAVOURING_FREQUENCY: Rule =
    Rule::Filtered(Filter { small: 0.1, uses: 2, horizon: Horizon::OfEntries(1.0), remember_main: true, lives: 0 });

/// Who was used once may stay.
pub const FAVOURING_USE: Rule =
    Rule::Filtered(Filter { small: 0.15, uses: 1, horizon: Horizon::OfStay(0.6), remember_main: true, lives: 0 });

/// With time for new entries to be used, and for old ones to come back.
pub const FAVOURING_RECENCY: Rule =
    Rule::Filtered(Filter { small: 0.25, uses: 1, horizon: Horizon::OfStay(1.5), remember_main: true, lives: 0 });

/// Of a loop or a scan larger than the cache nearly all that has its place keeps it.
pub const FAVOURING_LOOPS: Rule =
    Rule::Filtered(Filter { small: 0.03, uses: 2, horizon: Horizon::OfStay(2.0), remember_main: false, lives: 1 });
