//! Walking every invariant of a tree.

use crossbeam_epoch::{self as epoch, Guard};

use super::Tree;
use super::gather::gather;
use super::page::{DIRTY, Found, PageRef};
use super::record::Record;

/// What a walk saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Census {
    pub pages: u64,
    pub records: u64,
    pub bytes: u64,
}

impl Tree {
    /// Checks order, fences, levels, heads and flags of all that is in memory, and loads what is not. Each problem goes to
    /// `report` with the extent it is in, if it is on disk. `go_on` is asked once a page; false ends the walk.
    pub fn verify(
        &self,
        report: &mut dyn FnMut(Option<u64>, String),
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Option<Census> {
        let guard = epoch::pin();
        let mut census = Census::default();
        let root = self.root(&guard);
        self.verify_page(root, &[], None, &mut census, report, go_on, &guard).then_some(census)
    }

    #[allow(clippy::too_many_arguments)]
    fn verify_page(
        &self,
        page: &PageRef,
        low: &[u8],
        high: Option<&[u8]>,
        census: &mut Census,
        report: &mut dyn FnMut(Option<u64>, String),
        go_on: &mut dyn FnMut(u64) -> bool,
        guard: &Guard,
    ) -> bool {
        census.pages += 1;
        if !go_on(census.pages) {
            return false;
        }
        if page.level() == 0 {
            self.verify_leaf(page, low, high, census, report, guard);
            return true;
        }
        let inner = page.inner(guard);
        let place = Some(page.extent()).filter(|&extent| extent != 0);
        if inner.level() != page.level() {
            report(place, format!("an inner page of level {} has an image of level {}", page.level(), inner.level()));
        }
        let children = inner.children(low);
        for (index, child) in children.iter().enumerate() {
            let next = children.get(index + 1).map(|child| child.low.as_slice());
            if next.is_some_and(|next| next <= child.low.as_slice()) {
                report(place, format!("separators {index} and {} of an inner page are out of order", index + 1));
            }
            if next.is_some_and(|next| high.is_some_and(|high| next >= high)) {
                report(place, format!("separator {} of an inner page is above the page's range", index + 1));
            }
            let page = inner.child(index);
            if page.level() + 1 != inner.level() {
                report(place, format!("a page of level {} hangs below level {}", page.level(), inner.level()));
                continue;
            }
            if !self.verify_page(page, &child.low, next.or(high), census, report, go_on, guard) {
                return false;
            }
        }
        true
    }

    fn verify_leaf(
        &self,
        page: &PageRef,
        low: &[u8],
        high: Option<&[u8]>,
        census: &mut Census,
        report: &mut dyn FnMut(Option<u64>, String),
        guard: &Guard,
    ) {
        let place = Some(page.extent()).filter(|&extent| extent != 0);
        let was_cold = matches!(page.leaf(guard), Found::Cold(_));
        let leaf = match self.resident(page, guard) {
            Ok(leaf) => leaf,
            Err(error) => return report(place, error.to_string()),
        };
        if was_cold && leaf.count() != page.records() as usize {
            report(place, format!("a leaf holds {} records and its parent says {}", leaf.count(), page.records()));
        }
        if !page.is(DIRTY) && leaf.delta_len() > 0 && place.is_none() {
            report(place, "a leaf that was never written counts as clean".into());
        }
        let mut scratch = Vec::new();
        let gathered = gather(leaf, leaf.delta_len(), &[], &mut scratch);
        let whole = |record: &Record<'_>| [gathered.prefix, record.key].concat();
        for pair in gathered.records.windows(2) {
            let ordered = pair[0].key < pair[1].key || pair[0].key == pair[1].key && pair[0].version > pair[1].version;
            if !ordered {
                report(place, format!("records of a leaf are out of order at key {:?}", whole(&pair[1])));
            }
        }
        if gathered.records.first().is_some_and(|first| whole(first).as_slice() < low) {
            report(place, "a leaf holds a key below its range".into());
        }
        if gathered.records.last().is_some_and(|last| high.is_some_and(|high| whole(last).as_slice() >= high)) {
            report(place, "a leaf holds a key above its range".into());
        }
        for index in 0..leaf.count() {
            if leaf.heads()[index] != super::keys::head(leaf.record(index).key) {
                report(place, format!("head {index} of a leaf is not its key's"));
            }
        }
        for record in &gathered.records {
            if let Some(blob) = record.blob() {
                if let Err(error) = self.read_blob(blob, guard, |_| ()) {
                    report(blob.extent(), error.to_string());
                }
                census.bytes += blob.len();
            } else {
                census.bytes += record.value.len() as u64;
            }
            census.bytes += (gathered.prefix.len() + record.key.len()) as u64;
        }
        census.records += gathered.records.len() as u64;
    }
}
