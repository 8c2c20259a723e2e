//! How models of orderings are run: `cargo test --package lyredb-engine --features loom --lib orderings`.

#[path = "../tests/common/effort.rs"]
mod effort;

use std::sync::Arc;

use crate::sync::{AtomicU64, Ordering};

/// Of a thread that could go on, unless LOOM_MAX_PREEMPTIONS says otherwise; more find little more, and take long.
const PREEMPTIONS: usize = 3;

/// Goes through all executions of `model` that loom tells apart, with what each load may see.
pub fn explore(model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicU64::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
    builder.max_branches = 10_000;
    let count = Arc::clone(&executions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    effort::tally("orderings", executions.load(Ordering::Relaxed));
}
