//! Two bytes of a key's hash: with them a lookup finds its record without looking at other keys, and an absent key is
//! known as such without looking at any, but for one time in a thousand in a leaf of some sixty records. (As in FPTree,
//! SIGMOD 2016.)

use std::hash::Hasher;

use rustc_hash::FxHasher;

/// Compared at a time.
const LANES: usize = 16;

#[inline(always)]
pub fn of(key: &[u8]) -> u16 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    (hasher.finish() >> 48) as u16
}

/// The first position with the fingerprint `wanted` that `accept` takes.
#[inline(always)]
pub fn find(fingerprints: &[u16], wanted: u16, mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
    let (blocks, rest) = fingerprints.as_chunks::<LANES>();
    for (block, lanes) in blocks.iter().enumerate() {
        let found = accepted(equal(lanes, wanted), block * LANES, &mut accept);
        if found.is_some() {
            return found;
        }
    }
    // The last block overlaps the one before it, where that saves comparing one by one.
    match fingerprints.last_chunk::<LANES>() {
        _ if rest.is_empty() => None,
        Some(lanes) => {
            let unseen = u32::MAX << (LANES - rest.len());
            accepted(equal(lanes, wanted) & unseen, fingerprints.len() - LANES, &mut accept)
        }
        None => (0..rest.len()).find(|&index| rest[index] == wanted && accept(index)),
    }
}

#[inline(always)]
fn accepted(mut mask: u32, start: usize, accept: &mut impl FnMut(usize) -> bool) -> Option<usize> {
    while mask != 0 {
        let index = start + mask.trailing_zeros() as usize;
        if accept(index) {
            return Some(index);
        }
        mask &= mask - 1;
    }
    None
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn equal(lanes: &[u16; LANES], wanted: u16) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16};
    // SAFETY: SSE2 is part of x86-64, and both loads lie within the sixteen lanes.
    unsafe {
        let all = _mm_set1_epi16(wanted as i16);
        let low = _mm_cmpeq_epi16(_mm_loadu_si128(lanes.as_ptr().cast()), all);
        let high = _mm_cmpeq_epi16(_mm_loadu_si128(lanes.as_ptr().add(LANES / 2).cast()), all);
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn equal(lanes: &[u16; LANES], wanted: u16) -> u32 {
    lanes.iter().enumerate().fold(0, |mask, (lane, &other)| mask | (u32::from(other == wanted) << lane))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_positions_are_tried_in_order(list in prop::collection::vec(0u16..5, 0..100), wanted in 0u16..5, skip in 0usize..20) {
            let expected: Vec<usize> = (0..list.len()).filter(|&index| list[index] == wanted).collect();
            let mut tried = Vec::new();
            let found = find(&list, wanted, |index| {
                tried.push(index);
                tried.len() > skip
            });
            prop_assert_eq!(found, expected.get(skip).copied());
            prop_assert_eq!(&tried[..], &expected[..expected.len().min(skip + 1)]);
        }
    }
}
