//! Histories made by hand, each with one anomaly or none: the checker finds it and gives it its name.

use super::anomalies::{Anomaly, Class, Level, Name, Order, anomalies};
use super::history::History;

/// A transaction as in `"2: r1[5,6] a1.7 abort"`: in session 2, reads key 1 as the list 5, 6, appends 7 to key 1, is rolled
/// back. `"2@3-9: ..."` gives the moments too.
fn history(transactions: &[&str]) -> History {
    let mut history = History::default();
    for text in transactions {
        let (head, operations) = text.split_once(": ").expect("a session");
        let (session, moments) = head.split_once('@').unwrap_or((head, "0-0"));
        let (began, ended) = moments.split_once('-').expect("two moments");
        let mut committed = true;
        for operation in operations.split(' ') {
            if let Some(read) = operation.strip_prefix('r') {
                let (key, list) = read.split_once('[').expect("a list");
                let elements = list.trim_end_matches(']').split(',').filter(|element| !element.is_empty());
                history.read(number(key), elements.map(number));
            } else if let Some(append) = operation.strip_prefix('a').filter(|_| operation != "abort") {
                let (key, element) = append.split_once('.').expect("an element");
                history.append(number(key), number(element));
            } else {
                committed = operation != "abort";
            }
        }
        history.end(number(session), number(began).into(), number(ended).into(), committed);
    }
    history
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number"))
}

#[track_caller]
fn assert_found(transactions: &[&str], expected: &[&str]) {
    let found = anomalies(&history(transactions));
    let mut names: Vec<String> = found.iter().map(|anomaly| anomaly.name.to_string()).collect();
    names.dedup();
    assert_eq!(names, expected, "{transactions:?}: {found:?}");
}

#[test]
fn nothing_is_found_in_clean_histories() {
    assert_found(&[], &[]);
    assert_found(&["0: r1[] a1.1", "1: r1[1] a1.2", "0: r1[1,2]"], &[]);
    // Blind appends; own appends read; two appends of one transaction; a transaction that was rolled back.
    assert_found(&["0: a1.1 a1.2 r1[1,2]", "1: a1.3 r1[1,2,3]", "2: r1[1,2] a1.4 r1[1,2,4] abort"], &[]);
    // An old snapshot beside a writer, and two that miss each other's appends in one direction only.
    assert_found(&["0@1-9: r1[] r2[]", "1@2-3: a1.1 a2.2", "1@4-5: r1[1] r2[2]"], &[]);
    assert_found(&["0@1-4: r1[] a2.1", "1@2-3: a1.2", "2@5-6: r1[2] r2[1]"], &[]);
}

#[test]
fn aborted_and_intermediate_reads() {
    assert_found(&["0: a1.1 abort", "1: r1[1]"], &["AbortedRead"]);
    assert_found(&["0: a1.1 abort", "1: r1[1] a1.2", "2: r1[1,2]"], &["AbortedRead"]);
    assert_found(&["0: a1.1 a1.2", "1: r1[1]", "1: r1[1,2]"], &["IntermediateRead", "G-single"]);
    assert_found(&["0: r1[7]"], &["Unwritten"]);
    assert_found(&["0: a1.1", "0: a2.2", "1: r2[1]"], &["Unwritten"]);
}

#[test]
fn transactions_untrue_to_themselves() {
    assert_found(&["0: a1.1", "1: r1[] r1[1]"], &["Internal"]);
    assert_found(&["0: a1.1 r1[]"], &["Internal"]);
    assert_found(&["0: r1[] a1.1 r1[]"], &["Internal"]);
}

#[test]
fn lists_that_cannot_be() {
    assert_found(&["0: a1.1", "1: a1.2", "2: r1[1]", "3: r1[2]"], &["IncompatibleOrder"]);
    assert_found(&["0: a1.1", "2: r1[1,1]"], &["Duplicate"]);
}

#[test]
fn lost_updates() {
    assert_found(&["0: r1[] a1.1", "1: r1[] a1.2"], &["LostUpdate"]);
    // As far as the longest list tells, the second append was made; who made the first missed nothing.
    assert_found(&["0: r1[] a1.1", "1: r1[] a1.2", "2: r1[1,2]"], &["LostUpdate", "G-single"]);
    assert_found(&["0: r1[] a1.1", "1: r1[] a1.2 abort"], &[]);
}

#[test]
fn dirty_writes() {
    assert_found(&["0: a1.1 a2.2", "1: a1.3 a2.4", "2: r1[1,3]", "2: r2[4,2]"], &["G0"]);
}

#[test]
fn circular_information_flow() {
    assert_found(&["0: a1.1 r2[2]", "1: a2.2 r1[1]"], &["G1c"]);
    assert_found(&["0: a1.1 r3[3]", "1: a2.2 r1[1]", "2: a3.3 r2[2]"], &["G1c"]);
}

