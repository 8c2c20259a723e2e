//! Counters of what happens, cheap enough for every operation: a row of cells for each thread, summed when read.

use std::cell::Cell;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Mutex, Ordering};

macro_rules! counts {
    ($($name:ident => $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count { $($name,)* }

        impl Count {
            pub const ALL: &'static [(Count, &'static str)] = &[$((Count::$name, $text),)*];
        }
    };
}

counts! {
    GetsFound => "gets_found",
    GetsAbsent => "gets_absent",
    Puts => "puts",
    Deletes => "deletes",
    Batches => "batches",
    BatchRecords => "batch_records",
    Scans => "scans",
    RowsScanned => "rows_scanned",
    BytesRead => "bytes_read",
    BytesWritten => "bytes_written",
    PageLoads => "page_loads",
    Evictions => "evictions",
    Conflicts => "conflicts",
}

const COUNTS: usize = Count::ALL.len();
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

pub struct FamilyCounters {
    rows: Box<[CachePadded<[AtomicU64; COUNTS]>]>,
}

impl Default for FamilyCounters {
    fn default() -> Self {
        FamilyCounters {
            rows: (0..ROWS).map(|_| CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)))).collect(),
        }
    }
}

impl FamilyCounters {
    #[inline(always)]
    pub fn add(&self, count: Count, amount: u64) {
        let slot = thread_slot();
        let cell = &self.rows[slot][count as usize];
        if slot < ROWS - 1 {
            // The row is this thread's alone: no locked instruction is needed.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        } else {
            cell.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn sum(&self, count: Count) -> u64 {
        self.rows.iter().map(|row| row[count as usize].load(Ordering::Relaxed)).sum()
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
                scope.spawn(|| (0..1_000).for_each(|_| counters.add(Count::GetsFound, 1)));
            }
        });
        assert_eq!(counters.sum(Count::GetsFound), ROWS as u64 * 2 * 1_000);
        assert_eq!(counters.sum(Count::Puts), 0);
    }
}
