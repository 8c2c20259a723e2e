//! How much a suite tries, and the record of what it tried.
#![allow(dead_code)] // Each suite uses only some of it.

use std::fs::OpenOptions;
use std::io::Write;

/// `count` times `LYREDB_TEST_EFFORT`, which is 1 unless set: 0.1 for a quick look, 100 for a night.
pub fn scaled(count: u64) -> u64 {
    let effort: f64 = std::env::var("LYREDB_TEST_EFFORT").map_or(1.0, |text| text.parse().expect("a number"));
    ((count as f64 * effort).ceil() as u64).max(1)
}

/// Adds to what was tried, in the file that `LYREDB_TALLY` names: `scripts/tally.py` has the names and what each has to
/// reach, so that a suite that silently does less fails.
pub fn tally(name: &str, count: u64) {
    println!("{count} {name}");
    let Ok(path) = std::env::var("LYREDB_TALLY") else { return };
    let file = OpenOptions::new().append(true).create(true).open(&path);
    // One write, so that the lines of suites that run side by side do not mix.
    let written = file.and_then(|mut file| file.write_all(format!("{count} {name}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("{path}: {error}"));
}
