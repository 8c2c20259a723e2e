use std::sync::Arc;
use std::time::Duration;

use super::background::{self, Alarm};
use super::format::{BLOCK_HEADER_BYTES, MAX_RECORD_BYTES, RECORD_HEADER_BYTES};
use super::linger::Linger;
use super::open::{self, LogOptions, Opened};
use super::tail::{Gathered, Refusal, Tail, Ticket};
use super::writer::{Failure, LogCounters, Progress, Writer, remove_file};
use crate::disk::Disk;
use crate::histogram::Reading;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{AtomicU64, Condvar, Instant, Mutex, MutexGuard, Ordering};
use crate::{Durability, Error, Result};

/// Places that are made beyond those that are asked for, for what comes meanwhile.
const SPARE_BYTES: u64 = 64 << 10;

/// The write-ahead log. All methods may be called from any thread.
///
/// A failed sync, or a failed write of a block for any reason but a full disk, poisons it: the caller that led gets
/// `Error::Io`, all others and all later writes `Error::Poisoned`. When the disk is full, or no new segment can be made,
/// nothing is lost: appends are refused with `Error::Io` until what was appended before could be written, which each
/// later append, wait and flush tries again. With `Durability::Sync` an append is refused unless there are places on the
/// disk for its block, so that no commit is in doubt when the disk is full.
///
/// Dropping it without `close` writes nothing more, as if the process had been killed.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    disk: Arc<dyn Disk>,
    durability: Durability,
    pub group_interval_ns: AtomicU64,
    pub tail: Mutex<Tail>,
    gate: Mutex<Gate>,
    /// Flush number n wakes those it covers by `done[n % 2]`; who came too late for it waits at the other.
    done: [Condvar; 2],
    /// Locked by who leads alone, so nobody ever waits for it. `None` when read-only.
    writer: Mutex<Option<Writer>>,
    pub progress: Arc<Progress>,
    pub alarm: Alarm,
}

#[derive(Debug, Default)]
struct Gate {
    /// Somebody leads.
    flushing: bool,
    /// Number of the last flush that syncs, the present one included.
    epoch: u64,
    /// Up to where the present flush will have synced.
    taken: u64,
    linger: Linger,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Write,
    /// And makes places for blocks of so many bytes.
    Reserve(u64),
    Sync,
    Rotate,
    Close,
}

impl Work {
    fn syncs(self) -> bool {
        !matches!(self, Work::Write | Work::Reserve(_))
    }
}

impl Log {
    /// The log of a new database, empty and durable on return: segment 1, whose first record will be of version
    /// `after_version + 1`. Removes what a creation that was cut short left; call it before `PageFile::create`.
    /// `from_segment` and `read_only` are not looked at.
    pub fn create(disk: Arc<dyn Disk>, options: &LogOptions) -> Result<Log> {
        let opened = open::create(disk.clone(), options)?;
        Log::start(disk, options, opened)
    }

    /// Hands all records with versions after `after_version` to `replay`, in order, and goes on behind them.
    ///
    /// A torn end is cut. `Error::Corruption`: a segment is missing, or bytes are damaged that are known to have been
    /// synced. With `read_only` nothing is written, and all later writes get `Error::ReadOnly`.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: &LogOptions,
        replay: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<Log> {
        let opened = open::open(disk.clone(), options, replay)?;
        Log::start(disk, options, opened)
    }

    fn start(disk: Arc<dyn Disk>, options: &LogOptions, opened: Opened) -> Result<Log> {
        let mut tail = Tail::new(opened.last_version);
        if let Some(free_bytes) = opened.writer.as_ref().and_then(Writer::free_bytes) {
            tail.set_room(free_bytes);
        }
        let progress = opened.writer.as_ref().map_or_else(Arc::default, |writer| writer.progress.clone());
        if opened.writer.is_none() {
            tail.refusal = Some(Refusal::ReadOnly);
            progress.synced_version.store(opened.last_version, Ordering::Relaxed);
        }
        let needs_thread = opened.writer.is_some() && options.durability != Durability::Sync;
        let shared = Arc::new(Shared {
            disk,
            durability: options.durability,
            group_interval_ns: AtomicU64::new(0),
            tail: Mutex::new(tail),
            gate: Mutex::default(),
            done: [Condvar::new(), Condvar::new()],
            writer: Mutex::new(opened.writer),
            progress,
            alarm: Alarm::new(needs_thread),
        });
        let log = Log { shared, thread: Mutex::new(None) };
        log.set_group_interval(options.group_interval);
        if needs_thread {
            let thread = background::start(log.shared.clone(), options.durability)
                .map_err(Error::io("start a thread for", log.shared.disk.root()))?;
            *log.thread.lock() = Some(thread);
        }
        Ok(log)
    }

