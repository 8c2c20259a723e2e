//! A few threads of a database that read what somebody is about to want.
//!
//! Nobody depends on them: who wants the answer of a task that no thread has begun does it himself.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};

/// Reads that are on their way at once, at most. The threads hardly compute, so this does not depend on the processor.
pub const MOST_THREADS: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub struct IoPool {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    idle: usize,
    is_stopped: bool,
}

impl IoPool {
    /// The work's answer, which a thread of the pool has ready by when it is taken if it came to it.
    pub fn start<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        let shared = Arc::new(Shared { stage: Mutex::new(Stage::Waiting(Box::new(work))), done: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        self.submit(Box::new(move || of_thread.run()));
        Task(shared)
    }

    fn submit(self: &Arc<Self>, job: Job) {
        let mut state = self.state.lock();
        if state.is_stopped {
            return;
        }
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads.len() < MOST_THREADS {
            let pool = Arc::clone(self);
            // Where the system has no more threads, those there are do it, or who waits.
            if let Ok(thread) = thread::Builder::new().name("lyredb-io".into()).spawn(move || pool.work()) {
                state.threads.push(thread);
            } else if state.threads.is_empty() {
                state.jobs.clear();
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    fn work(&self) {
        let mut state = self.state.lock();
        while !state.is_stopped {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock();
            } else {
                state.idle += 1;
                self.wake.wait(&mut state);
                state.idle -= 1;
            }
        }
    }

    /// Ends the threads once they are done with what they are at. The rest is left to who waits for it.
    pub fn stop(&self) {
        let (jobs, threads) = {
            let mut state = self.state.lock();
            state.is_stopped = true;
            (std::mem::take(&mut state.jobs), std::mem::take(&mut state.threads))
        };
        self.wake.notify_all();
        drop(jobs);
        for thread in threads {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// Work that is done by who comes to it first; dropped, it is not begun any more.
pub struct Task<T>(Arc<Shared<T>>);

struct Shared<T> {
    stage: Mutex<Stage<T>>,
    done: Condvar,
}

enum Stage<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    Running,
    Done(std::thread::Result<T>),
    Gone,
}

impl<T> Task<T> {
    pub fn is_done(&self) -> bool {
        matches!(*self.0.stage.lock(), Stage::Done(_))
    }

    /// Does it, or waits for the thread that does. A panic of the thread's goes on here.
    pub fn take(self) -> T {
        let mut stage = self.0.stage.lock();
        loop {
            match std::mem::replace(&mut *stage, Stage::Gone) {
                Stage::Waiting(work) => {
                    drop(stage);
                    return work();
                }
                Stage::Running => {
                    *stage = Stage::Running;
                    self.0.done.wait(&mut stage);
                }
                Stage::Done(answer) => return answer.unwrap_or_else(|panic| resume_unwind(panic)),
                Stage::Gone => unreachable!("a task is taken once"),
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        let mut stage = self.0.stage.lock();
        // A thread that is at it finds nobody to tell.
        let gone = std::mem::replace(&mut *stage, Stage::Gone);
        drop(stage);
        drop(gone);
    }
}

impl<T> Shared<T> {
    fn run(&self) {
        let mut stage = self.stage.lock();
        let Stage::Waiting(_) = *stage else { return };
        let Stage::Waiting(work) = std::mem::replace(&mut *stage, Stage::Running) else { return };
        drop(stage);
        let answer = catch_unwind(AssertUnwindSafe(work));
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Running) {
            *stage = Stage::Done(answer);
            drop(stage);
            self.done.notify_one();
        }
    }
}

#[cfg(all(test, not(any(feature = "shuttle", feature = "loom"))))]
mod tests {
    use super::*;
    use crate::sync::Ordering;
    use crate::sync::checked::AtomicU64;

    #[test]
    fn answers_come_from_whoever_is_first_and_each_work_is_done_once() {
        let (pool, done) = (Arc::new(IoPool::default()), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<Task<u64>> = (0..1000)
            .map(|number| {
                let done = Arc::clone(&done);
                pool.start(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    number
                })
            })
            .collect();
        let answers: Vec<u64> = tasks.into_iter().rev().map(Task::take).collect();
        assert!(answers.into_iter().rev().eq(0..1000));
        assert_eq!(done.load(Ordering::Relaxed), 1000);
        pool.stop();
        assert_eq!(pool.start(|| 7).take(), 7, "without threads");
    }

    #[test]
    fn a_panic_comes_to_who_takes_the_answer() {
        let pool = Arc::new(IoPool::default());
        let task = pool.start(|| -> u64 { panic!("read what cannot be read") });
        while !task.is_done() {
            thread::yield_now();
        }
        let panic = catch_unwind(AssertUnwindSafe(|| task.take())).expect_err("it panicked");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"read what cannot be read"));
        assert_eq!(pool.start(|| 7).take(), 7, "the thread goes on");
        pool.stop();
    }
}
