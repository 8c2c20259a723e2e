//! Counters of what happens, cheap enough for every operation: a row of cells for each thread, summed when read.
//!
//! How long operations take is measured for a sample of them only: a clock is asked when an operation is due, and to know
//! that takes one cell beside those that count.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::histogram::{Histogram, Reading};
use crate::sense::{Gathering, Sketch, Summary};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

macro_rules! named {
    ($what:ident: $($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $what { $($(#[$doc])* $name,)* }

        impl $what {
            pub const ALL: &'static [($what, &'static str)] = &[$(($what::$name, $text),)*];
        }
    };
}

// The first few share a cache line with what tells which operations are due.
named! { Count:
    /// A lookup that finds nothing in memory and goes on to the disk counts once.
    GetsFound => "gets_found",
    GetsAbsent => "gets_absent",
    /// Keys and values of what was written; of what was read, as much as was handed out.
    BytesRead => "bytes_read",
    Puts => "puts",
    BytesWritten => "bytes_written",
    /// Gets that waited for the disk; all others were answered from memory.
    GetsFromDisk => "gets_from_disk",
    /// Of these, what excerpts and leaves kept as they are stored answered.
    GetsFromRecords => "gets_from_records",
    GetsFromWarm => "gets_from_warm",
    Deletes => "deletes",
    Batches => "batches",
    BatchRecords => "batch_records",
    Scans => "scans",
    RowsScanned => "rows_scanned",
    /// Leaves that scans walked over, and those of them that were not in memory.
    LeavesScanned => "leaves_scanned",
    LeavesScannedFromDisk => "leaves_scanned_from_disk",
    /// Leaves read from disk, whoever needed them.
    PageLoads => "page_loads",
    /// Long values read from disk.
    LongValueLoads => "long_value_loads",
    Evictions => "evictions",
    /// Changed leaves that were written before a checkpoint came by, to make room in memory.
    EarlyWrites => "early_writes",
    Conflicts => "conflicts",
    /// Puts, in batches or not, with a time to live.
    PutsExpiring => "puts_expiring",
}

/// How often a family's tree was asked for something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accesses {
    /// Leaves, but for those that batches changed.
    pub leaves: u64,
    /// Records by their keys.
    pub records: u64,
    pub batch_records: u64,
}

named! { Measure:
    Get => "get",
    Put => "put",
    Delete => "delete",
    Batch => "batch",
    /// The time that all fetches of a scan took together.
    Scan => "scan",
    /// The same by row.
    ScanRow => "scan_row",
    /// Of all gets that had to unpack a leaf or to read it, without those that memory answered; keys that were asked for
    /// together share the time of their leaf.
    GetWarm => "get_warm",
    GetCold => "get_cold",
    /// Rows that a scan fetched, of every scan.
    ScanLength => "scan_length",
}

impl Measure {
    /// One operation in so many is timed on the average, of the kinds that `Row::start` is for.
    pub fn interval(self) -> u32 {
        INTERVALS[self as usize]
    }
}

const COUNTS: usize = Count::ALL.len();
const MEASURES: usize = Measure::ALL.len();
/// One operation in so many is timed on the average, of the kinds that `Row::start` is for.
const INTERVALS: [u32; 5] = [256, 64, 64, 16, 16];
/// Gets in a row that go into the sketch.
const BURST: u32 = 16;
/// One burst follows so many timed gets at most; fewer where there are few.
const RAREST: u32 = 64;
/// Samples of a thread between two looks, about.
const ENOUGH: u32 = 700;
/// Once enough scans have been looked at since the last look, the rows before one in so many of them are kept.
const ROWS_KEPT_RARELY: u32 = 16;
/// Threads with cells of their own; those beyond share the last row.
const ROWS: usize = 32;

static SLOTS: Mutex<[bool; ROWS - 1]> = Mutex::new([false; ROWS - 1]);

struct Slot(Cell<usize>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(taken) = SLOTS.lock().get_mut(self.0.get()) {
            *taken = false;
        }
    }
}

thread_local! {
    static SLOT: Slot = Slot(Cell::new(claim()));
}

fn claim() -> usize {
    let mut slots = SLOTS.lock();
    let free = slots.iter().position(|taken| !taken).unwrap_or(ROWS - 1);
    if let Some(taken) = slots.get_mut(free) {
        *taken = true;
    }
    free
}

