//! Keys as the pages see them: a shared prefix, an 8-byte head that compares like the key, and the rest.

use std::cmp::Ordering;

/// The first eight bytes of `suffix` as a big-endian number, zero-padded: comparing heads compares keys,
/// except that equal heads decide nothing.
#[inline(always)]
pub fn head(suffix: &[u8]) -> u64 {
    if suffix.len() >= 8 {
        u64::from_be_bytes(suffix[..8].try_into().expect("eight bytes"))
    } else {
        let mut bytes = [0; 8];
        bytes[..suffix.len()].copy_from_slice(suffix);
        u64::from_be_bytes(bytes)
    }
}

pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Whether two keys are equal, without the call that comparing slices is: most keys are a few words long.
#[inline(always)]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let equal = |a: &[u8; 8], b: &[u8; 8]| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b);
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        // The last words overlap those before them.
        (Some(last_of_a), Some(last_of_b)) => {
            equal(last_of_a, last_of_b)
                && a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0).all(|(a, b)| equal(a, b))
        }
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}

/// The shortest key that is above `left` and not above `right`; `left < right`.
pub fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    &right[..common_prefix(left, right) + 1]
}

/// Where `key` stands to all keys that begin with `prefix`; `Equal` means that it begins with it too.
#[inline(always)]
pub fn compare_prefix(key: &[u8], prefix: &[u8]) -> Ordering {
    if prefix.is_empty() {
        return Ordering::Equal;
    }
    if key.len() >= prefix.len() {
        key[..prefix.len()].cmp(prefix)
    } else {
        match key.cmp(&prefix[..key.len()]) {
            Ordering::Equal => Ordering::Less,
            other => other,
        }
    }
}

/// Number of heads below `target`, which are sorted.
///
/// Counts in two steps, first among the last heads of blocks and then within a block: no load waits for another but
/// those of the second step for the first, and no branch depends on the keys. A binary search would wait at each step.
#[inline(always)]
pub fn lower_bound(heads: &[u64], target: u64) -> usize {
    if heads.len() <= 64 { count_in_blocks::<8>(heads, target) } else { count_in_blocks::<16>(heads, target) }
}

#[inline(always)]
fn count_in_blocks<const BLOCK: usize>(heads: &[u64], target: u64) -> usize {
    let (blocks, rest) = heads.as_chunks::<BLOCK>();
    let below = |head: &u64| usize::from(*head < target);
    let full: usize = blocks.iter().map(|block| below(&block[BLOCK - 1])).sum();
    let within: usize = match blocks.get(full) {
        Some(block) => block.iter().map(below).sum(),
        None => rest.iter().map(below).sum(),
    };
    full * BLOCK + within
}

/// Heads in a block that has its last head among the pivots.
pub const PIVOT_BLOCK: usize = 16;

/// `lower_bound` where the last heads of the blocks stand together in `pivots`, which spares a cache line a block.
#[inline(always)]
pub fn lower_bound_by(pivots: &[u64], heads: &[u64], target: u64) -> usize {
    let below = |head: &u64| usize::from(*head < target);
    let start = pivots.iter().map(below).sum::<usize>() * PIVOT_BLOCK;
    let block = &heads[start..(start + PIVOT_BLOCK).min(heads.len())];
    start + block.iter().map(below).sum::<usize>()
}

/// Position of the first entry not below (head, key), by heads first and by `compare` (entry against key) where
/// they are equal; and whether that entry equals the key.
#[inline(always)]
pub fn search(heads: &[u64], target: u64, compare: impl Fn(usize) -> Ordering) -> (usize, bool) {
    search_from(lower_bound(heads, target), heads, target, compare)
}

/// `search` with the `lower_bound` known.
#[inline(always)]
pub fn search_from(mut low: usize, heads: &[u64], target: u64, compare: impl Fn(usize) -> Ordering) -> (usize, bool) {
    if low == heads.len() || heads[low] != target {
        return (low, false);
    }
    let mut high = low + 1;
    if high == heads.len() || heads[high] != target {
        return match compare(low) {
            Ordering::Less => (high, false),
            Ordering::Equal => (low, true),
            Ordering::Greater => (low, false),
        };
    }
    high += heads[high..].partition_point(|&other| other == target);
    while low < high {
        let middle = low + (high - low) / 2;
        if compare(middle) == Ordering::Less {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let found = low < heads.len() && heads[low] == target && compare(low) == Ordering::Equal;
    (low, found)
}

#[inline(always)]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn heads_order_like_keys(a: Vec<u8>, b: Vec<u8>) {
            match head(&a).cmp(&head(&b)) {
                Ordering::Equal => {}
                decided => prop_assert_eq!(decided, a.cmp(&b)),
            }
        }

        #[test]
        fn search_agrees_with_a_plain_one(mut keys in prop::collection::vec(prop::collection::vec(0u8..3, 0..12), 0..60),
                                          key in prop::collection::vec(0u8..3, 0..12)) {
            keys.sort();
            let heads: Vec<u64> = keys.iter().map(|k| head(k)).collect();
            let expected = keys.partition_point(|k| k < &key);
            let (position, found) = search(&heads, head(&key), |i| keys[i].cmp(&key));
            let pivots: Vec<u64> = heads.as_chunks::<PIVOT_BLOCK>().0.iter().map(|block| block[PIVOT_BLOCK - 1]).collect();
            prop_assert_eq!(lower_bound_by(&pivots, &heads, head(&key)), lower_bound(&heads, head(&key)));
            prop_assert_eq!(position, expected);
            prop_assert_eq!(found, keys.get(expected) == Some(&key));
        }

        #[test]
        fn same_is_equality(a in prop::collection::vec(0u8..2, 0..30), b in prop::collection::vec(0u8..2, 0..30), at: prop::sample::Index) {
            prop_assert_eq!(same(&a, &b), a == b);
            prop_assert!(same(&a, &a.clone()));
            let mut other = a.clone();
            if !other.is_empty() {
                other[at.index(a.len())] ^= 1;
                prop_assert!(!same(&a, &other));
            }
        }

        #[test]
        fn separators_separate(mut a: Vec<u8>, mut b: Vec<u8>) {
            prop_assume!(a != b);
            if a > b { std::mem::swap(&mut a, &mut b); }
            let between = separator(&a, &b);
            prop_assert!(a.as_slice() < between && between <= b.as_slice());
        }
    }
}
