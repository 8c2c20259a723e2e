//! How tests of schedules are run.

/// Schedules of each kind by default; `LYREDB_TEST_EFFORT=10` makes it ten times as many.
const SCHEDULES: usize = 3_000;

/// Runs `test` in many schedules, some with switches anywhere, some with few of them at the worst places.
pub fn explore(test: impl Fn() + Send + Sync + Clone + 'static) {
    let effort = std::env::var("LYREDB_TEST_EFFORT").map_or(1, |text| text.parse().expect("a whole number"));
    shuttle::check_random(test.clone(), SCHEDULES * effort);
    shuttle::check_pct(test, SCHEDULES * effort, 3);
}
