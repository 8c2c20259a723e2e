//! What the fuzzers start from and what they once found, without a fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lyredb_engine::fuzzing::{Meter, TARGETS, seeds};

#[global_allocator]
static ALLOCATOR: Meter = Meter;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind)
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect()
}

/// Runs the target on every input in its folder; how many there were.
fn replay(kind: &str) -> usize {
    let mut replayed = 0;
    for (target, run) in TARGETS {
        let inputs = folder(kind).join(target);
        for name in names_in(&inputs) {
            let input = fs::read(inputs.join(&name)).expect("the input");
            let result = catch_unwind(AssertUnwindSafe(|| run(&input)));
            assert!(result.is_ok(), "{target} fails on {}", inputs.join(name).display());
            replayed += 1;
        }
    }
    replayed
}

#[test]
fn what_was_found_once() {
    assert!(replay("regressions") > 0);
}

#[test]
fn what_the_fuzzers_start_from() {
    assert!(replay("corpus") > 0);
}

#[test]
fn real_pages_and_records() {
    for (target, input) in seeds().expect("a database in memory") {
        let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
        run(&input);
    }
}

#[test]
fn folders_are_named_after_targets() {
    // The numbers are the package's, and only the fuzzer replays them.
    let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| name.to_string()).chain(["numbers".into()]).collect();
    for kind in ["corpus", "regressions"] {
        let strangers: Vec<_> = names_in(&folder(kind)).difference(&known).cloned().collect();
        assert_eq!(strangers, Vec::<String>::new(), "in fuzz/{kind}");
    }
    let fuzzers: BTreeSet<_> =
        names_in(&folder("fuzz_targets")).iter().map(|name| name.trim_end_matches(".rs").to_string()).collect();
    assert_eq!(fuzzers, known);
}
