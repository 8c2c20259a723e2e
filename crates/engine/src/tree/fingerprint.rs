//! Two bytes of a key's hash: with them a lookup finds its record without looking at other keys, and an absent key is
//! known as such without looking at any, but for one time in a thousand
//! in a leaf of some sixty records. (As in FPTree, SIGMOD 2016.)

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

/// The positions at which `wanted` stands, ascending.
#[inline(always)]
pub fn positions(fingerprints: &[u16], wanted: u16) -> impl Iterator<Item = usize> + '_ {
    let (blocks, rest) = fingerprints.as_chunks::<LANES>();
    let whole = blocks.iter().enumerate().flat_map(move |(block, lanes)| bits(equal(lanes, wanted), block * LANES));
    let start = blocks.len() * LANES;
    let last = rest.iter().enumerate().fold(0, |mask, (lane, &other)| mask | (u32::from(other == wanted) << lane));
    whole.chain(bits(last, start))
}

fn bits(mut mask: u32, start: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        if mask == 0 {
            return None;
        }
        mask &= mask - 1;
        Some(start + lane)
    })
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
        fn positions_are_all_there_are(list in prop::collection::vec(0u16..5, 0..100), wanted in 0u16..5) {
            let expected: Vec<usize> = (0..list.len()).filter(|&index| list[index] == wanted).collect();
            prop_assert_eq!(positions(&list, wanted).collect::<Vec<_>>(), expected);
        }
    }
}
