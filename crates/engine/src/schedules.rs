//! How tests of schedules are run.

#[path = "../tests/common/effort.rs"]
mod effort;

/// Schedules of each kind, random and by priorities.
const SCHEDULES: u64 = 3_000;

/// Runs `test` in many schedules, some with switches anywhere, some with few of them at the worst places.
pub fn explore(test: impl Fn() + Send + Sync + Clone + 'static) {
    let schedules = effort::scaled(SCHEDULES);
    shuttle::check_random(test.clone(), schedules as usize);
    shuttle::check_pct(test, schedules as usize, 3);
    effort::tally("schedules", 2 * schedules);
}
