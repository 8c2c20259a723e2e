//! Where rows come from: a snapshot, or what a transaction sees.

use crate::error::OrRaise;
use crate::{progress, transaction};
use lyredb_engine as engine;
use pyo3::prelude::*;
use std::sync::Arc;

#[derive(Clone)]
pub enum Source {
    Snapshot(engine::Snapshot),
    Transaction(Arc<transaction::Shared>),
}

impl Source {
    /// Reads without the GIL.
    pub fn get<R: Send>(
        &self,
        py: Python<'_>,
        family: &engine::Family,
        key: &[u8],
        read: fn(&[u8]) -> R,
    ) -> PyResult<Option<R>> {
        match self {
            Source::Snapshot(snapshot) => py.detach(|| snapshot.get(family, key, read)),
            Source::Transaction(shared) => shared.detached(py, |transaction| transaction.get(family, key, read)),
        }
        .or_raise()
    }

    pub fn count(&self, py: Python<'_>, family: &engine::Family, range: &engine::Range) -> PyResult<u64> {
        match self {
            Source::Snapshot(snapshot) => progress::run(py, None, |progress| snapshot.count(family, range, progress)),
            Source::Transaction(shared) => {
                shared.detached(py, |transaction| transaction.count(family, range)).or_raise()
            }
        }
    }

    pub fn cursor(
        &self,
        py: Python<'_>,
        family: &engine::Family,
        range: engine::Range,
        reverse: bool,
    ) -> PyResult<engine::Cursor> {
        match self {
            Source::Snapshot(snapshot) => snapshot.cursor(family, range, reverse),
            Source::Transaction(shared) => shared.lock(py).cursor(family, range, reverse),
        }
        .or_raise()
    }
}
