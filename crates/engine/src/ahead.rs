//! Memory made ready before writers need it.
//!
//! The first touch of fresh memory costs a fault and the zeroing of a page, of a huge one where the system deals in those,
//! and on virtual machines the host has to find the memory first: together as much as all else that a bulk load does.
//! While writers make the pages in memory grow, a thread of its own touches some memory and frees it again, which the
//! allocator gives to those who ask next. It is touched in small pages, which come quickly; when the growth has paused
//! the system is asked to make huge ones of them, which are faster to look things up in.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Small enough to fill the gaps between what is in use.
const PIECE: usize = 1 << 20;
const SMALL_PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;
/// Times as much as is touched.
const RESERVE: usize = 4;
/// Without calls for so long, the growth has paused.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two huge pages, so that nobody waits for the system's lock on the address space for long.
const BETWEEN: Duration = Duration::from_millis(5);

/// Sends how many bytes to make ready. Without the thread, calls have no effect.
pub fn start() -> SyncSender<usize> {
    let (sender, calls) = sync_channel(1);
    let _ = std::thread::Builder::new().name("lyredb-ahead".into()).spawn(move || run(&calls));
    sender
}

fn run(calls: &Receiver<usize>) {
    let mut small = BTreeSet::new();
    let mut patience = PAUSE;
    loop {
        let call = if small.is_empty() {
            calls.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            calls.recv_timeout(patience)
        };
        match call {
            Ok(bytes) => {
                touch(bytes, &mut small);
                patience = PAUSE;
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(start) = small.pop_first() {
                    system::make_huge(start);
                }
                patience = BETWEEN;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Notes the addresses of the huge pages that come to lie in small ones. Of what it asks for only the first `bytes` are
/// touched; the rest is there for writers that are faster than this.
fn touch(bytes: usize, small: &mut BTreeSet<usize>) {
    let mut pieces: Vec<Vec<u8>> = Vec::with_capacity(bytes / PIECE * RESERVE);
    for number in 0..bytes / PIECE * RESERVE {
        let mut piece: Vec<u8> = Vec::with_capacity(PIECE);
        let space = piece.spare_capacity_mut();
        let start = space.as_ptr().addr();
        system::make_small(start, PIECE);
        small.extend((start / HUGE_PAGE..(start + PIECE).div_ceil(HUGE_PAGE)).map(|number| number * HUGE_PAGE));
        if number < bytes / PIECE {
            for cell in space.iter_mut().step_by(SMALL_PAGE) {
                // SAFETY: ours to write; volatile, as it would be left out otherwise.
                unsafe { cell.as_mut_ptr().write_volatile(0) };
            }
        }
        pieces.push(piece);
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{HUGE_PAGE, SMALL_PAGE};

    fn advise(start: usize, bytes: usize, advice: i32) {
        let first = start.next_multiple_of(SMALL_PAGE);
        let end = (start + bytes) / SMALL_PAGE * SMALL_PAGE;
        // SAFETY: none of the advice used here changes what the memory holds, whoever has it; a refusal changes nothing.
        unsafe { libc::madvise(std::ptr::without_provenance_mut(first), end.saturating_sub(first), advice) };
    }

    /// New pages in this memory are to be small.
    pub fn make_small(start: usize, bytes: usize) {
        advise(start, bytes, libc::MADV_NOHUGEPAGE);
    }

    /// Small pages there are, and new ones, are to be one.
    pub fn make_huge(start: usize) {
        advise(start, HUGE_PAGE, libc::MADV_HUGEPAGE);
        advise(start, HUGE_PAGE, libc::MADV_COLLAPSE);
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn make_small(_start: usize, _bytes: usize) {}

    pub fn make_huge(_start: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touches_what_it_is_asked_for_and_ends_with_its_caller() {
        let mut small = BTreeSet::new();
        touch(4 * PIECE, &mut small);
        assert!(small.len() >= 4 * PIECE * RESERVE / HUGE_PAGE, "{small:?}");
        assert!(small.iter().all(|address| address % HUGE_PAGE == 0));

        let (calls, received) = sync_channel(1);
        let thread = std::thread::spawn(move || run(&received));
        calls.send(PIECE).expect("the thread listens");
        drop(calls);
        thread.join().expect("it ends, with huge pages still to make");
    }
}
