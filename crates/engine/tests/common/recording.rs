//! A workload's steps done on a recorder, and what has to be there wherever its power is cut.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lyredb_engine::{Database, Durability};

use crate::common::open_on;
use crate::recorder::Recorder;
use crate::workload::{Content, START_MS, Step, Work, checkpoint_amid, options_with, seen};

/// A little more than the log's thread waits with "async".
const LONGEST_PAUSE: Duration = Duration::from_millis(120);

/// Where in the recording a step began, and what is there after it when the database has been opened again.
pub struct Mark {
    begun: usize,
    pub after: Content,
    pub now: u64,
}

/// A copy that was made meanwhile.
pub struct Copy {
    pub recorder: Recorder,
    pub content: Content,
    pub now: u64,
}

pub struct Recording {
    pub recorder: Recorder,
    pub marks: Vec<Mark>,
    /// From so many operations on, what this mark says is durable.
    durable: Vec<(usize, usize)>,
    /// While these operations went on, a checkpoint may have been on its way.
    checkpoints: Vec<(usize, usize)>,
    pub copies: Vec<Copy>,
}

struct Runner {
    recording: Recording,
    durability: Durability,
    now: Arc<AtomicU64>,
    content: Content,
}

impl Recording {
    pub fn of(steps: &[Step], durability: Durability) -> Recording {
        let now = Arc::new(AtomicU64::new(START_MS));
        let recording = Recording {
            recorder: Recorder::default(),
            marks: Vec::new(),
            durable: Vec::new(),
            checkpoints: Vec::new(),
            copies: Vec::new(),
        };
        let mut runner = Runner { recording, durability, now, content: Content::new() };
        runner.mark(0);
        let mut database = Some(runner.open(&[]));
        runner.all_is_durable(runner.recording.recorder.events());
        for step in steps {
            runner.run(step, &mut database);
        }
        // Its last handle closes it.
        let begun = runner.recording.recorder.events();
        drop(database);
        runner.recording.checkpoints.push((begun, runner.recording.recorder.events()));
        runner.recording
    }

    /// After so many operations the database was there.
    pub fn created(&self) -> usize {
        self.durable[0].0
    }

    /// The first and the last mark whose content may be what is found when the power fails after `events`.
    pub fn allowed(&self, events: usize) -> RangeInclusive<usize> {
        let durable = self.durable.iter().filter(|(from, _)| *from <= events);
        let first = durable.map(|(_, mark)| *mark).max().unwrap_or(0);
        let last = self.marks.iter().rposition(|mark| mark.begun < events).unwrap_or(0).max(first);
        first..=last
    }

    /// Whether a checkpoint may have been on its way then: not all of what it wrote has to be durable.
    pub fn is_amid_checkpoint(&self, events: usize) -> bool {
        self.checkpoints.iter().any(|&(begun, done)| begun < events && events < done)
    }
}

