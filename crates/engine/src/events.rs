//! What happened that is worth telling one by one: checkpoints, and what took long. Kept until somebody asks.
//!
//! Nothing is timed for this that would not be timed, or wait, anyway.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::sync::{AtomicU64, Ordering, RwLock};

/// From how long on something took long, unless somebody says otherwise.
const SLOW: Duration = Duration::from_millis(100);
/// So many are kept; of more, the newest.
const MOST: usize = 1024;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl EventKind {
            pub fn name(self) -> &'static str {
                match self { $(EventKind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// Told always; all others only when they took long.
    Checkpoint => "checkpoint",
    Transaction => "transaction",
    /// A read of a key, or of several, that waited for the disk.
    Get => "get",
    MultiGet => "multi_get",
    Put => "put",
    Delete => "delete",
    Batch => "batch",
    /// One fetch of a scan.
    ScanFetch => "scan_fetch",
    /// In the place of those that were not fetched in time.
    Lost => "lost",
}

/// A number and what it says.
pub type Detail = (&'static str, u64);

#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    pub family: Option<String>,
    /// Nanoseconds since the Unix epoch.
    pub began: u64,
    pub lasted: Duration,
    pub detail: Vec<Detail>,
}

pub struct Events {
    /// Nanoseconds from which on something took long.
    slow: AtomicU64,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    kept: VecDeque<Event>,
    lost: u64,
}

impl Default for Events {
    fn default() -> Events {
        Events { slow: AtomicU64::new(SLOW.as_nanos() as u64), ring: Mutex::default() }
    }
}

impl Events {
    pub fn set_slow(&self, slow: Duration) {
        self.slow.store(u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What has just come to its end, if it took long.
    #[inline]
    pub fn ended(&self, kind: EventKind, family: Option<&RwLock<String>>, lasted: Duration, detail: &[Detail]) {
        if lasted.as_nanos() as u64 >= self.slow.load(Ordering::Relaxed) {
            self.note(kind, family, lasted, detail);
        }
    }

    /// What has just come to its end.
    #[cold]
    pub fn note(&self, kind: EventKind, family: Option<&RwLock<String>>, lasted: Duration, detail: &[Detail]) {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(lasted);
        let family = family.map(|name| name.read().clone());
        let event = Event { kind, family, began: began.as_nanos() as u64, lasted, detail: detail.to_vec() };
        let mut ring = self.ring.lock();
        if ring.kept.len() == MOST {
            ring.kept.pop_front();
            ring.lost += 1;
        }
        ring.kept.push_back(event);
    }

    /// All since the last call, in the order in which they ended.
    pub fn take(&self) -> Vec<Event> {
        let Ring { kept, lost } = std::mem::take(&mut *self.ring.lock());
        let since = kept.front().map_or(0, |event| event.began);
        let mut events = Vec::with_capacity(kept.len() + 1);
        if lost > 0 {
            let detail = vec![("events", lost)];
            events.push(Event { kind: EventKind::Lost, family: None, began: since, lasted: Duration::ZERO, detail });
        }
        events.extend(kept);
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_took_long_is_kept() {
        let events = Events::default();
        let name = RwLock::new("a".to_string());
        events.ended(EventKind::Get, Some(&name), SLOW - Duration::from_nanos(1), &[]);
        events.ended(EventKind::Get, Some(&name), SLOW, &[("bytes", 3)]);
        let [event] = &events.take()[..] else { panic!("one event") };
        assert_eq!((event.kind.name(), event.family.as_deref(), event.lasted), ("get", Some("a"), SLOW));
        assert_eq!(event.detail, [("bytes", 3)]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let began = Duration::from_nanos(event.began);
        assert!(began + SLOW <= now && now < began + SLOW + Duration::from_secs(60));
        assert!(events.take().is_empty());
    }

    #[test]
    fn of_too_many_the_newest_stay_and_the_others_are_counted() {
        let events = Events::default();
        for number in 0..MOST as u64 + 5 {
            events.note(EventKind::Checkpoint, None, Duration::ZERO, &[("number", number)]);
        }
        let taken = events.take();
        assert_eq!(taken.len(), MOST + 1);
        assert_eq!((taken[0].kind, &taken[0].detail[..]), (EventKind::Lost, &[("events", 5)][..]));
        let numbers: Vec<u64> = taken[1..].iter().map(|event| event.detail[0].1).collect();
        assert_eq!(numbers, (5..MOST as u64 + 5).collect::<Vec<_>>());
        events.note(EventKind::Checkpoint, None, Duration::ZERO, &[]);
        assert_eq!(events.take().len(), 1, "what was lost has been told");
    }
}