    /// Appends a record, the parts joined, under the next version. Waits for the disk only when 4 MiB are gathered.
    /// After an error nothing was appended.
    pub fn append(&self, payload_parts: &[&[u8]]) -> Result<Ticket> {
        loop {
            if let Some(ticket) = self.try_append(payload_parts)? {
                return Ok(ticket);
            }
            let length = payload_parts.iter().map(|part| part.len()).sum();
            if self.shared.tail.lock().has_room(length) {
                self.flush(false)?;
            } else {
                let bytes = (BLOCK_HEADER_BYTES + RECORD_HEADER_BYTES + length) as u64;
                self.shared.lead_alone(Work::Reserve(bytes + SPARE_BYTES))?;
            }
            // All may be written already, and who wrote it about to say so.
            thread::yield_now();
        }
    }

    /// As `append`; `Ok(None)`, and nothing appended, when it would have had to wait for the disk.
    pub fn try_append(&self, payload_parts: &[&[u8]]) -> Result<Option<Ticket>> {
        self.try_append_if(payload_parts, |_| true)
    }

    /// As `try_append`; nothing is appended either unless `may` agrees, told the version of the last record before it.
    pub fn try_append_if(&self, payload_parts: &[&[u8]], may: impl FnOnce(u64) -> bool) -> Result<Option<Ticket>> {
        let length = payload_parts.iter().map(|part| part.len()).sum();
        if length > MAX_RECORD_BYTES {
            return Err(Error::ValueTooLarge { length, limit: MAX_RECORD_BYTES });
        }
        let mut tail = self.shared.tail.lock();
        if tail.refusal.is_some() {
            return Err(refusal(&tail));
        }
        if tail.is_full() || tail.stalled || !tail.has_room(length) || !may(tail.last_version()) {
            return Ok(None);
        }
        let before = tail.len_bytes();
        let ticket = tail.push(payload_parts, length);
        let after = tail.len_bytes();
        drop(tail);
        self.shared.alarm.appended(before, after);
        Ok(Some(ticket))
    }

    /// Returns when all up to this position is on disk: at once, by a sync of another caller's, or by one of its own.
    ///
    /// After `Error::Io` for a full disk the record stays appended and may yet become durable.
    pub fn wait_durable(&self, position: u64) -> Result<()> {
        if self.is_durable(position) {
            return Ok(());
        }
        self.shared.reach(position, Work::Sync)
    }

    pub fn is_durable(&self, position: u64) -> bool {
        self.shared.progress.synced_position.load(Ordering::Acquire) >= position
    }

    /// Writes all that was appended before the call to the file, and syncs it if asked to.
    pub fn flush(&self, sync: bool) -> Result<()> {
        self.shared.flush(sync)
    }

    /// Later appends go to a new segment, all before it to earlier ones: its number, and the last version before it.
    /// Both it and all before it are durable on return.
    pub fn rotate(&self) -> Result<(u64, u64)> {
        self.shared.lead_alone(Work::Rotate)
    }

    /// Removes segments before this one; never the present one. Call it when the superblock that needs none of them is
    /// durable: one of the files may be used again at once.
    pub fn remove_before(&self, segment: u64) -> Result<()> {
        let keep = self.shared.durability == Durability::Sync;
        let present = self.shared.progress.files.lock().segments.last().map_or(0, |(number, _)| *number);
        Writer::remove_before(&*self.shared.disk, &self.shared.progress, segment.min(present), keep)
    }

    /// Takes effect at once. Only `Durability::Group` uses it.
    pub fn set_group_interval(&self, interval: Duration) {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.shared.group_interval_ns.store(interval_ns, Ordering::Relaxed);
        self.shared.alarm.ring();
    }

    /// All versions up to this are on disk.
    pub fn synced_version(&self) -> u64 {
        self.shared.progress.synced_version.load(Ordering::Acquire)
    }

    /// The last that was assigned, or found at opening.
    pub fn last_version(&self) -> u64 {
        self.shared.tail.lock().last_version()
    }

    /// Bytes of the log from this segment on, those still in memory included.
    pub fn bytes_since(&self, segment: u64) -> u64 {
        let start = {
            let files = self.shared.progress.files.lock();
            files.segments.iter().find(|(number, _)| *number >= segment).map(|(_, before)| *before)
        };
        // Counted second, it is no less than what was before a segment that has come meanwhile.
        start.map_or(0, |start| self.bytes_written() - start)
    }

    /// Grows with each append; starts with the bytes of the segments that were found at opening.
    pub fn bytes_written(&self) -> u64 {
        let waiting = self.shared.tail.lock().len_bytes() as u64;
        self.shared.progress.total_bytes.load(Ordering::Relaxed) + waiting
    }

