//! Changes that become visible together, or not at all.

use crate::arrow::Column;
use crate::error::{self, OrRaise};
use crate::family::Family;
use crate::fork::Owned;
use crate::lock::{Guard, Lock};
use crate::pairs;
use crate::source::Source;
use crate::view::{Codecs, View, WritableView, writable_view_methods};
use lyredb_engine as engine;
use lyredb_engine::{Resident, Savepoint};
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// The engine's transaction behind a lock; `Transaction` and its families share it.
pub struct Shared(Lock<engine::Transaction>);

impl Shared {
    #[inline(always)]
    pub fn lock(&self, py: Python<'_>) -> Guard<'_, engine::Transaction> {
        self.0.lock(py)
    }

    /// Runs what may wait or work long without the GIL.
    pub fn detached<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut engine::Transaction) -> T + Send) -> T {
        let mut guard = self.lock(py);
        py.detach(move || work(&mut guard))
    }
}

#[pyclass(frozen, module = "lyredb._engine")]
pub struct Transaction {
    shared: Owned<Arc<Shared>>,
}

impl Transaction {
    pub fn new(transaction: engine::Transaction) -> Self {
        Transaction { shared: Owned::new(Arc::new(Shared(Lock::new(transaction)))) }
    }
}

#[pymethods]
impl Transaction {
    #[getter]
    fn active(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.shared.get()?.lock(py).is_active())
    }

    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.get()?.detached(py, engine::Transaction::commit).or_raise()
    }

    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.get()?.detached(py, engine::Transaction::rollback).or_raise()
    }

    fn savepoint(&self, py: Python<'_>) -> PyResult<u64> {
        self.shared.get()?.lock(py).savepoint().or_raise().map(|savepoint| savepoint.0)
    }

    fn rollback_to(&self, py: Python<'_>, savepoint: u64) -> PyResult<()> {
        self.shared.get()?.lock(py).rollback_to(Savepoint(savepoint)).or_raise()
    }

    fn release(&self, py: Python<'_>, savepoint: u64) -> PyResult<()> {
        self.shared.get()?.lock(py).release(Savepoint(savepoint)).or_raise()
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::pickled("transaction", "send the database's path and begin one there"))
    }
}

struct Handle {
    shared: Arc<Shared>,
    family: engine::Family,
}

/// A family as a transaction sees it.
#[pyclass(frozen, subclass, generic, mapping, module = "lyredb._engine")]
pub struct TransactionFamily {
    handle: Owned<Handle>,
    codecs: Codecs,
}

impl TransactionFamily {
    /// Runs `work`; on an error the transaction is as it was before.
    fn all_or_nothing(&self, py: Python<'_>, work: impl FnOnce(&Handle) -> PyResult<()>) -> PyResult<()> {
        let handle = self.handle.get()?;
        let savepoint = handle.shared.lock(py).savepoint().or_raise()?;
        let outcome = work(handle);
        let mut transaction = handle.shared.lock(py);
        if outcome.is_err() {
            transaction.rollback_to(savepoint).or_raise()?;
        }
        transaction.release(savepoint).or_raise()?;
        outcome
    }
}

impl View for TransactionFamily {
    const KIND: &'static str = "transaction";
    const INSTEAD_OF_PICKLING: &'static str = "send the database's path and begin one there";

    #[inline(always)]
    fn codecs(&self) -> &Codecs {
        &self.codecs
    }

    #[inline(always)]
    fn family(&self) -> PyResult<&engine::Family> {
        Ok(&self.handle.get()?.family)
    }

    fn source(&self) -> PyResult<Source> {
        Ok(Source::Transaction(self.handle.get()?.shared.clone()))
    }

    #[inline(always)]
    fn read_resident<R>(&self, py: Python<'_>, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> PyResult<Resident<R>> {
        let Handle { shared, family } = self.handle.get()?;
        // The lock ends with this statement: decoding may run Python code.
        shared.lock(py).get_resident(family, key, read).or_raise()
    }
}

impl WritableView for TransactionFamily {
    fn store(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<Duration>) -> PyResult<()> {
        let Handle { shared, family } = self.handle.get()?;
        let key_bytes = self.codecs.key.encode(key, "key")?;
        let bytes = self.codecs.value.encode(value, "value")?;
        shared.lock(key.py()).put(family, &key_bytes, &bytes, ttl).or_raise()
    }

    /// A delete says whether the record was there, which may need the disk.
    fn remove(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = key.py();
        let Handle { shared, family } = self.handle.get()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        let mut transaction = shared.lock(py);
        if !matches!(transaction.get_resident(family, &bytes, |_| ()).or_raise()?, Resident::Cold) {
            return transaction.delete(family, &bytes).or_raise();
        }
        let bytes: &[u8] = &bytes;
        py.detach(move || transaction.delete(family, bytes)).or_raise()
    }

    fn remove_range(&self, py: Python<'_>, start: Option<&[u8]>, stop: Option<&[u8]>) -> PyResult<u64> {
        let Handle { shared, family } = self.handle.get()?;
        shared.detached(py, |transaction| transaction.delete_range(family, start, stop)).or_raise()
    }

    fn store_pairs(&self, items: &Bound<'_, PyAny>, ttl: Option<Duration>) -> PyResult<()> {
        let py = items.py();
        self.all_or_nothing(py, |Handle { shared, family }| {
            pairs::each(items, &self.codecs, &mut |key, value| shared.lock(py).put(family, key, value, ttl).or_raise())
        })
    }

    fn store_columns(&self, py: Python<'_>, keys: &Column, values: &Column, ttl: Option<Duration>) -> PyResult<()> {
        self.all_or_nothing(py, |Handle { shared, family }| {
            shared
                .detached(py, |transaction| {
                    keys.each_with(values, |key, value| transaction.put(family, key, value, ttl))
                })
                .or_raise()
        })
    }
}

writable_view_methods!(TransactionFamily {
    #[new]
    fn new(transaction: &Transaction, family: &Family) -> PyResult<Self> {
        let shared = transaction.shared.get()?.clone();
        let handle = Handle { shared, family: family.handle.get()?.family.clone() };
        Ok(TransactionFamily { handle: Owned::new(handle), codecs: family.codecs.clone() })
    }
});
