//! The thread that writes, and with `Durability::Group` syncs, what nobody waits for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::group::Shared;
use crate::Durability;
use crate::sync::checked::AtomicBool;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Instant, Mutex, Ordering};

/// So much in memory is written at once, before its time has come.
const EARLY_BYTES: usize = 256 << 10;
const ASYNC_INTERVAL: Duration = Duration::from_millis(100);
const SHORTEST_INTERVAL: Duration = Duration::from_micros(100);
/// After so many intervals with nothing to do the thread sleeps until an append wakes it: appends in between are
/// spared the wake-up.
const LINGERING_ROUNDS: u32 = 16;

/// Wakes the thread.
#[derive(Debug)]
pub(super) struct Alarm {
    in_use: bool,
    /// The thread waits for an append, and not for a point in time.
    asleep: AtomicBool,
    state: Mutex<AlarmState>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct AlarmState {
    rung: bool,
    stop: bool,
}

impl Alarm {
    pub(super) fn new(in_use: bool) -> Alarm {
        Alarm { in_use, asleep: AtomicBool::new(false), state: Mutex::default(), bell: Condvar::new() }
    }

    /// Called after each append with the bytes that waited before and after it.
    #[inline]
    pub(super) fn appended(&self, before: usize, after: usize) {
        if !self.in_use {
            return;
        }
        let crossed = before < EARLY_BYTES && after >= EARLY_BYTES;
        // Relaxed: the thread sets it before it looks, under the tail's lock, whether there is anything, and this
        // append took that lock; either the thread saw the append or the append sees the flag.
        if crossed || (before == 0 && self.asleep.load(Ordering::Relaxed)) {
            self.ring();
        }
    }

    pub(super) fn ring(&self) {
        self.state.lock().rung = true;
        self.bell.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.bell.notify_one();
    }
}

pub(super) fn start(shared: Arc<Shared>, durability: Durability) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("lyredb-log".to_owned()).spawn(move || run(&shared, durability))
}

fn run(shared: &Shared, durability: Durability) {
    let mut idle_rounds = 0;
    let mut last_flush = Instant::now();
    loop {
        let interval = match durability {
            Durability::Group => Duration::from_nanos(shared.group_interval_ns.load(Ordering::Relaxed)),
            Durability::Async | Durability::Sync => ASYNC_INTERVAL,
        };
        let due = last_flush.checked_add(interval.max(SHORTEST_INTERVAL));
        let Some(woken) = wait(shared, due, idle_rounds) else { return };
        if woken == Woken::FromSleep {
            // What was appended just now has the whole interval.
            idle_rounds = 0;
            last_flush = Instant::now();
            continue;
        }
        let early = woken == Woken::Early && due.is_none_or(|due| Instant::now() < due);
        if early && shared.tail.lock().len_bytes() < EARLY_BYTES {
            // The interval was changed.
            continue;
        }
        let now = Instant::now();
        idle_rounds = if is_idle(shared, durability) { idle_rounds + 1 } else { 0 };
        // A failure is kept by the log, which tells it to whoever appends, waits or closes next.
        let _ = shared.flush(durability == Durability::Group && !early);
        if !early {
            last_flush = now;
        }
    }
}

fn is_idle(shared: &Shared, durability: Durability) -> bool {
    let progress = &shared.progress;
    let reached = if durability == Durability::Group { &progress.synced_position } else { &progress.written_position };
    reached.load(Ordering::Acquire) >= shared.tail.lock().position()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    Due,
    Early,
    FromSleep,
}

/// `None`: the log is being closed.
fn wait(shared: &Shared, due: Option<Instant>, idle_rounds: u32) -> Option<Woken> {
    let alarm = &shared.alarm;
    let mut state = alarm.state.lock();
    let mut woken = Woken::Due;
    if !state.stop && !state.rung {
        if idle_rounds >= LINGERING_ROUNDS {
            alarm.asleep.store(true, Ordering::Relaxed);
            if shared.tail.lock().is_empty() {
                alarm.bell.wait(&mut state);
            }
            alarm.asleep.store(false, Ordering::Relaxed);
            state.rung = false;
            woken = Woken::FromSleep;
        } else if let Some(due) = due {
            alarm.bell.wait_until(&mut state, due);
        } else {
            alarm.bell.wait(&mut state);
        }
    }
    if state.stop {
        return None;
    }
    if std::mem::take(&mut state.rung) {
        woken = Woken::Early;
    }
    Some(woken)
}
