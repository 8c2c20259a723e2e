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
    EvictionLocked,
    LeafEvicted,
}

#[cfg(not(any(debug_assertions, feature = "pause-points")))]
#[inline(always)]
pub fn point(_point: Point) {}

#[cfg(any(debug_assertions, feature = "pause-points"))]
pub use hook::point;

#[cfg(any(debug_assertions, feature = "pause-points"))]
pub mod hook {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::Point;

    thread_local! {
        static HOOK: RefCell<Option<Rc<dyn Fn(Point)>>> = const { RefCell::new(None) };
    }

    /// Calls `hook` at every point that this thread comes to from now on.
    pub fn install(hook: impl Fn(Point) + 'static) {
        HOOK.with(|slot| *slot.borrow_mut() = Some(Rc::new(hook)));
    }

    #[inline(always)]
    pub fn point(point: Point) {
        // At the thread's end, after its locals, there is no hook left to call.
        let hook = HOOK.try_with(|slot| slot.borrow().clone()).ok().flatten();
        if let Some(hook) = hook {
            hook(point);
        }
    }
}
