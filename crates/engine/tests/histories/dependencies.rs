//! From a history to what must have come before what, as Elle infers it: an element's place in its list tells after
//! which others it was appended, and a list that was read tells whose append was seen and whose was not.

use std::collections::BTreeSet;
use std::ops::Range;

use super::anomalies::{Anomaly, Name};
use super::history::{Element, History, Operation};

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both appended, the other directly behind it.
    WriteWrite,
    /// The other read its append as the last one.
    WriteRead,
    /// It read the list as it was before the other's append: an anti-dependency.
    ReadWrite,
    /// The other came later in the same session.
    Session,
    /// The other began after it had ended.
    RealTime,
}

#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: u32,
    pub to: u32,
    pub kind: Kind,
}

const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Append {
    key: u32,
    by: u32,
    /// The transaction's last to this key.
    last: bool,
}

/// What a transaction knows of a key so far.
struct Known {
    key: u32,
    /// What it found; `None` while it has only appended.
    base: Option<Range<usize>>,
    own: Vec<Element>,
}

/// A list that a transaction found, and did not make itself.
struct Observed {
    by: u32,
    key: u32,
    list: Range<usize>,
    /// Whether it appended to the list, and committed.
    extended: bool,
}

pub struct Dependencies<'h> {
    history: &'h History,
    pub edges: Vec<Edge>,
    /// What is wrong without regard to any cycle.
    pub anomalies: BTreeSet<Anomaly>,
    /// By element.
    appends: Vec<Append>,
    observed: Vec<Observed>,
    /// By key: its elements in the order they were appended in.
    orders: Vec<Vec<Element>>,
}

