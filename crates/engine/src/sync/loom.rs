//! Loom's atomics. Loom takes sequentially consistent operations for acquiring and releasing ones; fences around them make
//! up for it, and order more than the operations alone would: what rests on these is shown by shuttle's schedules too.
#![allow(dead_code)] // All kinds have the same operations, whether each is used or not.

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::atomic::fence;

/// How much of a delta the models look at.
const TRACED: usize = 4;

fn in_order<R>(order: Ordering, operation: impl FnOnce() -> R) -> R {
    if order == Ordering::SeqCst {
        fence(order);
    }
    let result = operation();
    if order == Ordering::SeqCst {
        fence(order);
    }
    result
}

macro_rules! atomic {
    ($name:ident, $type:ty $(, $parameter:ident)?) => {
        #[derive(Debug)]
        pub struct $name$(<$parameter>)?(loom::sync::atomic::$name$(<$parameter>)?);

        impl$(<$parameter>)? $name$(<$parameter>)? {
            pub fn new(value: $type) -> Self {
                $name(loom::sync::atomic::$name::new(value))
            }

            pub fn load(&self, order: Ordering) -> $type {
                in_order(order, || self.0.load(order))
            }

            pub fn store(&self, value: $type, order: Ordering) {
                in_order(order, || self.0.store(value, order));
            }

            pub fn swap(&self, value: $type, order: Ordering) -> $type {
                in_order(order, || self.0.swap(value, order))
            }

            pub fn compare_exchange(
                &self,
                from: $type,
                to: $type,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$type, $type> {
                in_order(success, || self.0.compare_exchange(from, to, success, failure))
            }
        }
    };
}

macro_rules! arithmetic {
    ($name:ident, $type:ty: $($method:ident)*) => {
        impl $name {
            $(pub fn $method(&self, value: $type, order: Ordering) -> $type {
                in_order(order, || self.0.$method(value, order))
            })*
        }

        impl Default for $name {
            fn default() -> Self {
                $name::new(<$type>::default())
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
atomic!(AtomicPtr, *mut T, T);
arithmetic!(AtomicBool, bool:);
arithmetic!(AtomicU32, u32: fetch_or fetch_and);
arithmetic!(AtomicU64, u64: fetch_add fetch_sub fetch_or fetch_min);

impl<T> Default for AtomicPtr<T> {
    fn default() -> Self {
        AtomicPtr::new(std::ptr::null_mut())
    }
}

/// Stands for memory that is not atomic and yet shared, so that loom sees who reads it while another writes it.
#[derive(Default)]
pub struct Traced([UnsafeCell<()>; TRACED]);

impl Traced {
    pub fn written(&self, index: usize) {
        self.0[index].with_mut(|_| ());
    }

    pub fn read(&self, index: usize) {
        self.0[index].with(|_| ());
    }
}
