//! What the targets in `fuzz_targets` share.

pub mod numbers;

use std::path::Path;

use lyredb_engine::fuzzing::{Meter, seeds};

#[global_allocator]
static ALLOCATOR: Meter = Meter;

/// Before a target's corpus is read: puts real pages and records, and noise, into the folder that `LYREDB_FUZZ_SEEDS` names.
pub fn prepare(target: &str) {
    let Ok(folder) = std::env::var("LYREDB_FUZZ_SEEDS") else { return };
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let inputs = seeds().expect("a database in memory");
    let ours = inputs.iter().filter(|(name, _)| *name == target);
    let noise = (1..=8).map(noise);
    for (index, input) in ours.map(|(_, input)| input.clone()).chain(noise).enumerate() {
        let path = Path::new(&folder).join(format!("seed-{index:03}"));
        std::fs::write(&path, input).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Bytes that look random, always the same: libFuzzer by itself is slow to come to long inputs.
fn noise(length: u64) -> Vec<u8> {
    let mix = |at: u64| {
        (at + length * 1000).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xd6e8_feb8_6659_fd93)
    };
    (0..length * 100).map(|at| (mix(at) >> 56) as u8).collect()
}

/// A fuzz target of the engine's, by its name.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::prepare(stringify!($name)),
            |input: &[u8]| lyredb_engine::fuzzing::$name(input)
        );
    };
}