    /// About how many bytes of records may wait in memory, within bounds of the log's own.
    pub fn set_tail_bound(&self, bytes: u64) {
        self.shared.tail.lock().set_bound(bytes as usize);
    }

    /// Memory of the buffers that records wait in.
    pub fn buffer_bytes(&self) -> u64 {
        self.shared.tail.lock().buffer_bytes() as u64
    }

    /// To be called now and then: a log that nobody writes to gives its buffers back.
    pub fn rest(&self) {
        let large = self.shared.tail.lock().rest();
        drop(large);
    }

    pub fn counters(&self) -> LogCounters {
        self.shared.progress.counters()
    }

    /// How long each sync took, in nanoseconds.
    pub fn sync_times(&self) -> Reading {
        self.shared.progress.sync_times.read()
    }

    /// Refuses all later writes, as a failed sync does.
    pub fn poison(&self, why: &str) {
        self.shared.poison(why);
    }

    /// Writes and syncs all, stops the thread and refuses later writes with `Error::Closed`. Closing again does nothing.
    /// When the disk is full the log stays open, `is_stalled` says so, and closing can be tried again.
    pub fn close(&self) -> Result<()> {
        let writes = match &self.shared.tail.lock().refusal {
            Some(Refusal::Closed) => return Ok(()),
            Some(Refusal::ReadOnly) => false,
            Some(Refusal::Poisoned(_)) | None => true,
        };
        let result = if writes { self.shared.lead_alone(Work::Close).map(drop) } else { Ok(()) };
        if result.is_err() && self.shared.reopen_if_stalled() {
            return result;
        }
        self.stop_thread();
        self.shared.tail.lock().refusal = Some(Refusal::Closed);
        let spare = self.shared.progress.files.lock().spare.take();
        if let Some(spare) = spare {
            remove_file(&*self.shared.disk, spare)?;
        }
        result
    }

    /// Why nothing may be appended, now and later.
    pub fn refused(&self) -> Option<Error> {
        self.shared.refused()
    }

    /// Something that was appended waits for room on the disk.
    pub fn is_stalled(&self) -> bool {
        self.shared.tail.lock().stalled
    }

    fn stop_thread(&self) {
        self.shared.alarm.stop();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            self.shared.poison("the log's thread panicked");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop_thread();
    }
}

impl Shared {
    pub(super) fn flush(&self, sync: bool) -> Result<()> {
        let position = self.tail.lock().position();
        self.reach(position, if sync { Work::Sync } else { Work::Write })
    }

    /// Up to where all is written, or synced.
    fn reached(&self, work: Work) -> u64 {
        let position =
            if work == Work::Write { &self.progress.written_position } else { &self.progress.synced_position };
        position.load(Ordering::Acquire)
    }

    /// Leads a flush, or waits for another's, until `position` is reached.
    fn reach(&self, position: u64, work: Work) -> Result<()> {
        let position = position.min(self.tail.lock().position());
        let mut gate = self.gate.lock();
        loop {
            if self.reached(work) >= position {
                return Ok(());
            }
            self.refused().map_or(Ok(()), Err)?;
            if gate.flushing {
                self.wait(&mut gate, position);
            } else {
                self.lead(gate, work)?;
                gate = self.gate.lock();
            }
        }
    }

    /// Waits its turn for work that nobody else can do for it.
    fn lead_alone(&self, work: Work) -> Result<(u64, u64)> {
        let mut gate = self.gate.lock();
        while gate.flushing {
            self.wait(&mut gate, u64::MAX);
        }
        self.refused().map_or(Ok(()), Err)?;
        self.lead(gate, work)
    }

    fn wait(&self, gate: &mut MutexGuard<'_, Gate>, position: u64) {
        let flush = if position <= gate.taken { gate.epoch } else { gate.epoch + 1 };
        self.done[(flush % 2) as usize].wait(gate);
    }

