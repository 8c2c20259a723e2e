//! What happened: who read which lists and appended what to them, in which order as far as that can be told from outside.

use std::fmt::{self, Write};
use std::ops::Range;

/// Unique in its history, so that a list tells who made it.
pub type Element = u32;

pub enum Operation {
    Append { key: u32, element: Element },
    Read { key: u32, list: Range<usize> },
}

pub struct Transaction {
    /// Transactions of a session come one after the other, in the order of the history.
    pub session: u32,
    /// Moments of one clock for all sessions, before it began and after it had ended. Both are 0 where no clock was asked.
    pub began: u64,
    pub ended: u64,
    pub committed: bool,
    pub operations: Range<usize>,
}

#[derive(Default)]
pub struct History {
    pub transactions: Vec<Transaction>,
    pub operations: Vec<Operation>,
    /// All lists that were read, one behind the other.
    lists: Vec<Element>,
}

impl History {
    pub fn list(&self, range: &Range<usize>) -> &[Element] {
        &self.lists[range.clone()]
    }

    pub fn operations_of(&self, transaction: u32) -> &[Operation] {
        &self.operations[self.transactions[transaction as usize].operations.clone()]
    }

    pub fn append(&mut self, key: u32, element: Element) {
        self.operations.push(Operation::Append { key, element });
    }

    pub fn read(&mut self, key: u32, list: impl IntoIterator<Item = Element>) {
        let first = self.lists.len();
        self.lists.extend(list);
        self.operations.push(Operation::Read { key, list: first..self.lists.len() });
    }

    /// Ends the transaction that the operations since the last end belong to.
    pub fn end(&mut self, session: u32, began: u64, ended: u64, committed: bool) {
        let first = self.transactions.last().map_or(0, |last| last.operations.end);
        let operations = first..self.operations.len();
        self.transactions.push(Transaction { session, began, ended, committed, operations });
    }

    /// Forgets operations from the `length`th on: they were rolled back, and what they appended must never be read.
    pub fn take_back(&mut self, length: usize) {
        self.operations.truncate(length);
    }

    /// Adds the history of another session.
    pub fn join(&mut self, other: History) {
        let (operations, lists) = (self.operations.len(), self.lists.len());
        let shift = |range: Range<usize>, by: usize| range.start + by..range.end + by;
        self.transactions.extend(
            other.transactions.into_iter().map(|transaction| Transaction {
                operations: shift(transaction.operations, operations),
                ..transaction
            }),
        );
        self.operations.extend(other.operations.into_iter().map(|operation| match operation {
            Operation::Read { key, list } => Operation::Read { key, list: shift(list, lists) },
            append => append,
        }));
        self.lists.extend(other.lists);
    }

    pub fn committed(&self) -> usize {
        self.transactions.iter().filter(|transaction| transaction.committed).count()
    }

    /// A transaction for people: `T7 (session 2, 31 to 40): read 3 [1, 2]; append 3 9; committed`.
    pub fn describe(&self, transaction: u32) -> Result<String, fmt::Error> {
        let Transaction { session, began, ended, committed, .. } = self.transactions[transaction as usize];
        let mut text = format!("T{transaction} (session {session}, {began} to {ended}):");
        for operation in self.operations_of(transaction) {
            match operation {
                Operation::Append { key, element } => write!(text, " append {key} {element};")?,
                Operation::Read { key, list } => write!(text, " read {key} {:?};", self.list(list))?,
            }
        }
        text.push_str(if committed { " committed" } else { " aborted" });
        Ok(text)
    }
}
