//! Threads that are held up in the middle of commits and reads, so that others come in between more often than by chance:
//! at the points of builds with debug assertions, and with the feature `pause-points`.

#[cfg(any(debug_assertions, feature = "pause-points"))]
mod held_up {
    use std::cell::Cell;
    use std::sync::{Arc, Once};
    use std::thread;
    use std::time::Duration;

    use lyredb_engine::pause::hook;

    use super::super::common::Random;

    thread_local! {
        /// What its random numbers stand at; 0 where nobody asked for it.
        static STATE: Cell<u64> = const { Cell::new(0) };
    }

    pub fn hold_up(seed: u64) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| hook::install(Some(Arc::new(|_| pause()))));
        STATE.set(seed + 1);
    }

    fn pause() {
        let state = STATE.get();
        if state == 0 {
            return;
        }
        let mut random = Random(state);
        // Seldom: where many others want the processor, each time takes milliseconds.
        match random.below(2000) {
            0 => thread::sleep(Duration::from_micros(50)),
            1..10 => thread::yield_now(),
            _ => {}
        }
        STATE.set(random.0);
    }
}

/// The calling thread is held up from now on.
pub fn hold_up(seed: u64) {
    #[cfg(any(debug_assertions, feature = "pause-points"))]
    held_up::hold_up(seed);
    let _ = seed;
}