#[test]
fn read_skew() {
    assert_found(&["0: a1.1 a2.2", "1: r1[1] r2[]", "2: r2[2]"], &["G-single"]);
    // That of a transaction which was rolled back counts too.
    assert_found(&["0: a1.1 a2.2", "1: r1[1] r2[] abort", "2: r2[2]"], &["G-single"]);
}

/// Two readers that see two independent appends in different orders.
#[test]
fn long_forks() {
    assert_found(&["0: a1.1", "1: a2.2", "2: r1[1] r2[]", "3: r1[] r2[2]", "4: r1[1] r2[2]"], &["G-nonadjacent"]);
}

#[test]
fn write_skew() {
    assert_found(&["0: r1[] r2[] a1.1", "1: r1[] r2[] a2.2", "2: r1[1] r2[2]"], &["G2-item"]);
    // Both would be well but for who read in between.
    assert_found(&["0: r1[] a2.2", "1: a1.1", "2: r1[1] r2[]", "3: r1[1] r2[2]"], &["G2-item"]);
    // Among three.
    assert_found(&["0: r1[] a2.1", "1: r2[] a3.2", "2: r3[] a1.3", "3: r1[3] r2[1] r3[2]"], &["G2-item"]);
}

#[test]
fn sessions_that_go_back() {
    assert_found(&["0: r1[1]", "0: r1[]", "1: a1.1"], &["G-single-session"]);
    assert_found(&["0: r1[1]", "0: r2[] a1.1"], &["G1c-session"]);
    assert_found(&["0: a1.1", "0: a1.2", "1: r1[2,1]"], &["G0-session"]);
    // Each later transaction of two sessions misses what the other session did first.
    assert_found(&["0: a1.1", "0: r2[]", "1: a2.2", "1: r1[]", "2: r1[1] r2[2]"], &["G-nonadjacent-session"]);
}

#[test]
fn what_goes_back_in_real_time() {
    assert_found(&["0@1-2: a1.1", "1@3-4: r1[]", "2@5-6: r1[1]"], &["G-single-realtime"]);
    // Beside each other, either may be first.
    assert_found(&["0@1-3: a1.1", "1@2-4: r1[]", "2@5-6: r1[1]"], &[]);
    assert_found(&["0@1-2: r1[1]", "1@3-4: a1.1"], &["G1c-realtime"]);
    assert_found(&["0@3-4: a1.1", "1@1-2: a1.2", "2@5-6: r1[1,2]"], &["G0-realtime"]);
    // Serializable but for the clock: the second had ended when the third began, which comes before the first.
    let late = ["0@1-6: r1[] a2.2", "1@2-3: a1.1", "2@4-5: r2[]", "3@7-8: r1[1] r2[2]"];
    assert_found(&late, &["G2-item-realtime"]);
}

#[test]
fn found_in_the_middle_of_much_else() {
    let mut clean = Vec::new();
    for key in 100..140 {
        let elements: Vec<String> = (0..16).map(|turn| (key * 16 + turn).to_string()).collect();
        let turn =
            |turn: usize| format!("{}: r{key}[{}] a{key}.{}", turn % 4, elements[..turn].join(","), elements[turn]);
        clean.extend((0..16).map(turn));
    }
    let clean: Vec<&str> = clean.iter().map(String::as_str).collect();
    assert_found(&clean, &[]);
    for (skew, name) in [
        (["5: a1.1 a2.2", "6: r1[1] r2[]", "7: r2[2]"], "G-single"),
        (["5: r1[] r2[] a1.1", "6: r1[] r2[] a2.2", "7: r1[1] r2[2]"], "G2-item"),
    ] {
        let mut all = clean.clone();
        skew.iter().enumerate().for_each(|(at, text)| all.insert(200 * (at + 1), text));
        assert_found(&all, &[name]);
    }
}

#[test]
fn levels_forbid_all_but_write_skew() {
    for class in [Class::G0, Class::G1c, Class::GSingle, Class::GNonadjacent, Class::G2Item] {
        for order in [Order::Data, Order::Session, Order::RealTime] {
            let name = Name::Cycle(class, order);
            assert!(Level::Serializable.forbids(name));
            assert_eq!(Level::Snapshot.forbids(name), class != Class::G2Item);
        }
    }
    for name in [Name::Internal, Name::Unwritten, Name::AbortedRead, Name::IntermediateRead, Name::LostUpdate] {
        assert!(Level::Snapshot.forbids(name) && Level::Serializable.forbids(name));
    }
}

#[test]
fn a_cycle_is_told_with_its_transactions() {
    let history = history(&["0@1-4: r1[] r2[] a1.1", "0@5-6: r9[]", "1@2-3: r1[] r2[] a2.2", "2@7-8: r1[1] r2[2]"]);
    let found = anomalies(&history);
    let Anomaly { transactions, .. } = found.first().expect("write skew");
    let mut transactions = transactions.clone();
    transactions.sort_unstable();
    assert_eq!(transactions, [0, 2]);
    assert_eq!(
        history.describe(2).expect("text"),
        "T2 (session 1, 2 to 3): read 1 []; read 2 []; append 2 2; committed"
    );
}