    /// Takes what is gathered and puts it on disk; appending goes on meanwhile.
    fn lead<'gate>(&'gate self, mut gate: MutexGuard<'gate, Gate>, work: Work) -> Result<(u64, u64)> {
        gate.flushing = true;
        if work == Work::Sync && self.durability == Durability::Sync {
            gate = self.linger(gate);
        }
        let (gathered, position, last_version) = {
            let mut tail = self.tail.lock();
            if work == Work::Close && tail.refusal.is_none() {
                tail.refusal = Some(Refusal::Closed);
            }
            (tail.take(), tail.position(), tail.last_version())
        };
        // Nobody may count on a flush that does not sync; who waits then is woken to look again.
        gate.taken = if work.syncs() { position } else { 0 };
        gate.epoch += u64::from(work.syncs());
        drop(gate);
        let mut lead = Lead { shared: self, wake_all: true, carried_out: false, synced: None };
        let records = gathered.as_ref().map_or(0, |gathered| gathered.records);
        let start = Instant::now();
        let result = self.carry_out(gathered, work);
        lead.synced = (work == Work::Sync).then(|| (records, start.elapsed()));
        lead.carried_out = true;
        lead.wake_all = result.is_err() || !work.syncs();
        drop(lead);
        result.map(|segment| (segment, last_version))
    }

    /// Waits for those who are expected to commit with this flush. They wait for it, as somebody leads already.
    fn linger<'gate>(&'gate self, mut gate: MutexGuard<'gate, Gate>) -> MutexGuard<'gate, Gate> {
        let Some((records, limit)) = gate.linger.plan() else { return gate };
        drop(gate);
        let start = Instant::now();
        let all_came = loop {
            if self.tail.lock().records() >= records {
                break true;
            }
            if start.elapsed() >= limit {
                break false;
            }
            thread::yield_now();
        };
        let mut gate = self.gate.lock();
        gate.linger.waited(all_came);
        gate
    }

    /// The number of the segment that is now written to.
    fn carry_out(&self, gathered: Option<Gathered>, work: Work) -> Result<u64> {
        let mut slot = self.writer.lock();
        let Some(writer) = slot.as_mut() else { return Err(Error::ReadOnly) };
        let result = writer.write(gathered).and_then(|buffer| {
            // There is room again: who appends has not to wait for the sync too.
            self.tail.lock().stalled = false;
            match work {
                Work::Write => {}
                Work::Reserve(bytes) => writer.reserve(bytes)?,
                Work::Sync => writer.sync()?,
                Work::Rotate => {
                    // What comes before the new segment is there has places in it too.
                    let waiting = {
                        let mut tail = self.tail.lock();
                        tail.limit_room(SPARE_BYTES);
                        tail.len_bytes() as u64
                    };
                    writer.start_segment(waiting + 2 * SPARE_BYTES)?;
                }
                Work::Close => {
                    writer.sync()?;
                    writer.write_end_mark()?;
                }
            }
            Ok(buffer)
        });
        if let Some(free_bytes) = writer.free_bytes() {
            self.tail.lock().set_room(free_bytes);
        }
        match result {
            Ok(buffer) => {
                if let Some(buffer) = buffer {
                    self.tail.lock().give_back(buffer);
                }
                Ok(writer.segment())
            }
            Err(Failure::Refused(error)) => {
                self.tail.lock().stalled = writer.has_pending();
                Err(error)
            }
            Err(Failure::Fatal(error)) => {
                self.poison(&error.to_string());
                Err(error)
            }
        }
    }

    pub(super) fn poison(&self, why: &str) {
        let mut tail = self.tail.lock();
        tail.stalled = false;
        if tail.refusal.is_none() {
            tail.refusal = Some(Refusal::Poisoned(why.to_owned()));
        }
    }

    /// After a failed closing.
    fn reopen_if_stalled(&self) -> bool {
        let mut tail = self.tail.lock();
        if tail.stalled && matches!(tail.refusal, Some(Refusal::Closed)) {
            tail.refusal = None;
        }
        tail.stalled
    }

    fn refused(&self) -> Option<Error> {
        let tail = self.tail.lock();
        tail.refusal.is_some().then(|| refusal(&tail))
    }
}

/// Ends a lead, however it ends: a panic must not leave the others waiting.
struct Lead<'shared> {
    shared: &'shared Shared,
    wake_all: bool,
    carried_out: bool,
    /// How many records a sync made durable, and how long it took.
    synced: Option<(u32, Duration)>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !self.carried_out {
            self.shared.poison("a thread panicked while it wrote to the log");
        }
        let mut gate = self.shared.gate.lock();
        gate.flushing = false;
        gate.taken = 0;
        if let Some((records, took)) = self.synced {
            gate.linger.synced(records, self.shared.tail.lock().records(), took);
        }
        let [covered, next] = [gate.epoch, gate.epoch + 1].map(|flush| &self.shared.done[(flush % 2) as usize]);
        covered.notify_all();
        // One of those who came too late leads the next flush, which then covers the others.
        if self.wake_all {
            next.notify_all()
        } else {
            usize::from(next.notify_one())
        };
    }
}

fn refusal(tail: &Tail) -> Error {
    match &tail.refusal {
        Some(Refusal::ReadOnly) => Error::ReadOnly,
        Some(Refusal::Poisoned(why)) => Error::Poisoned { why: why.clone() },
        Some(Refusal::Closed) | None => Error::Closed,
    }
}
