//! The ten anomalies of the Hermitage suite (Martin Kleppmann), some in variants: what each transaction does, and how
//! the anomaly shows. Rows X and Y are there at first; Z and W are not.

use super::outcome::{Outcome, Row};

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Begin,
    Get(Row),
    /// Reads the rows whose value fits.
    Scan(fn(u64) -> bool),
    Put(Row, u64),
    /// Puts what it last read of the row, and so much more.
    Add(Row, u64),
    /// Deletes what its last scan found.
    DeleteFound,
    Commit,
    Abort,
}

pub struct Scenario {
    /// As in the table of `docs/isolation.md`.
    pub anomaly: &'static str,
    pub variant: &'static str,
    pub transactions: &'static [&'static [Step]],
    /// Whether the anomaly happened.
    pub happened: fn(&Outcome) -> bool,
}

use Row::{W, X, Y, Z};
use Step::{Abort, Add, Begin, Commit, DeleteFound, Get, Put, Scan};

pub const INITIAL: [(Row, u64); 2] = [(X, 10), (Y, 20)];

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        anomaly: "G0",
        variant: "dirty write",
        transactions: &[&[Begin, Put(X, 11), Put(Y, 21), Commit], &[Begin, Put(X, 12), Put(Y, 22), Commit]],
        happened: |outcome| {
            let last = (outcome.last(X), outcome.last(Y));
            outcome.all_committed() && last != (Some(11), Some(21)) && last != (Some(12), Some(22))
        },
    },
    Scenario {
        anomaly: "G1a",
        variant: "aborted read",
        transactions: &[&[Begin, Put(X, 101), Abort], &[Begin, Get(X), Get(X), Commit]],
        happened: |outcome| outcome.reads(1, X).contains(&Some(101)),
    },
    Scenario {
        anomaly: "G1a",
        variant: "aborted read by a scan",
        transactions: &[&[Begin, Put(X, 101), Put(Z, 102), Abort], &[Begin, Scan(|_| true), Get(Z), Commit]],
        happened: |outcome| outcome.scans(1)[0].contains(&(X, 101)) || outcome.reads(1, Z).contains(&Some(102)),
    },
    Scenario {
        anomaly: "G1b",
        variant: "intermediate read",
        transactions: &[&[Begin, Put(X, 101), Put(X, 11), Commit], &[Begin, Get(X), Get(X), Commit]],
        happened: |outcome| outcome.reads(1, X).contains(&Some(101)),
    },
    Scenario {
        anomaly: "G1c",
        variant: "circular information flow",
        transactions: &[&[Begin, Put(X, 11), Get(Y), Commit], &[Begin, Put(Y, 22), Get(X), Commit]],
        happened: |outcome| outcome.reads(0, Y) == [Some(22)] && outcome.reads(1, X) == [Some(11)],
    },
    Scenario {
        anomaly: "OTV",
        variant: "observed transaction vanishes",
        transactions: &[
            &[Begin, Put(X, 11), Put(Y, 19), Commit],
            &[Begin, Put(X, 12), Put(Y, 18), Commit],
            &[Begin, Get(X), Get(Y), Get(X), Get(Y), Commit],
        ],
        happened: |outcome| {
            let reads = outcome.values(2);
            let pairs = (1..reads.len()).flat_map(|later| (0..later).map(move |earlier| (earlier, later)));
            pairs.into_iter().any(|(earlier, later)| outcome.vanished(reads[earlier], reads[later]))
        },
    },
    Scenario {
        anomaly: "PMP",
        variant: "predicate-many-preceders",
        transactions: &[
            &[Begin, Scan(|value| value == 30), Scan(|value| value % 3 == 0), Commit],
            &[Begin, Put(Z, 30), Commit],
        ],
        happened: |outcome| outcome.scans(0)[0].is_empty() && !outcome.scans(0)[1].is_empty(),
    },
    Scenario {
        anomaly: "PMP",
        variant: "for writes",
        transactions: &[
            &[Begin, Scan(|_| true), Add(X, 10), Add(Y, 10), Commit],
            &[Begin, Scan(|value| value == 20), DeleteFound, Commit],
        ],
        happened: |outcome| {
            let last = (outcome.last(X), outcome.last(Y));
            outcome.all_committed() && last != (None, Some(30)) && last != (Some(20), None)
        },
    },
    Scenario {
        anomaly: "P4",
        variant: "lost update",
        transactions: &[&[Begin, Get(X), Add(X, 1), Commit], &[Begin, Get(X), Add(X, 5), Commit]],
        happened: |outcome| outcome.all_committed() && outcome.last(X) != Some(16),
    },
    Scenario {
        anomaly: "G-single",
        variant: "read skew",
        transactions: &[&[Begin, Get(X), Get(Y), Commit], &[Begin, Get(X), Get(Y), Put(X, 12), Put(Y, 18), Commit]],
        happened: |outcome| {
            let read = (outcome.reads(0, X)[0], outcome.reads(0, Y)[0]);
            read == (Some(10), Some(18)) || read == (Some(12), Some(20))
        },
    },
    Scenario {
        anomaly: "G-single",
        variant: "by predicates",
        transactions: &[
            &[Begin, Scan(|value| value % 5 == 0), Scan(|value| value % 3 == 0), Commit],
            &[Begin, Put(X, 12), Commit],
        ],
        happened: |outcome| outcome.scans(0)[0].contains(&(X, 10)) && outcome.scans(0)[1].contains(&(X, 12)),
    },
    Scenario {
        anomaly: "G-single",
        variant: "by what is deleted",
        transactions: &[
            &[Begin, Get(X), Scan(|value| value == 20), DeleteFound, Commit],
            &[Begin, Get(X), Get(Y), Put(X, 12), Put(Y, 18), Commit],
        ],
        happened: |outcome| {
            outcome.all_committed() && outcome.reads(0, X) == [Some(10)] && outcome.scans(0)[0].is_empty()
        },
    },
    Scenario {
        anomaly: "G2-item",
        variant: "write skew",
        transactions: &[&[Begin, Get(X), Get(Y), Put(X, 11), Commit], &[Begin, Get(X), Get(Y), Put(Y, 21), Commit]],
        happened: |outcome| {
            let neither_saw =
                [0, 1].iter().all(|&by| outcome.reads(by, X) == [Some(10)] && outcome.reads(by, Y) == [Some(20)]);
            outcome.all_committed() && neither_saw
        },
    },
    Scenario {
        anomaly: "G2-item",
        variant: "shown by who only reads",
        transactions: &[
            &[Begin, Get(Y), Put(X, 0), Commit],
            &[Begin, Put(Y, 25), Commit],
            &[Begin, Get(X), Get(Y), Commit],
        ],
        happened: |outcome| {
            let read = (outcome.reads(2, X)[0], outcome.reads(2, Y)[0]);
            outcome.all_committed() && outcome.reads(0, Y) == [Some(20)] && read == (Some(10), Some(25))
        },
    },
    Scenario {
        anomaly: "G2",
        variant: "write skew by a predicate",
        transactions: &[
            &[Begin, Scan(|value| value % 3 == 0), Put(Z, 30), Commit],
            &[Begin, Scan(|value| value % 3 == 0), Put(W, 42), Commit],
        ],
        happened: |outcome| outcome.all_committed() && [0, 1].iter().all(|&by| outcome.scans(by)[0].is_empty()),
    },
];
