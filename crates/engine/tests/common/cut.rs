//! One cut of the power, as it is told and as it is asked for again.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use lyredb_engine::Durability;

use crate::replay::Loss;
use crate::workload::{WORKLOADS, Workload};

/// A workload's steps, the same each time.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub workload: &'static Workload,
    pub durability: Durability,
    pub seed: u64,
}

pub const DURABILITIES: [(&str, Durability); 3] =
    [("sync", Durability::Sync), ("group", Durability::Group), ("async", Durability::Async)];

impl Display for Job {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (durability, _) = DURABILITIES.iter().find(|(_, known)| *known == self.durability).expect("all are there");
        write!(out, "{}/{durability}/{}", self.workload.name, self.seed)
    }
}

impl FromStr for Job {
    type Err = String;

    /// As it is displayed; what follows after further slashes is for who reads the line.
    fn from_str(text: &str) -> Result<Job, String> {
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or("workload/durability/seed");
        let (workload, durability, seed) = (part()?, part()?, part()?);
        let workload = WORKLOADS.iter().find(|known| known.name == workload).ok_or("there is no such workload")?;
        let (_, durability) = DURABILITIES.iter().find(|(name, _)| *name == durability).ok_or("no such durability")?;
        Ok(Job { workload, durability: *durability, seed: seed.parse().map_err(|_| "the seed is no number")? })
    }
}

/// Where the power fails, and what that takes.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub event: usize,
    pub loss: Loss,
    /// During the recovery from it, by its own operations.
    pub again: Option<(usize, Loss)>,
    /// Of the nth backup's disk, instead of the database's.
    pub of_copy: Option<usize>,
}

impl Display for Cut {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if let Some(copy) = self.of_copy {
            write!(out, "backup {copy}/")?;
        }
        write!(out, "{}/{}", self.event, self.loss)?;
        match self.again {
            Some((event, loss)) => write!(out, "/then {event}/{loss}"),
            None => Ok(()),
        }
    }
}