/// A small number that no other living thread has, or the highest one for all threads that came too late.
#[inline(always)]
pub fn thread_slot() -> usize {
    SLOT.try_with(|slot| slot.0.get()).unwrap_or(ROWS - 1)
}

/// What the calling thread counts in. Not `Send`: the cells are the thread's own.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    cells: &'a Cells,
    own: bool,
    of_this_thread: PhantomData<*const ()>,
}

#[repr(C)]
struct Cells {
    /// How many operations go by until one is timed, by kind.
    until_due: [AtomicU32; INTERVALS.len()],
    random: AtomicU32,
    counts: [AtomicU64; COUNTS],
    histograms: [OnceLock<Box<Histogram>>; MEASURES],
    /// Whether somebody looks at the sketch, and it has room.
    is_sensing: AtomicBool,
    /// Whether what scans fetch is kept for the next scan that is looked at.
    keeps_rows: AtomicBool,
    /// Gets until the end of a burst.
    burst: AtomicU32,
    /// Timed gets by burst.
    spacing: AtomicU32,
    sketch: OnceLock<Box<Mutex<Sketch>>>,
}

/// What is due as an operation begins.
#[derive(Clone, Copy, Debug)]
pub enum Started {
    Timed(Instant),
    /// It goes into the sketch.
    Sensed,
}

impl Started {
    pub fn is_sensed(self) -> bool {
        matches!(self, Started::Sensed)
    }
}

impl Cells {
    fn new(row: usize) -> Cells {
        let cells = Cells {
            until_due: std::array::from_fn(|_| AtomicU32::new(0)),
            random: AtomicU32::new(0x9e37_79b9_u32.wrapping_mul(row as u32 + 1)),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            histograms: std::array::from_fn(|_| OnceLock::new()),
            is_sensing: AtomicBool::new(false),
            keeps_rows: AtomicBool::new(true),
            burst: AtomicU32::new(0),
            spacing: AtomicU32::new(4),
            sketch: OnceLock::new(),
        };
        for (until_due, interval) in cells.until_due.iter().zip(INTERVALS) {
            until_due.store(cells.draw(interval), Ordering::Relaxed);
        }
        cells
    }

    /// Between half the interval and one and a half: what a program does in regular turns is met at every turn.
    fn draw(&self, interval: u32) -> u32 {
        interval / 2 + self.random_below(interval)
    }

    fn random_below(&self, limit: u32) -> u32 {
        let random = self.random.load(Ordering::Relaxed).wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        self.random.store(random, Ordering::Relaxed);
        (random >> 16) % limit
    }
}

