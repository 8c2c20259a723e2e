//! The orders in which the steps of several transactions can come.

use std::collections::BTreeSet;

use super::common::Random;

/// Numbers of transactions, in the order of their steps.
pub type Order = Vec<usize>;

/// All orders, or `limit` different ones by chance if there are more; among them those of one after the other.
pub fn orders(steps: &[usize], limit: usize) -> Vec<Order> {
    if count(steps) <= limit as u128 {
        let mut all = Vec::new();
        extend(&mut Vec::new(), &mut steps.to_vec(), &mut all);
        return all;
    }
    let mut random = Random(steps.len() as u64);
    let in_turn: Order = steps.iter().enumerate().flat_map(|(who, steps)| vec![who; *steps]).collect();
    let reverse = in_turn.iter().map(|who| steps.len() - 1 - who).collect::<Order>();
    let mut some = BTreeSet::from([in_turn.clone()]);
    // Only where all have as many steps the reverse is an order too.
    some.extend((steps.iter().all(|each| *each == steps[0])).then_some(reverse));
    while some.len() < limit {
        let mut order = in_turn.clone();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        some.insert(order);
    }
    some.into_iter().collect()
}

fn count(steps: &[usize]) -> u128 {
    let factorial = |number: usize| (1..=number as u128).product::<u128>();
    factorial(steps.iter().sum()) / steps.iter().map(|steps| factorial(*steps)).product::<u128>()
}

fn extend(order: &mut Order, left: &mut Vec<usize>, all: &mut Vec<Order>) {
    if left.iter().all(|left| *left == 0) {
        all.push(order.clone());
    }
    for who in 0..left.len() {
        if left[who] > 0 {
            left[who] -= 1;
            order.push(who);
            extend(order, left, all);
            order.pop();
            left[who] += 1;
        }
    }
}

/// Whether each transaction ends before the next begins.
pub fn is_serial(order: &[usize]) -> bool {
    let mut turns = order.to_vec();
    turns.dedup();
    turns.len() == turns.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn orders_are_all_there_are_or_as_many_as_wanted() {
    assert_eq!(orders(&[1, 2], 10), [[0, 1, 1], [1, 0, 1], [1, 1, 0]]);
    assert_eq!(orders(&[4, 4], 70).len(), 70);
    let some = orders(&[4, 4, 6], 500);
    assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), 500);
    assert!(some.iter().all(|order| {
        [4, 4, 6].iter().enumerate().all(|(who, steps)| order.iter().filter(|at| **at == who).count() == *steps)
    }));
    assert!(some.iter().any(|order| is_serial(order)) && !some.iter().all(|order| is_serial(order)));
}
