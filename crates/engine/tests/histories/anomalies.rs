//! The names of what can go wrong, and which of them a level of isolation forbids. Names are those of Adya and of Elle.
//!
//! A cycle of dependencies is classed by the fewest anti-dependencies (a transaction did not see another's append) that
//! close it. Under snapshot isolation each dependency says that something was before something else: an ordinary one
//! that the first transaction's commit was before the second one's beginning, an anti-dependency that the first one's
//! beginning was before the second one's commit. So it allows exactly the cycles with two anti-dependencies in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::dependencies::{Dependencies, Edge, Kind};
use super::graph::Graph;
use super::history::History;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A transaction's reads do not fit each other, or its own writes.
    Internal,
    /// An element that nobody wrote to that key, or whose writer rolled back to a savepoint.
    Unwritten,
    /// G1a.
    AbortedRead,
    /// G1b.
    IntermediateRead,
    Duplicate,
    /// Two lists of a key of which neither is the beginning of the other.
    IncompatibleOrder,
    LostUpdate,
    Cycle(Class, Order),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Appends alone: dirty writes.
    G0,
    /// Appends and reads: circular information flow.
    G1c,
    /// One anti-dependency: read skew.
    GSingle,
    /// Several anti-dependencies, but no two in a row.
    GNonadjacent,
    /// Two anti-dependencies in a row: write skew. As an absent key is an empty list, those by phantoms are among them.
    G2Item,
}

/// What it takes to see the cycle: what was read and written, or also who came later in a session, or on the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Data,
    Session,
    RealTime,
}

const ORDERS: [Order; 3] = [Order::Data, Order::Session, Order::RealTime];

