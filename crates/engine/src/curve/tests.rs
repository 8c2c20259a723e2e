use proptest::prelude::*;

use super::MissRatioCurve;
use crate::replacement::hash;

/// Misses of a least-recently-used cache, by the book.
fn misses(accesses: &[(u64, u32)], capacity: u64) -> usize {
    let mut recent: Vec<(u64, u32)> = Vec::new();
    let mut misses = 0;
    for (identity, bytes) in accesses {
        let mut distance = u64::from(*bytes);
        let found = recent.iter().rposition(|(other, bytes)| {
            let found = other == identity;
            distance += if found { 0 } else { u64::from(*bytes) };
            found
        });
        if let Some(at) = found {
            recent.remove(at);
        }
        if found.is_none() || distance > capacity {
            misses += 1;
        }
        recent.push((*identity, *bytes));
    }
    misses
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_curve_of_all_accesses_is_exact(accesses in prop::collection::vec((0..40_u64, 1..50_u32), 1..200)) {
        let mut curve = MissRatioCurve::new(1000, 1.0);
        for (identity, bytes) in &accesses {
            curve.access(*identity, *bytes);
        }
        let points = curve.points();
        prop_assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 >= b.1));
        for (bytes, ratio) in points {
            let exact = misses(&accesses, bytes) as f64 / accesses.len() as f64;
            prop_assert!((ratio - exact).abs() < 1e-9, "{bytes} bytes: {ratio}, not {exact}");
            prop_assert!((curve.miss_ratio(bytes) - ratio).abs() < 1e-9);
        }
    }
}

/// Two thirds of the accesses go to a tenth of the identities.
fn skewed(accesses: u64) -> impl Iterator<Item = u64> {
    let mut state = 7_u64;
    (0..accesses).map(move |_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let random = state >> 33;
        if random.is_multiple_of(3) { random / 3 % 100_000 } else { random / 3 % 10_000 }
    })
}

#[test]
fn few_samples_tell_nearly_the_same() {
    let (mut all, mut few) = (MissRatioCurve::new(usize::MAX, 1.0), MissRatioCurve::new(4000, 1.0));
    for identity in skewed(1_000_000) {
        all.access(identity, 1);
        few.access(identity, 1);
    }
    assert_eq!(few.samples(), 4000);
    assert!(few.rate() < 0.05);
    let errors: Vec<f64> =
        (1..100).map(|part| part * 1000).map(|bytes| all.miss_ratio(bytes) - few.miss_ratio(bytes)).collect();
    let mean = errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64;
    assert!(mean < 0.02, "{mean}: {errors:?}");
}

#[test]
fn what_is_not_followed_may_pass_in_one() {
    let (mut each, mut passed) = (MissRatioCurve::new(1000, 0.1), MissRatioCurve::new(1000, 0.1));
    let mut others = 0;
    for identity in skewed(100_000) {
        each.access(identity, 3);
        if hash(identity) < passed.threshold() {
            passed.access(identity, 3);
        } else {
            others += 1;
        }
    }
    passed.pass(others);
    assert_eq!(each.points(), passed.points());
}

#[test]
fn a_curve_that_decays_follows_the_work() {
    let mut curve = MissRatioCurve::new(10_000, 1.0);
    let rounds = |curve: &mut MissRatioCurve, identities: u64| {
        for _ in 0..100 {
            (0..identities).for_each(|identity| curve.access(identity, 1));
            curve.decay(0.8);
        }
    };
    rounds(&mut curve, 1000);
    assert!(curve.miss_ratio(500) > 0.99 && curve.miss_ratio(1100) < 0.01);
    rounds(&mut curve, 100);
    assert!(curve.miss_ratio(500) < 0.01 && curve.miss_ratio(50) > 0.99);
}

#[test]
fn a_curve_of_nothing_misses_everything() {
    let curve = MissRatioCurve::new(10, 1.0);
    assert_eq!(curve.points(), vec![(0, 1.0)]);
    assert!((curve.miss_ratio(1 << 40) - 1.0).abs() < 1e-9);
}
