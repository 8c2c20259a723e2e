//! What becomes of memory that was freed.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PURGE_DELAY: mi_option_t = 15;

fn set_purge_delay(milliseconds: c_long) {
    // SAFETY: sets a number that the allocator reads with an atomic load, at any time.
    unsafe { mi_option_set(PURGE_DELAY, milliseconds) };
}

/// Pages come and go all the time while a database is written, and memory that was given back to the system has to be
/// zeroed before it can be used again, which cost a third of a bulk load. Kept for longer, it is used again as it is.
pub fn keep_freed_memory_for_a_while() {
    set_purge_delay(10_000);
}

/// Where a database has used up its budget, memory is what is scarce in the process: for the rest of its life.
pub fn give_freed_memory_back_soon() {
    set_purge_delay(200);
}