impl Runner {
    fn open(&self, given: &[(String, lyredb_engine::tunables::Value)]) -> Database {
        open_on(Arc::new(self.recording.recorder.clone()), &options_with(given, self.durability, &self.now))
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn mark(&mut self, begun: usize) {
        let mut after = self.content.clone();
        after.reopen(&[]);
        self.recording.marks.push(Mark { begun, after, now: self.now() });
    }

    fn all_is_durable(&mut self, events: usize) {
        self.recording.durable.push((events, self.recording.marks.len() - 1));
    }

    fn run(&mut self, step: &Step, database: &mut Option<Database>) {
        // What a killed process took with it cannot be worked with.
        if !step.makes_sense(&self.content) {
            return;
        }
        let begun = self.recording.recorder.events();
        let open = |database: &Option<Database>| database.clone().expect("it is open");
        match step {
            Step::Reopen(given) => {
                database.take().expect("it is open").close().expect("closes");
                *database = Some(self.open(given));
            }
            Step::Advance(milliseconds) => drop(self.now.fetch_add(*milliseconds, Ordering::Relaxed)),
            Step::Pause => self.pause(),
            Step::CheckpointAmid(steps) => return self.checkpoint_amid(&open(database), steps),
            Step::Backup => {
                let recorder = Recorder::default();
                let copied = open(database).backup_on(Arc::new(recorder.clone()), &mut |_, _| true);
                copied.expect("the disks are well");
                let mut content = self.content.clone();
                content.reopen(&[]);
                self.recording.copies.push(Copy { recorder, content, now: self.now() });
            }
            Step::Kill { points, forgets } => return self.kill(database, *points, *forgets),
            _ => step.run(&open(database)).expect("the disk is well"),
        }
        let done = self.recording.recorder.events();
        if let Step::Checkpoint | Step::Compact | Step::Backup | Step::Reopen(_) = step {
            self.recording.checkpoints.push((begun, done));
        }
        self.did(step, begun, done);
    }

    fn did(&mut self, step: &Step, begun: usize, done: usize) {
        let now = self.now();
        step.apply(&mut self.content, now);
        self.mark(begun);
        if step.makes_durable(self.durability) {
            self.all_is_durable(done);
        }
    }

    fn checkpoint_amid(&mut self, database: &Database, steps: &[(u64, Step)]) {
        let before = self.recording.marks.len() - 1;
        let begun = self.recording.recorder.events();
        let spans = Rc::new(RefCell::new(Vec::new()));
        let works = steps.iter().cloned().map(|(points, step)| {
            let (database, recorder, spans) = (database.clone(), self.recording.recorder.clone(), Rc::clone(&spans));
            let work: Work = Box::new(move || {
                let begun = recorder.events();
                step.run(&database)?;
                spans.borrow_mut().push((begun, recorder.events()));
                Ok(())
            });
            (points, work)
        });
        checkpoint_amid(database, works.collect()).expect("the disk is well");
        let done = self.recording.recorder.events();
        for ((_, step), (begun, done)) in steps.iter().zip(spans.take()) {
            self.did(step, begun, done);
        }
        self.recording.durable.push((done, before));
        self.recording.checkpoints.push((begun, done));
    }

    fn pause(&self) {
        let (before, start) = (self.recording.recorder.events(), Instant::now());
        let has_thread = self.durability != Durability::Sync;
        while has_thread && self.recording.recorder.events() == before && start.elapsed() < LONGEST_PAUSE {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What is there then is what had been written, and that is durable from now on.
    fn kill(&mut self, database: &mut Option<Database>, points: u64, forgets: bool) {
        let begun = self.recording.recorder.events();
        if forgets {
            // So that there is something to forget.
            self.pause();
        }
        let killed = Rc::new(RefCell::new(None));
        let old = database.take().expect("it is open");
        if points > 0 {
            let (recorder, killed) = (self.recording.recorder.clone(), Rc::clone(&killed));
            let work: Work = Box::new(move || {
                *killed.borrow_mut() = Some(recorder.kill(forgets));
                Ok(())
            });
            // It fails, unless it had come to its end.
            let _ = checkpoint_amid(&old, [(points, work)].into());
        }
        self.recording.recorder = killed.take().unwrap_or_else(|| self.recording.recorder.kill(forgets));
        drop(old);
        let events = self.recording.recorder.events();
        let opened = self.open(&[]);
        let found = seen(&opened);
        *database = Some(opened);
        let (allowed, now) = (self.recording.allowed(events), self.now());
        let marks = &self.recording.marks[allowed.clone()];
        let known = marks.iter().rev().find(|mark| mark.after.is_seen(&found, now));
        self.content =
            known.unwrap_or_else(|| panic!("killed, not the content after any of {allowed:?}")).after.clone();
        self.mark(begun);
        let done = self.recording.recorder.events();
        self.all_is_durable(done);
        self.recording.checkpoints.push((begun, done));
    }
}
