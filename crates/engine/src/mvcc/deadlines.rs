//! Versions that are held until a moment and no longer: those of transactions with a timeout.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::{ActiveVersion, Versions};
use crate::sync::{Instant, Mutex};

/// By moment, and by a number that tells apart those of one moment.
type Key = (Instant, u64);

#[derive(Default)]
pub struct Deadlines {
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    held: BTreeMap<Key, Weak<ActiveVersion>>,
    next: u64,
}

/// The version is released at the moment, unless this is dropped before.
pub struct Deadline {
    versions: Arc<Versions>,
    key: Key,
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.versions.deadlines().pending.lock().held.remove(&self.key);
    }
}

impl Versions {
    pub fn release_at(self: &Arc<Versions>, moment: Instant, active: &Arc<ActiveVersion>) -> Deadline {
        let mut pending = self.deadlines().pending.lock();
        let key = (moment, pending.next);
        pending.next += 1;
        pending.held.insert(key, Arc::downgrade(active));
        Deadline { versions: Arc::clone(self), key }
    }

    /// Under the lock that a `Deadline` is dropped under, so that nothing is released after that.
    pub fn release_overdue(&self, now: Instant) {
        let mut pending = self.deadlines().pending.lock();
        while let Some(first) = pending.held.first_entry().filter(|first| first.key().0 <= now) {
            if let Some(active) = first.remove().upgrade() {
                active.release();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_overdue_is_released_once_and_the_rest_stays() {
        let versions = Arc::new(Versions::new(1));
        let now = Instant::now();
        let (soon, late) = (Arc::new(versions.register()), Arc::new(versions.register()));
        let _soon = versions.release_at(now, &soon);
        let kept = versions.release_at(now + Duration::from_secs(1), &late);
        versions.in_flight(2).finish();
        versions.release_overdue(now);
        assert_eq!((soon.is_released(), late.is_released()), (true, false));
        // Its slot may be another's by now, and is not freed again.
        let other = versions.register();
        drop(soon);
        assert_eq!((other.version(), versions.active()), (2, vec![1, 2]));
        drop(kept);
        versions.release_overdue(now + Duration::from_secs(2));
        assert_eq!((late.is_released(), versions.active()), (false, vec![1, 2]));
        drop((late, other));
        assert_eq!(versions.active(), [2]);
        assert!(versions.deadlines().pending.lock().held.is_empty());
    }
}
