//! The thread that keeps the log short and the memory within its budget, and the work it does.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::host::Warning;
use crate::space::Tidying;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{AtomicU64, Instant, Mutex, Ordering, epoch};

const EVERY: Duration = Duration::from_millis(50);
const RECLAIM_STEPS: usize = 64;
/// After a failure (a full disk), before the next attempt.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// From this age on, it is measured what a snapshot holds back; and how often.
const OLD: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Maintenance {
    state: Mutex<State>,
    /// Bytes of old versions that the oldest snapshot keeps in memory, when last measured.
    held_back: AtomicU64,
}

#[derive(Default)]
struct State {
    stop: bool,
    thread: Option<JoinHandle<()>>,
    last_failure: Option<String>,
}

impl Maintenance {
    pub fn start(core: &Arc<Core>) -> std::io::Result<()> {
        let weak = Arc::downgrade(core);
        let thread = thread::Builder::new().name("lyredb-maintenance".into()).spawn(move || run(&weak))?;
        core.maintenance.state.lock().thread = Some(thread);
        Ok(())
    }

    pub fn stop(&self) {
        let thread = {
            let mut state = self.state.lock();
            state.stop = true;
            state.thread.take()
        };
        if let Some(thread) = thread {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }

    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// What the thread last failed at, if its newest attempt failed.
    pub fn last_failure(&self) -> Option<String> {
        self.state.lock().last_failure.clone()
    }

    /// Sleeps until it is time, memory is short, or the thread is to stop; false for the last.
    fn pause(&self, time: Duration) -> bool {
        if !self.state.lock().stop {
            thread::park_timeout(time);
        }
        !self.state.lock().stop
    }
}

fn run(weak: &Weak<Core>) {
    let mut pause = EVERY;
    let mut tidying = Tidying::default();
    let mut watch = Watch::default();
    let mut checkpointer = Checkpointer::default();
    loop {
        let Some(core) = weak.upgrade() else { return };
        core.memory.keep();
        core.memory.answer();
        checkpointer.step(&core);
        let done = core.maintain(&mut tidying, checkpointer.running.is_some());
        watch.look(&core);
        pause = if done.is_ok() { EVERY } else { AFTER_FAILURE.max(pause) };
        core.note_failure(done.err().map(|error| error.to_string()).or_else(|| checkpointer.failure.clone()));
        if !core.maintenance.pause(pause) {
            checkpointer.end();
            return;
        }
    }
}

/// Makes the checkpoints that keep the log short, in a thread of their own: room in memory is made meanwhile.
#[derive(Default)]
struct Checkpointer {
    running: Option<Running>,
    /// What the last one failed at.
    failure: Option<String>,
    not_before: Option<Instant>,
}

struct Running {
    thread: JoinHandle<Result<()>>,
    /// Gone when the thread is at its end, however it ends.
    sign: Weak<()>,
}

impl Checkpointer {
    fn step(&mut self, core: &Arc<Core>) {
        if self.running.as_ref().is_some_and(|running| running.sign.strong_count() == 0) {
            self.end();
        }
        let segment = core.checkpointed.segment.load(Ordering::Relaxed);
        let is_due = !core.read_only && core.log.bytes_since(segment) >= core.settings.checkpoint_log_bytes();
        if !is_due {
            self.failure = None;
        } else if self.running.is_none() && self.not_before.is_none_or(|time| Instant::now() >= time) {
            let (core_of_thread, alive) = (Arc::clone(core), Arc::new(()));
            let sign = Arc::downgrade(&alive);
            let checkpoint = move || {
                let _alive = alive;
                core_of_thread.checkpoint(None)
            };
            match thread::Builder::new().name("lyredb-checkpoint".into()).spawn(checkpoint) {
                Ok(thread) => self.running = Some(Running { thread, sign }),
                Err(error) => self.ended(Err(Error::io("start a thread for", &core.path)(error))),
            }
        }
    }

    /// Waits for the one that is on its way.
    fn end(&mut self) {
        // After a panic, which has been told of where it happened, the next may do better.
        if let Some(Ok(done)) = self.running.take().map(|running| running.thread.join()) {
            self.ended(done);
        }
    }

    fn ended(&mut self, done: Result<()>) {
        self.not_before = done.is_err().then(|| Instant::now() + AFTER_FAILURE);
        self.failure = done.err().map(|error| error.to_string());
    }
}

/// Looks after snapshots that are open for long.
#[derive(Default)]
struct Watch {
    next: Option<Instant>,
    /// The snapshot that was last warned of, and for how many bytes.
    warned: Option<(Instant, u64)>,
}

impl Watch {
    fn look(&mut self, core: &Core) {
        if self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let oldest = core.versions.open_snapshots().1.filter(|snapshot| snapshot.age() >= OLD);
        let started = Instant::now();
        let bytes = oldest.as_ref().map_or(0, |snapshot| {
            core.all_families().iter().map(|family| family.tree.held_back(snapshot.version)).sum()
        });
        core.maintenance.held_back.store(bytes, Ordering::Relaxed);
        self.next = Some(Instant::now() + OLD.max(started.elapsed() * 20));
        let Some(snapshot) = oldest else {
            self.warned = None;
            return;
        };
        // Once for each snapshot, and again when it has become twice as much.
        let known = self.warned.filter(|(since, _)| *since == snapshot.since).map_or(0, |(_, bytes)| bytes);
        if bytes > core.settings.held_back_bytes().max(2 * known) {
            self.warned = Some((snapshot.since, bytes));
            core.host.warn(&Warning::HeldBack { snapshot, bytes });
        }
    }
}

impl Core {
    fn note_failure(&self, failure: Option<String>) {
        let before = std::mem::replace(&mut self.maintenance.state.lock().last_failure, failure.clone());
        if let Some(why) = failure.filter(|why| before.as_ref() != Some(why)) {
            self.host.warn(&Warning::Maintenance { why });
        }
    }

    fn maintain(&self, tidying: &mut Tidying, is_checkpointing: bool) -> Result<()> {
        self.versions.release_overdue(Instant::now());
        // Frees what was retired by threads that have gone quiet since; each time only some of it.
        (0..RECLAIM_STEPS).for_each(|_| epoch::pin().flush());
        self.memory.lower_mark();
        self.log.rest();
        self.divide_memory();
        if self.memory.excess() > 0 {
            self.evict()?;
        }
        if self.read_only || is_checkpointing {
            return Ok(());
        }
        tidying.step(self)
    }
}