impl<'h> Dependencies<'h> {
    pub fn of(history: &'h History) -> Dependencies<'h> {
        let (mut elements, mut keys) = (0, 0);
        for operation in &history.operations {
            match operation {
                Operation::Append { key, element } => {
                    elements = elements.max(*element as usize + 1);
                    keys = keys.max(*key as usize + 1);
                }
                Operation::Read { key, list } => {
                    let largest = history.list(list).iter().max();
                    elements = elements.max(largest.map_or(0, |largest| *largest as usize + 1));
                    keys = keys.max(*key as usize + 1);
                }
            }
        }
        let mut found = Dependencies {
            history,
            edges: Vec::with_capacity(4 * history.operations.len()),
            anomalies: BTreeSet::new(),
            appends: vec![Append { key: NOBODY, by: NOBODY, last: false }; elements],
            observed: Vec::with_capacity(history.operations.len()),
            orders: vec![Vec::new(); keys],
        };
        found.note_appends();
        found.walk();
        found.judge_lists();
        found.note_lost_updates();
        found.connect_versions();
        found.connect_moments();
        found
    }

    fn tell(&mut self, name: Name, transactions: impl Into<Vec<u32>>) {
        self.anomalies.insert(Anomaly { name, transactions: transactions.into() });
    }

    fn note_appends(&mut self) {
        for by in 0..self.history.transactions.len() as u32 {
            for operation in self.history.operations_of(by) {
                let &Operation::Append { key, element } = operation else { continue };
                let earlier = std::mem::replace(&mut self.appends[element as usize], Append { key, by, last: true });
                assert!(earlier.by == NOBODY, "element {element} was appended twice: the history is not of use");
            }
        }
    }

    /// Goes through all transactions: is each true to itself, and what did it find?
    fn walk(&mut self) {
        let history = self.history;
        let mut known: Vec<Known> = Vec::new();
        let mut whole = Vec::new();
        for (by, transaction) in history.transactions.iter().enumerate() {
            let by = by as u32;
            known.clear();
            for operation in history.operations_of(by) {
                let (Operation::Append { key, .. } | Operation::Read { key, .. }) = operation;
                let index = known.iter().position(|known| known.key == *key).unwrap_or_else(|| {
                    known.push(Known { key: *key, base: None, own: Vec::new() });
                    known.len() - 1
                });
                let known = &mut known[index];
                match operation {
                    Operation::Append { element, .. } => {
                        if let Some(earlier) = known.own.last() {
                            self.appends[*earlier as usize].last = false;
                        }
                        known.own.push(*element);
                    }
                    Operation::Read { list, .. } => match &known.base {
                        Some(base) => {
                            let expected = history.list(base).iter().chain(&known.own);
                            if !expected.eq(history.list(list)) {
                                self.tell(Name::Internal, [by]);
                            }
                        }
                        None if history.list(list).ends_with(&known.own) => {
                            known.base = Some(list.start..list.end - known.own.len());
                        }
                        None => self.tell(Name::Internal, [by]),
                    },
                }
            }
            for Known { key, base, own } in &known {
                let Some(base) = base else { continue };
                let extended = transaction.committed && !own.is_empty();
                self.observed.push(Observed { by, key: *key, list: base.clone(), extended });
                let order = &mut self.orders[*key as usize];
                if extended && base.len() + own.len() > order.len() {
                    whole.clear();
                    whole.extend_from_slice(history.list(base));
                    whole.extend_from_slice(own);
                    order.clone_from(&whole);
                } else if base.len() > order.len() {
                    *order = history.list(base).to_vec();
                }
            }
        }
    }

    /// Every list that was found has to be a beginning of its key's longest one, and made of what was committed.
    fn judge_lists(&mut self) {
        let history = self.history;
        let committed = |by: u32| by != NOBODY && history.transactions[by as usize].committed;
        let mut wrong = Vec::new();
        for Observed { by, key, list, .. } in &self.observed {
            let (list, order) = (history.list(list), &self.orders[*key as usize]);
            if !order.starts_with(list) {
                wrong.push((Name::IncompatibleOrder, vec![*by]));
            }
            for element in list {
                let append = self.appends[*element as usize];
                if append.key != *key {
                    wrong.push((Name::Unwritten, vec![*by]));
                } else if !committed(append.by) {
                    wrong.push((Name::AbortedRead, vec![append.by, *by]));
                }
            }
            if (1..list.len()).any(|at| list[..at].contains(&list[at])) {
                wrong.push((Name::Duplicate, vec![*by]));
            }
            if let Some(last) = list.last() {
                let append = self.appends[*last as usize];
                if append.by != NOBODY && append.by != *by && !append.last {
                    wrong.push((Name::IntermediateRead, vec![append.by, *by]));
                }
            }
        }
        wrong.into_iter().for_each(|(name, transactions)| self.tell(name, transactions));
    }

    /// Two that found the same list and both appended to it: the second did not see the first.
    fn note_lost_updates(&mut self) {
        let mut after_element = vec![NOBODY; self.appends.len()];
        let mut after_nothing = vec![NOBODY; self.orders.len()];
        let mut lost = Vec::new();
        for Observed { by, key, list, .. } in self.observed.iter().filter(|observed| observed.extended) {
            let successor = match self.history.list(list).last() {
                Some(last) => &mut after_element[*last as usize],
                None => &mut after_nothing[*key as usize],
            };
            match *successor {
                NOBODY => *successor = *by,
                other => lost.push([other, *by]),
            }
        }
        lost.into_iter().for_each(|both| self.tell(Name::LostUpdate, both));
    }

    fn connect(&mut self, from: u32, to: u32, kind: Kind) {
        if from != to && from != NOBODY && to != NOBODY {
            self.edges.push(Edge { from, to, kind });
        }
    }

    fn connect_versions(&mut self) {
        let orders = std::mem::take(&mut self.orders);
        let observed = std::mem::take(&mut self.observed);
        let by = |found: &Self, element: Element| found.appends[element as usize].by;
        for order in &orders {
            for pair in order.windows(2) {
                let (first, second) = (by(self, pair[0]), by(self, pair[1]));
                self.connect(first, second, Kind::WriteWrite);
            }
        }
        for found in &observed {
            let (list, order) = (self.history.list(&found.list), &orders[found.key as usize]);
            if let Some(last) = list.last() {
                self.connect(by(self, *last), found.by, Kind::WriteRead);
            }
            // If what follows is its own append, it missed nothing.
            if let Some(next) = order.get(list.len()).filter(|_| order.starts_with(list)) {
                self.connect(found.by, by(self, *next), Kind::ReadWrite);
            }
        }
        (self.orders, self.observed) = (orders, observed);
    }

    /// Session and real time. The last of each session that had ended is enough: those before it come before it.
    fn connect_moments(&mut self) {
        let history = self.history;
        let sessions = history.transactions.iter().map(|transaction| transaction.session as usize + 1).max();
        let mut by_session: Vec<Vec<u32>> = vec![Vec::new(); sessions.unwrap_or(0)];
        for (number, transaction) in history.transactions.iter().enumerate() {
            by_session[transaction.session as usize].push(number as u32);
        }
        for of_session in &by_session {
            of_session.windows(2).for_each(|pair| self.connect(pair[0], pair[1], Kind::Session));
        }
        for later in &by_session {
            for earlier in by_session.iter().filter(|earlier| !std::ptr::eq(*earlier, later)) {
                let (mut ended, mut before) = (0, None);
                for &number in later {
                    let began = history.transactions[number as usize].began;
                    while earlier.get(ended).is_some_and(|&other| history.transactions[other as usize].ended < began) {
                        ended += 1;
                    }
                    let last = ended.checked_sub(1);
                    if let Some(last) = last.filter(|_| last != before) {
                        self.connect(earlier[last], number, Kind::RealTime);
                    }
                    before = last;
                }
            }
        }
    }
}
