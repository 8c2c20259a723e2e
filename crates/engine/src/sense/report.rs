//! What a reader is told, by name.

use super::{Dependent, Summary, Writes};
use crate::core::Core;
use crate::counters::{Count, Measure};
use crate::error::Result;
use crate::family::FamilyCore;

/// A number by name.
type Figure = (&'static str, f64);
/// A family's name, and its figures.
pub type Sensed = (String, Vec<Figure>);

/// Scans of up to so many rows are counted together; those of more, too.
const SCAN_ROWS: [(u64, &str); 4] =
    [(1, "scans_of_1"), (16, "scans_of_16"), (256, "scans_of_256"), (4096, "scans_of_4096")];
const SCANS_OF_MORE: &str = "scans_of_more";

impl Core {
    /// By family: what was counted since the database was opened, and what a sketch says of the time since the last call.
    pub fn sense(&self, go_on: bool) -> Result<Vec<Sensed>> {
        self.open_check()?;
        let families = self.all_families().into_iter();
        Ok(families.map(|family| (family.name.read().clone(), family.sense(go_on))).collect())
    }
}

impl FamilyCore {
    fn sense(&self, go_on: bool) -> Vec<Figure> {
        let counted = Count::ALL.iter().map(|&(count, name)| (name, self.counters.sum(count) as f64));
        let mut figures: Vec<Figure> = counted.collect();
        figures.extend(self.scans_by_rows());
        figures.extend(self.counters.sense(go_on).figures());
        figures
    }

    fn scans_by_rows(&self) -> impl Iterator<Item = Figure> {
        let mut counts = [0; SCAN_ROWS.len() + 1];
        for (low, _, count) in self.counters.read(Measure::ScanLength).buckets() {
            counts[SCAN_ROWS.partition_point(|(most, _)| *most < low)] += count;
        }
        let names = SCAN_ROWS.into_iter().map(|(_, name)| name).chain([SCANS_OF_MORE]);
        names.zip(counts).map(|(name, count)| (name, count as f64))
    }
}

impl Summary {
    fn figures(&self) -> [Figure; 21] {
        let Writes { all, appended, overwrote } = self.writes;
        let dependent =
            |dependent: Dependent| [dependent.asked, dependent.found, dependent.by_chance].map(|n| n as f64);
        let [reads_asked, reads_dependent, reads_by_chance] = dependent(self.reads);
        let [scans_asked, scans_dependent, scans_by_chance] = dependent(self.scans);
        [
            ("sampled", self.sampled as f64),
            ("top_16_share", self.top_16_share),
            ("top_128_share", self.top_128_share),
            ("distinct_share", self.distinct_share),
            ("reuse_share", self.reuse_share),
            ("reuse_median", self.reuse_median),
            ("reuse_ninth_decile", self.reuse_ninth_decile),
            ("heat_entropy", self.heat_entropy),
            ("heat_top_share", self.heat_top_share),
            ("heat_end_share", self.heat_end_share),
            ("values_sampled", self.values as f64),
            ("value_bytes_sampled", self.value_bytes as f64),
            ("writes_sampled", all as f64),
            ("appends_sampled", appended as f64),
            ("overwrites_sampled", overwrote as f64),
            ("reads_asked", reads_asked),
            ("reads_dependent", reads_dependent),
            ("reads_by_chance", reads_by_chance),
            ("scans_asked", scans_asked),
            ("scans_dependent", scans_dependent),
            ("scans_by_chance", scans_by_chance),
        ]
    }
}
