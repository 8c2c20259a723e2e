//! What goes wrong on a disk in memory, and when.

use std::io;

/// What a [`MemoryDisk`](super::MemoryDisk) was asked to do, as its faults see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Open,
    List,
    Remove,
    Rename,
    SyncDirectory,
    Lock,
    Read,
    Write,
    Sync,
    SetLength,
    Length,
}

impl Operation {
    pub const ALL: &'static [Operation] = &[
        Operation::Open,
        Operation::List,
        Operation::Remove,
        Operation::Rename,
        Operation::SyncDirectory,
        Operation::Lock,
        Operation::Read,
        Operation::Write,
        Operation::Sync,
        Operation::SetLength,
        Operation::Length,
    ];

    /// Those that change something, or make it durable.
    pub const CHANGING: &'static [Operation] = &[
        Operation::Open,
        Operation::Remove,
        Operation::Rename,
        Operation::SyncDirectory,
        Operation::Write,
        Operation::Sync,
        Operation::SetLength,
    ];
}

/// How a faulty operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With this error; of a write, half the bytes are written.
    Kind(io::ErrorKind),
    /// With an error number of the operating system's; of a write, half the bytes are written.
    Raw(i32),
    /// A write ends with an error number after this many 256ths of its bytes.
    ShortWrite(u8, i32),
    /// A read gives this many 256ths of the bytes that are there, but one at least. Files may do that at any time.
    ShortRead(u8),
    /// A read finds the end of the file, wherever it is.
    EndOfFile,
}

impl Fault {
    /// The error that the operation ends with; a read may go on without one.
    pub(super) fn error(self) -> Option<io::Error> {
        match self {
            Fault::Kind(kind) => Some(io::Error::new(kind, "injected fault")),
            Fault::Raw(number) | Fault::ShortWrite(_, number) => Some(io::Error::from_raw_os_error(number)),
            Fault::ShortRead(_) | Fault::EndOfFile => None,
        }
    }

    /// How many of a write's bytes are written all the same.
    pub(super) fn written(self, length: usize) -> usize {
        match self {
            Fault::ShortWrite(part, _) => length * usize::from(part) / 256,
            _ => length / 2,
        }
    }

    /// How many of a read's bytes arrive.
    pub(super) fn arrived(self, length: usize) -> usize {
        match self {
            Fault::ShortRead(part) => (length * usize::from(part) / 256).max(length.min(1)),
            _ => 0,
        }
    }
}

/// A fault, and which operations it strikes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Operations of any kind that go well before the first that may be struck.
    pub after: u64,
    pub operations: &'static [Operation],
    /// How many it strikes; `u64::MAX` for all until the disk is healed.
    pub count: u64,
    pub fault: Fault,
}

/// An operation that a fault has struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// 1 is the disk's first operation.
    pub number: u64,
    pub operation: Operation,
    /// Of the file; empty for what is done to the folder.
    pub name: String,
    /// Where it was to read or write.
    pub offset: u64,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub operations: u64,
    pub strikes: Vec<Strike>,
    /// `after` counts from the disk's first operation.
    plans: Vec<Plan>,
}

impl Faults {
    pub fn add(&mut self, plan: Plan) {
        self.plans.push(Plan { after: plan.after.saturating_add(self.operations), ..plan });
    }

    pub fn heal(&mut self) {
        self.plans.clear();
    }

    /// Counts an operation; the fault that strikes it.
    pub fn step(&mut self, operation: Operation, name: &str, offset: u64) -> Option<Fault> {
        self.operations += 1;
        let now = self.operations;
        let due = |plan: &&mut Plan| plan.after < now && plan.count > 0 && plan.operations.contains(&operation);
        let plan = self.plans.iter_mut().find(due)?;
        plan.count -= 1;
        self.strikes.push(Strike { number: now, operation, name: name.to_owned(), offset });
        Some(plan.fault)
    }
}
