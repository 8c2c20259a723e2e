//! What a salvage tells.

use crate::report::Problem;

#[derive(Clone, Debug, Default)]
pub struct SalvageReport {
    pub families: Vec<SalvagedFamily>,
    /// Nothing is known or likely to be lost, whatever is damaged.
    pub is_whole: bool,
    /// What is damaged, and what is lost by it.
    pub problems: Vec<Problem>,
    /// Commits of the log that are lost: the first version and the last, `None` where nothing tells the last.
    pub lost_versions: Vec<(u64, Option<u64>)>,
    /// Keys of long values that are lost, by family.
    pub lost_values: Vec<(String, Vec<u8>)>,
    /// Records in leaves whose place is not proven: left out, or with `all` put apart.
    pub unplaced_records: u64,
}

#[derive(Clone, Debug)]
pub struct SalvagedFamily {
    pub name: String,
    /// In the new database.
    pub records: u64,
    /// Records that are known to be lost; there may be more where the number is not known.
    pub lost_records: u64,
    /// Made for records whose place is not proven.
    pub is_apart: bool,
}