impl Order {
    fn of(kind: Kind) -> Order {
        match kind {
            Kind::Session => Order::Session,
            Kind::RealTime => Order::RealTime,
            Kind::WriteWrite | Kind::WriteRead | Kind::ReadWrite => Order::Data,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name::Cycle(class, order) = self else { return write!(f, "{self:?}") };
        let class = match class {
            Class::G0 => "G0",
            Class::G1c => "G1c",
            Class::GSingle => "G-single",
            Class::GNonadjacent => "G-nonadjacent",
            Class::G2Item => "G2-item",
        };
        let order = match order {
            Order::Data => "",
            Order::Session => "-session",
            Order::RealTime => "-realtime",
        };
        write!(f, "{class}{order}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anomaly {
    pub name: Name,
    /// Those on the cycle in its order, or all who had part in it.
    pub transactions: Vec<u32>,
}

/// Both with the order of sessions and of real time: what had ended was seen by all that began later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Strong snapshot isolation.
    Snapshot,
    /// Strict serializability.
    Serializable,
}

impl Level {
    pub fn forbids(self, name: Name) -> bool {
        self == Level::Serializable || !matches!(name, Name::Cycle(Class::G2Item, _))
    }
}

/// All kinds of anomalies in a history; of each kind of cycle one example. Transactions that were rolled back count too, as
/// ones that only read: they were shown one state as well.
pub fn anomalies(history: &History) -> BTreeSet<Anomaly> {
    let Dependencies { edges, mut anomalies, .. } = Dependencies::of(history);
    let cycles = Cycles::among(history.transactions.len(), &edges);
    anomalies.extend(cycles.into_iter().map(|(name, transactions)| Anomaly { name, transactions }));
    anomalies
}

/// As many examples are looked at to find each class.
const TRIES: usize = 200;

struct Cycles {
    nodes: usize,
    found: BTreeMap<Class, (Order, Vec<u32>)>,
}

impl Cycles {
    fn among(nodes: usize, edges: &[Edge]) -> Vec<(Name, Vec<u32>)> {
        let mut cycles = Cycles { nodes, found: BTreeMap::new() };
        if cycles.graph(edges).components().has_cycle() {
            let worse_than_write_skew = moments(nodes, edges).components().has_cycle();
            for order in ORDERS {
                let edges: Vec<Edge> = edges.iter().filter(|edge| Order::of(edge.kind) <= order).copied().collect();
                if worse_than_write_skew {
                    cycles.find(&edges, order, &[Kind::WriteWrite]);
                    cycles.find(&edges, order, &[Kind::WriteWrite, Kind::WriteRead]);
                    cycles.find_with_one_missed(&edges);
                    cycles.find_in_moments(&edges);
                }
                cycles.find(&edges, order, &[Kind::WriteWrite, Kind::WriteRead, Kind::ReadWrite]);
            }
        }
        cycles.found.into_iter().map(|(class, (order, nodes))| (Name::Cycle(class, order), nodes)).collect()
    }

    fn graph(&self, edges: &[Edge]) -> Graph {
        Graph::new(self.nodes, edges.iter().map(|edge| (edge.from, edge.to)))
    }

    /// Cycles of some kinds of edges and those of the order.
    fn find(&mut self, edges: &[Edge], order: Order, kinds: &[Kind]) {
        let allowed = |edge: &&Edge| kinds.contains(&edge.kind) || Order::of(edge.kind) != Order::Data;
        let edges: Vec<Edge> = edges.iter().filter(allowed).copied().collect();
        let graph = self.graph(&edges);
        let components = graph.components();
        // Without that kind it is a cycle of fewer kinds, or of an order before this one.
        let needed = |edge: &&Edge| match order {
            Order::Data => Some(&edge.kind) == kinds.last(),
            _ => Order::of(edge.kind) == order,
        };
        let on_cycles = edges.iter().filter(needed).filter(|edge| components.same(edge.from, edge.to));
        for edge in on_cycles.take(TRIES) {
            let path = graph.path(edge.to, edge.from);
            self.name(path.expect("they are in one component"), &edges);
            if self.found.contains_key(&Class::G2Item) {
                return;
            }
        }
    }

    /// Anti-dependencies that everything but other anti-dependencies leads back from.
    fn find_with_one_missed(&mut self, edges: &[Edge]) {
        let components = self.graph(edges).components();
        let others: Vec<Edge> = edges.iter().filter(|edge| edge.kind != Kind::ReadWrite).copied().collect();
        let others_graph = self.graph(&others);
        let missed = edges.iter().filter(|edge| edge.kind == Kind::ReadWrite);
        for edge in missed.filter(|edge| components.same(edge.from, edge.to)).take(TRIES) {
            if let Some(path) = others_graph.path(edge.to, edge.from) {
                return self.name(path, edges);
            }
        }
    }

    fn find_in_moments(&mut self, edges: &[Edge]) {
        let graph = moments(self.nodes, edges);
        let components = graph.components();
        let on_cycles = edges.iter().map(moment).filter(|(from, to)| components.same(*from, *to));
        for (from, to) in on_cycles.take(TRIES) {
            let path = graph.path(to, from).expect("they are in one component");
            let mut nodes: Vec<u32> = path.into_iter().map(|moment| moment / 2).collect();
            nodes.dedup();
            if nodes.first() == nodes.last() {
                nodes.pop();
            }
            self.name(nodes, edges);
        }
    }

    /// Classes a cycle by the weakest edges between its transactions; the first of each class stays.
    fn name(&mut self, nodes: Vec<u32>, edges: &[Edge]) {
        let kinds: Vec<Kind> = (0..nodes.len())
            .map(|at| {
                let (from, to) = (nodes[at], nodes[(at + 1) % nodes.len()]);
                let between = edges.iter().filter(|edge| (edge.from, edge.to) == (from, to));
                let weakest =
                    between.map(|edge| edge.kind).min_by_key(|&kind| (kind == Kind::ReadWrite, Order::of(kind)));
                weakest.expect("an edge of the cycle")
            })
            .collect();
        let missed = |kind: Kind| kind == Kind::ReadWrite;
        let in_a_row = (0..kinds.len()).any(|at| missed(kinds[at]) && missed(kinds[(at + 1) % kinds.len()]));
        let class = match kinds.iter().filter(|kind| missed(**kind)).count() {
            0 if !kinds.contains(&Kind::WriteRead) => Class::G0,
            0 => Class::G1c,
            1 => Class::GSingle,
            _ if in_a_row => Class::G2Item,
            _ => Class::GNonadjacent,
        };
        let order = kinds.iter().map(|&kind| Order::of(kind)).max().expect("a cycle has edges");
        self.found.entry(class).or_insert((order, nodes));
    }
}

/// An edge between moments: `2t` is the beginning of transaction t, `2t + 1` its commit.
fn moment(edge: &Edge) -> (u32, u32) {
    match edge.kind {
        Kind::ReadWrite => (2 * edge.from, 2 * edge.to + 1),
        _ => (2 * edge.from + 1, 2 * edge.to),
    }
}

/// Has a cycle if and only if snapshot isolation was violated.
fn moments(nodes: usize, edges: &[Edge]) -> Graph {
    let within = (0..nodes as u32).map(|node| (2 * node, 2 * node + 1));
    Graph::new(2 * nodes, within.chain(edges.iter().map(moment)))
}
