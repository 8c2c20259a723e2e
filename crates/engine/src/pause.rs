//! Places where a test may stop a thread for good, to show that readers go on. Nothing of it is in a release build.

macro_rules! points {
    ($($name:ident,)*) => {
        /// Named after what has just happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point { $($name,)* }

        impl Point {
            pub const ALL: &'static [Point] = &[$(Point::$name,)*];
        }
    };
}

points! {
    CommitLocked,
    CommitLogged,
    CommitAppliedToOneFamily,
    CommitApplied,
    CommitDurable,
    CommitFinished,
    AppendStarted,
    AppendDone,
    ImageBuilt,
    ImagePublished,
    SplitBuilt,
    SplitPublished,
    MergeBuilt,
    MergePublished,
    InnerBuilt,
    InnerPublished,
    InnerMergeBuilt,
    RootBuilt,
    RootShrunk,
    PageRetired,
    CheckpointStarted,
    CheckpointLeafWritten,
    CheckpointLeafLocked,
    CheckpointInnerWritten,
    CheckpointPagesWritten,
    CheckpointCommitted,
    CheckpointDone,
    EarlyLeafWritten,
    EarlyLeafLocked,
    EvictionLocked,
    LeafEvicted,
    CatalogueLocked,
    CloseWritten,
    ReadStarted,
}

#[cfg(not(any(debug_assertions, feature = "pause-points")))]
#[inline(always)]
pub fn point(_point: Point) {}

#[cfg(any(debug_assertions, feature = "pause-points"))]
pub use hook::point;

#[cfg(any(debug_assertions, feature = "pause-points"))]
pub mod hook {
    use std::sync::Arc;

    use parking_lot::RwLock;

    use super::Point;
    use crate::sync::{AtomicBool, Ordering};

    type Hook = Arc<dyn Fn(Point) + Send + Sync>;

    static ARMED: AtomicBool = AtomicBool::new(false);
    static HOOK: RwLock<Option<Hook>> = RwLock::new(None);

    /// `hook` is called at every point that any thread comes to from now on; `None` takes it away.
    pub fn install(hook: Option<Hook>) {
        ARMED.store(hook.is_some(), Ordering::Release);
        *HOOK.write() = hook;
    }

    #[inline(always)]
    pub fn point(point: Point) {
        if ARMED.load(Ordering::Acquire) {
            call(point);
        }
    }

    #[cold]
    fn call(point: Point) {
        // Not under the lock: the hook may stop for good.
        let hook = HOOK.read().clone();
        if let Some(hook) = hook {
            hook(point);
        }
    }
}
