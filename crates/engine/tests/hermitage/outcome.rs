//! What came of one run of a scenario.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    X,
    Y,
    Z,
    W,
}

pub const ROWS: [Row; 4] = [Row::X, Row::Y, Row::Z, Row::W];

#[derive(Clone, Debug)]
pub enum Seen {
    Value(Row, Option<u64>),
    Rows(Vec<(Row, u64)>),
}

#[derive(Clone, Debug, Default)]
pub struct Done {
    pub committed: bool,
    pub seen: Vec<Seen>,
    /// In order. What a transaction puts counts from its commit on, and its last for each row.
    pub put: Vec<(Row, u64)>,
}

#[derive(Debug)]
pub struct Outcome {
    pub transactions: Vec<Done>,
    /// All that was put, in the order it came to be seen.
    pub installed: Vec<(Row, u64)>,
    pub last: Vec<(Row, u64)>,
}

impl Outcome {
    pub fn all_committed(&self) -> bool {
        self.transactions.iter().all(|transaction| transaction.committed)
    }

    pub fn last(&self, row: Row) -> Option<u64> {
        self.last.iter().find(|(at, _)| *at == row).map(|(_, value)| *value)
    }

    /// What a transaction got, without its scans.
    pub fn values(&self, transaction: usize) -> Vec<(Row, Option<u64>)> {
        let seen = self.transactions[transaction].seen.iter();
        seen.filter_map(|seen| if let Seen::Value(row, value) = seen { Some((*row, *value)) } else { None }).collect()
    }

    pub fn reads(&self, transaction: usize, row: Row) -> Vec<Option<u64>> {
        self.values(transaction).into_iter().filter(|(at, _)| *at == row).map(|(_, value)| value).collect()
    }

    pub fn scans(&self, transaction: usize) -> Vec<&[(Row, u64)]> {
        let seen = self.transactions[transaction].seen.iter();
        seen.filter_map(|seen| if let Seen::Rows(rows) = seen { Some(rows.as_slice()) } else { None }).collect()
    }

    /// Whether the first read saw a transaction, and the second, of another row, what was there before that transaction.
    pub fn vanished(&self, first: (Row, Option<u64>), second: (Row, Option<u64>)) -> bool {
        let wrote = |done: &&Done| first.1.is_some_and(|value| done.put.contains(&(first.0, value)));
        let Some(observed) = self.transactions.iter().find(wrote) else { return false };
        let Some(own) = observed.put.iter().find(|(row, _)| *row == second.0) else { return false };
        let place = |put: (Row, u64)| self.installed.iter().position(|installed| *installed == put);
        let found = second.1.and_then(|value| place((second.0, value)));
        first.0 != second.0 && (!observed.committed || found < place(*own))
    }
}