impl Row<'_> {
    #[inline(always)]
    pub fn add(self, count: Count, amount: u64) {
        let cell = &self.cells.counts[count as usize];
        if self.own {
            // The row is this thread's alone: no locked instruction is needed.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        } else {
            cell.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// As so many operations begin together: what is due with them.
    #[inline(always)]
    pub fn start(self, measure: Measure, operations: u32) -> Option<Started> {
        // Threads that share a row may overwrite each other's; the interval is not exact then.
        let until_due = &self.cells.until_due[measure as usize];
        match until_due.load(Ordering::Relaxed).checked_sub(operations) {
            Some(left) => {
                until_due.store(left, Ordering::Relaxed);
                None
            }
            None => Some(self.start_due(measure, operations)),
        }
    }

    #[cold]
    #[inline(never)]
    fn start_due(self, measure: Measure, operations: u32) -> Started {
        let cells = self.cells;
        let burst = if measure == Measure::Get { cells.burst.load(Ordering::Relaxed) } else { 0 };
        let left = burst.saturating_sub(operations);
        if left == 0 {
            let next = cells.draw(INTERVALS[measure as usize]);
            cells.until_due[measure as usize].store(next, Ordering::Relaxed);
        }
        if burst == 0 {
            return Started::Timed(Instant::now());
        }
        cells.burst.store(left, Ordering::Relaxed);
        Started::Sensed
    }

    /// The end of what `start` timed, if it did: each operation took its share.
    #[inline(always)]
    pub fn finish(self, measure: Measure, started: Option<Started>, operations: u32) {
        if let Some(Started::Timed(started)) = started {
            self.finish_timed(measure, started, operations);
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_timed(self, measure: Measure, started: Instant, operations: u32) {
        self.record(measure, started.elapsed().as_nanos() as u64 / u64::from(operations.max(1)));
        if measure == Measure::Get && self.is_sensing() {
            self.begin_burst();
        }
    }

    /// Some timed gets are followed by a burst: each get in it is due.
    fn begin_burst(self) {
        let cells = self.cells;
        if cells.random_below(cells.spacing.load(Ordering::Relaxed)) == 0 {
            cells.burst.store(BURST, Ordering::Relaxed);
            cells.until_due[Measure::Get as usize].store(0, Ordering::Relaxed);
            self.sense(Sketch::begin_burst);
        }
    }

    #[inline(always)]
    pub fn is_sensing(self) -> bool {
        self.cells.is_sensing.load(Ordering::Relaxed)
    }

    /// Whether the sketch wants to see what a scan has fetched.
    #[inline(always)]
    pub fn keeps_rows(self) -> bool {
        self.is_sensing() && self.cells.keeps_rows.load(Ordering::Relaxed)
    }

    /// One of the scans that are looked at begins here. Keeping the rows of all scans would cost a tenth of short ones.
    #[cold]
    pub fn sense_scan(self, start: &[u8]) {
        let is_drawn = self.cells.random_below(ROWS_KEPT_RARELY) == 0;
        self.sense(|sketch| {
            let keeps = sketch.scan_begins(start) || is_drawn;
            if !keeps {
                sketch.forget_rows();
            }
            self.cells.keeps_rows.store(keeps, Ordering::Relaxed);
        });
    }

    /// Of the timed operations of a kind so many are as often as gets go into the sketch, about: how many a drawn one stands
    /// for; `None`: this one is not drawn.
    pub fn drawn(self, measure: Measure) -> Option<u32> {
        let interval = measure.interval();
        let one_in = self.cells.spacing.load(Ordering::Relaxed) * INTERVALS[Measure::Get as usize] / BURST;
        let rarer = (one_in / interval).max(1);
        (self.cells.random_below(rarer) == 0).then_some(rarer * interval)
    }

    /// Lets the thread add to its sketch, unless somebody looks at it just now.
    #[cold]
    pub fn sense(self, add: impl FnOnce(&mut Sketch)) {
        let sketch = self.cells.sketch.get_or_init(Box::default);
        let Some(mut sketch) = sketch.try_lock() else { return };
        add(&mut sketch);
        if sketch.is_full() {
            self.cells.is_sensing.store(false, Ordering::Relaxed);
        }
    }

    /// Point operations that the thread has done.
    pub fn done(self) -> u64 {
        let counts = [Count::GetsFound, Count::GetsAbsent, Count::Puts, Count::Deletes, Count::BatchRecords];
        counts.into_iter().map(|count| self.cells.counts[count as usize].load(Ordering::Relaxed)).sum()
    }

    /// So many of the operations that were started could not be done without waiting, and will be started again; one of
    /// them is due at once if these were timed. They count once that way, and are timed as often as others.
    #[cold]
    pub fn put_off(self, measure: Measure, started: Option<Started>, operations: u32) {
        if started.is_some_and(Started::is_sensed) {
            let left = self.cells.burst.load(Ordering::Relaxed);
            self.cells.burst.store(left.saturating_add(operations), Ordering::Relaxed);
        }
        let until_due = &self.cells.until_due[measure as usize];
        let left = if started.is_some() { 0 } else { until_due.load(Ordering::Relaxed).saturating_add(operations) };
        until_due.store(left, Ordering::Relaxed);
    }

    pub fn record(self, measure: Measure, value: u64) {
        self.cells.histograms[measure as usize].get_or_init(Box::default).record(value);
    }

    /// A time of so many operations together: each took its share.
    pub fn record_shares(self, measure: Measure, lasted: Duration, operations: u64) {
        if let Some(share) = (lasted.as_nanos() as u64).checked_div(operations) {
            self.cells.histograms[measure as usize].get_or_init(Box::default).record_many(share, operations);
        }
    }
}

pub struct FamilyCounters {
    rows: Box<[CachePadded<Cells>]>,
}

impl Default for FamilyCounters {
    fn default() -> Self {
        FamilyCounters { rows: (0..ROWS).map(|row| CachePadded::new(Cells::new(row))).collect() }
    }
}

impl FamilyCounters {
    #[inline(always)]
    pub fn row(&self) -> Row<'_> {
        let slot = thread_slot();
        Row { cells: &self.rows[slot], own: slot < ROWS - 1, of_this_thread: PhantomData }
    }

    #[inline(always)]
    pub fn add(&self, count: Count, amount: u64) {
        self.row().add(count, amount);
    }

    pub fn accesses(&self) -> Accesses {
        let sum = |counts: &[Count]| counts.iter().map(|&count| self.sum(count)).sum();
        let records = sum(&[Count::GetsFound, Count::GetsAbsent]);
        Accesses {
            leaves: records + sum(&[Count::LeavesScanned, Count::Puts, Count::Deletes]),
            records,
            batch_records: sum(&[Count::BatchRecords]),
        }
    }

    pub fn sum(&self, count: Count) -> u64 {
        self.rows.iter().map(|row| row.counts[count as usize].load(Ordering::Relaxed)).sum()
    }

    /// What the sketches of all threads say since the last call; from now on they are made, if it is to `go_on`.
    pub fn sense(&self, go_on: bool) -> Summary {
        let mut gathering = Gathering::default();
        for cells in &self.rows {
            let taken = cells.sketch.get().map_or(0, |sketch| gathering.take(&mut sketch.lock()));
            let spacing = cells.spacing.load(Ordering::Relaxed);
            if taken > 0 {
                let next = (spacing * taken as u32 / ENOUGH).clamp(1, RAREST);
                cells.spacing.store(next, Ordering::Relaxed);
            }
            cells.is_sensing.store(go_on, Ordering::Relaxed);
        }
        gathering.summary()
    }

    pub fn read(&self, measure: Measure) -> Reading {
        let mut reading = Reading::default();
        for histogram in self.rows.iter().filter_map(|row| row.histograms[measure as usize].get()) {
            histogram.add_to(&mut reading);
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_among_many_threads() {
        let counters = FamilyCounters::default();
        std::thread::scope(|scope| {
            for _ in 0..ROWS * 2 {
                scope.spawn(|| {
                    for value in 0..1_000 {
                        counters.add(Count::GetsFound, 1);
                        counters.row().record(Measure::ScanLength, value);
                    }
                });
            }
        });
        assert_eq!(counters.sum(Count::GetsFound), ROWS as u64 * 2 * 1_000);
        assert_eq!(counters.sum(Count::Puts), 0);
        let lengths = counters.read(Measure::ScanLength);
        assert_eq!((lengths.count(), lengths.sum), (ROWS as u64 * 2 * 1_000, ROWS as u64 * 2 * 499_500));
        assert_eq!(counters.read(Measure::Get).count(), 0);
    }

    #[test]
    fn one_in_an_interval_is_timed() {
        let counters = FamilyCounters::default();
        for measure in [Measure::Get, Measure::Put, Measure::Delete, Measure::Batch, Measure::Scan] {
            let interval = u64::from(INTERVALS[measure as usize]);
            let row = counters.row();
            (0..interval * 1_000).for_each(|_| row.finish(measure, row.start(measure, 1), 1));
            let timed = counters.read(measure).count();
            assert!((950..=1_050).contains(&timed), "{measure:?}: {timed}");
        }
    }

    #[test]
    fn what_is_put_off_is_timed_as_often() {
        let counters = FamilyCounters::default();
        let row = counters.row();
        let operations = u64::from(INTERVALS[Measure::Get as usize]) * 1_000;
        for number in 0..operations {
            let started = row.start(Measure::Get, 1);
            let hot = number % 3 == 0;
            if hot {
                row.finish(Measure::Get, started, 1);
            } else {
                row.put_off(Measure::Get, started, 1);
                let again = row.start(Measure::Get, 1);
                assert_eq!(started.is_some(), again.is_some());
                row.finish(Measure::Get, again, 1);
            }
        }
        let timed = counters.read(Measure::Get).count();
        assert!((950..=1_050).contains(&timed), "{timed}");
    }
}
