//! Leaves that no page is known to lead to: lost with their parents, or old copies. Nothing tells one from the other.

use crate::error::Result;
use crate::pagefile::{Extent, PageKind, Remains};
use crate::range::KeyRange;
use crate::tree::parse_leaf;

use super::walk::Walk;

struct Orphan {
    extent: Extent,
    /// The family whose lost keys it holds, and those.
    family: Option<u32>,
    gap: KeyRange,
    first: Vec<u8>,
    last: Vec<u8>,
}

/// Counts the records that orphans hold in the ranges that are lost; with `all` writes them to families of their own, so
/// many that no two leaves of one family overlap, and none hides the other.
pub fn gather(walk: &mut Walk<'_>, pages: &Remains, all: bool) -> Result<()> {
    let mut orphans = Vec::new();
    let mut records = 0;
    for page in walk.found().iter().filter(|page| page.kind == PageKind::Leaf) {
        if walk.used.contains_key(&page.extent.offset()) {
            continue;
        }
        let Ok((_, payload)) = pages.read(page.extent) else { continue };
        let Some(leaf) = parse_leaf(&payload) else { continue };
        for (family, gap) in &walk.gaps {
            let whole = |record: &crate::tree::Record<'_>| [leaf.prefix, record.key].concat();
            let mut keys = leaf.records.iter().map(whole).filter(|key| gap.contains(key));
            let Some(first) = keys.next() else { continue };
            let last = keys.next_back().unwrap_or_else(|| first.clone());
            orphans.push(Orphan { extent: page.extent, family: *family, gap: gap.clone(), first, last });
        }
        let count = |(_, gap): &(Option<u32>, KeyRange)| {
            let whole = |record: &crate::tree::Record<'_>| [leaf.prefix, record.key].concat();
            leaf.records.iter().filter(|record| gap.contains(&whole(record))).count() as u64
        };
        records += walk.gaps.iter().map(count).max().unwrap_or(0);
    }
    walk.report.unplaced_records = records;
    if !all {
        return Ok(());
    }
    orphans.sort_by(|a, b| (a.family, &a.first).cmp(&(b.family, &b.first)));
    // Of each family apart: whose keys it may hold, and the last key that it does.
    let mut rows: Vec<(Option<u32>, Vec<u8>, crate::family::Family)> = Vec::new();
    for orphan in orphans {
        let fits = rows.iter_mut().find(|(family, last, _)| *family == orphan.family && *last < orphan.first);
        let family = match fits {
            Some((_, last, family)) => {
                *last = orphan.last;
                family.clone()
            }
            None => {
                let number = rows.iter().filter(|(family, ..)| *family == orphan.family).count() + 1;
                let family = walk.destination.family_apart(orphan.family, number)?;
                rows.push((orphan.family, orphan.last, family.clone()));
                family
            }
        };
        let Ok((_, payload)) = pages.read(orphan.extent) else { continue };
        walk.records(pages, &family, Some(orphan.extent), &payload, Some(&orphan.gap))?;
    }
    walk.destination.flush()
}
