//! The database as it was at one moment.

use crate::codec::Codec;
use crate::error::{self, OrRaise};
use crate::family::{self, Codecs, Family};
use crate::fork::Owned;
use crate::progress;
use crate::scan::{self, Bounds, Scan, Source};
use lyredb_engine as engine;
use lyredb_engine::Resident;
use parking_lot::RwLock;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::sync::Arc;

/// Emptied by close(). Held only for what needs neither the disk nor the GIL: longer work takes a clone.
type Shared = RwLock<Option<engine::Snapshot>>;

#[pyclass(frozen, module = "lyredb._engine")]
pub struct Snapshot {
    shared: Arc<Owned<Shared>>,
}

impl Snapshot {
    pub fn new(snapshot: engine::Snapshot) -> Self {
        Snapshot { shared: Arc::new(Owned::new(RwLock::new(Some(snapshot)))) }
    }
}

#[pymethods]
impl Snapshot {
    #[getter]
    fn version(&self) -> PyResult<u64> {
        match &*self.shared.get()?.read() {
            Some(snapshot) => Ok(snapshot.version()),
            None => Err(error::ended("snapshot")),
        }
    }

    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.shared.get()?.read().is_none())
    }

    fn close(&self) -> PyResult<()> {
        let released = self.shared.get()?.write().take();
        drop(released);
        Ok(())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::pickled("snapshot", "send the database's path and open it there"))
    }
}

#[pyclass(frozen, subclass, generic, mapping, module = "lyredb._engine")]
pub struct SnapshotFamily {
    shared: Arc<Owned<Shared>>,
    family: Owned<engine::Family>,
    codecs: Codecs,
}

impl SnapshotFamily {
    fn snapshot(&self) -> PyResult<engine::Snapshot> {
        self.shared.get()?.read().clone().ok_or_else(|| error::ended("snapshot"))
    }

    #[inline(always)]
    fn lookup<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let family = self.family.get()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        let resident = match &*self.shared.get()?.read() {
            Some(snapshot) => snapshot.get_resident(family, &bytes, |value| self.codecs.value.read(py, value)),
            None => return Err(error::ended("snapshot")),
        };
        match resident.or_raise()? {
            Resident::Found(raw) => self.codecs.value.finish(py, raw).map(Some),
            Resident::Absent => Ok(None),
            Resident::Cold => {
                let snapshot = self.snapshot()?;
                let bytes: &[u8] = &bytes;
                let copy = py.detach(|| snapshot.get(family, bytes, <[u8]>::to_vec)).or_raise()?;
                copy.map(|bytes| self.codecs.value.decode(py, &bytes)).transpose()
            }
        }
    }

    fn scan_of(&self, bounds: &Bounds<'_, '_>, columns: engine::Columns) -> PyResult<Scan> {
        let source = Source::Snapshot(self.snapshot()?);
        Scan::new(source, self.family.get()?.clone(), self.codecs.clone(), bounds, columns)
    }
}

#[pymethods]
impl SnapshotFamily {
    #[new]
    fn new(snapshot: &Snapshot, family: &Family) -> PyResult<Self> {
        let handle = Owned::new(family.handle.get()?.family.clone());
        Ok(SnapshotFamily { shared: snapshot.shared.clone(), family: handle, codecs: family.codecs.clone() })
    }

    #[getter]
    fn name(&self) -> PyResult<String> {
        Ok(self.family.get()?.name())
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
        let family = self.family.get()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        let snapshot = self.snapshot()?;
        match snapshot.get_resident(family, &bytes, |_| ()).or_raise()? {
            Resident::Found(()) => Ok(true),
            Resident::Absent => Ok(false),
            Resident::Cold => {
                let bytes: &[u8] = &bytes;
                Ok(key.py().detach(|| snapshot.get(family, bytes, |_| ())).or_raise()?.is_some())
            }
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let (snapshot, family) = (self.snapshot()?, self.family.get()?);
        let range = engine::Range::default();
        progress::run(py, None, |progress| snapshot.count(family, &range, progress)).map(|count| count as usize)
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
        family::multi_get(&self.snapshot()?, self.family.get()?, &self.codecs, keys, default)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::pickled("snapshot", "send the database's path and open it there"))
    }
}
