//! Changes that become visible together, or not at all.

use crate::codec::Codec;
use crate::error::{self, OrRaise};
use crate::family::{self, Codecs, Family};
use crate::fork::Owned;
use crate::lock::{Guard, Lock};
use crate::scan::{self, Bounds, Scan, Source};
use crate::{arrow, convert};
use lyredb_engine as engine;
use lyredb_engine::{Resident, Savepoint};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyList;
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

#[pyclass(frozen, subclass, generic, mapping, module = "lyredb._engine")]
pub struct TransactionFamily {
    handle: Owned<Handle>,
    codecs: Codecs,
}

impl TransactionFamily {
    #[inline(always)]
    fn lookup<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let Handle { shared, family } = self.handle.get()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        // The lock ends with this statement: decoding may run Python code.
        let resident = shared.lock(py).get_resident(family, &bytes, |value| self.codecs.value.read(py, value));
        match resident.or_raise()? {
            Resident::Found(raw) => self.codecs.value.finish(py, raw).map(Some),
            Resident::Absent => Ok(None),
            Resident::Cold => {
                let bytes: &[u8] = &bytes;
                let copy = shared.detached(py, |transaction| transaction.get(family, bytes, <[u8]>::to_vec));
                copy.or_raise()?.map(|bytes| self.codecs.value.decode(py, &bytes)).transpose()
            }
        }
    }

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

    fn scan_of(&self, bounds: &Bounds<'_, '_>, columns: engine::Columns) -> PyResult<Scan> {
        let Handle { shared, family } = self.handle.get()?;
        Scan::new(Source::Transaction(shared.clone()), family.clone(), self.codecs.clone(), bounds, columns)
    }

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

#[pymethods]
impl TransactionFamily {
    #[new]
    fn new(transaction: &Transaction, family: &Family) -> PyResult<Self> {
        let shared = transaction.shared.get()?.clone();
        let handle = Handle { shared, family: family.handle.get()?.family.clone() };
        Ok(TransactionFamily { handle: Owned::new(handle), codecs: family.codecs.clone() })
    }

    #[getter]
    fn name(&self) -> PyResult<String> {
        Ok(self.handle.get()?.family.name())
    }

    #[getter]
    fn key_codec(&self) -> Codec {
        Codec { kind: self.codecs.key.clone() }
    }

    #[getter]
    fn value_codec(&self) -> Codec {
        Codec { kind: self.codecs.value.clone() }
    }

    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.lookup(key)?.or(default))
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.lookup(key)?.ok_or_else(|| PyKeyError::new_err((key.clone().unbind(),)))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = key.py();
        let Handle { shared, family } = self.handle.get()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        let mut transaction = shared.lock(py);
        match transaction.get_resident(family, &bytes, |_| ()).or_raise()? {
            Resident::Found(()) => Ok(true),
            Resident::Absent => Ok(false),
            Resident::Cold => {
                let bytes: &[u8] = &bytes;
                Ok(py.detach(move || transaction.get(family, bytes, |_| ())).or_raise()?.is_some())
            }
        }
    }

    #[pyo3(signature = (key, value, *, ttl=None))]
    fn put(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.store(key, value, convert::seconds(ttl, "ttl")?)
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.store(key, value, None)
    }

    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.remove(key)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.remove(key)? { Ok(()) } else { Err(PyKeyError::new_err((key.clone().unbind(),))) }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let Handle { shared, family } = self.handle.get()?;
        let range = engine::Range::default();
        shared.detached(py, |transaction| transaction.count(family, &range)).or_raise().map(|count| count as usize)
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        let bounds = Bounds { limit: Some(1), ..Bounds::default() };
        self.scan_of(&bounds, engine::Columns::Keys)?.has_row(py)
    }

    fn __iter__(&self) -> PyResult<Scan> {
        self.scan_of(&Bounds::default(), engine::Columns::Keys)
    }

    #[pyo3(signature = (start=None, stop=None, *, prefix=None, reverse=false, limit=None, start_inclusive=true, stop_inclusive=false))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn scan(
        &self,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        prefix: Option<&Bound<'_, PyAny>>,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
        start_inclusive: bool,
        stop_inclusive: bool,
    ) -> PyResult<Scan> {
        let limit = scan::limit(limit)?;
        let bounds = Bounds { start, stop, prefix, reverse, limit, start_inclusive, stop_inclusive };
        self.scan_of(&bounds, engine::Columns::Both)
    }

    #[pyo3(signature = (keys, default=None))]
    fn multi_get<'py>(
        &self,
        keys: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = keys.py();
        let default = default.unwrap_or_else(|| py.None().into_bound(py));
        let answers = keys
            .try_iter()?
            .map(|key| Ok(self.lookup(&key?)?.unwrap_or_else(|| default.clone())))
            .collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, answers)
    }

    #[pyo3(signature = (start=None, stop=None))]
    fn delete_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let Handle { shared, family } = self.handle.get()?;
        let start = start.map(|key| self.codecs.key.encode(key, "start")).transpose()?;
        let stop = stop.map(|key| self.codecs.key.encode(key, "stop")).transpose()?;
        let (start, stop) = (start.as_deref(), stop.as_deref());
        shared.detached(py, |transaction| transaction.delete_range(family, start, stop)).or_raise()
    }

    #[pyo3(signature = (items, *, ttl=None))]
    fn write_pairs(&self, items: &Bound<'_, PyAny>, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = items.py();
        let ttl = convert::seconds(ttl, "ttl")?;
        self.all_or_nothing(py, |Handle { shared, family }| {
            family::each_pair(items, &self.codecs, &mut |key, value| {
                shared.lock(py).put(family, key, value, ttl).or_raise()
            })
        })
    }

    #[pyo3(signature = (keys, values, *, ttl=None))]
    fn write_columns(
        &self,
        py: Python<'_>,
        keys: &arrow::Column,
        values: &arrow::Column,
        ttl: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let ttl = convert::seconds(ttl, "ttl")?;
        keys.check_pair(values, &self.codecs)?;
        self.all_or_nothing(py, |Handle { shared, family }| {
            shared
                .detached(py, |transaction| {
                    keys.each_with(values, |key, value| transaction.put(family, key, value, ttl))
                })
                .or_raise()
        })
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::pickled("transaction", "send the database's path and begin one there"))
    }
}
