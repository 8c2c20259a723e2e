//! Stopping a thread at a point, to try what others do meanwhile.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lyredb_engine::pause::{Point, hook};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    static MAY_BE_STOPPED: Cell<bool> = const { Cell::new(false) };
}

/// Stops the first of its own threads that comes to a point, until it is let go. One at a time, as there is one hook.
pub struct Stop {
    reached: Receiver<()>,
    gate: Option<Sender<()>>,
    _turn: MutexGuard<'static, ()>,
}

impl Stop {
    pub fn at(wanted: Point) -> Stop {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (reaching, reached) = channel();
        let (gate, closed) = channel::<()>();
        let (first, closed) = (AtomicBool::new(true), Mutex::new(closed));
        hook::install(Some(Arc::new(move |point| {
            if point == wanted && MAY_BE_STOPPED.get() && first.swap(false, Ordering::Relaxed) {
                reaching.send(()).expect("the test waits for it");
                // An error is what ends it: nobody ever sends.
                let _ = closed.lock().expect("no panic").recv();
            }
        })));
        Stop { reached, gate: Some(gate), _turn: turn }
    }

    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        thread::spawn(move || {
            MAY_BE_STOPPED.set(true);
            work()
        })
    }

    pub fn wait(&self) {
        self.reached.recv_timeout(PATIENCE).expect("somebody comes to the point");
    }

    pub fn let_go(&mut self) {
        self.gate = None;
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.let_go();
        hook::install(None);
    }
}
