//! The database as it was at one moment.

use crate::error::{self, OrRaise};
use crate::family::Family;
use crate::fork::Owned;
use crate::source::Source;
use crate::view::{Codecs, View, view_methods};
use lyredb_engine as engine;
use lyredb_engine::Resident;
use parking_lot::RwLock;
use pyo3::prelude::*;
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

/// A family as it was when the snapshot was taken.
#[pyclass(frozen, subclass, generic, mapping, module = "lyredb._engine")]
pub struct SnapshotFamily {
    shared: Arc<Owned<Shared>>,
    family: Owned<engine::Family>,
    codecs: Codecs,
}

impl View for SnapshotFamily {
    const KIND: &'static str = "snapshot";
    const INSTEAD_OF_PICKLING: &'static str = "send the database's path and open it there";

    #[inline(always)]
    fn codecs(&self) -> &Codecs {
        &self.codecs
    }

    #[inline(always)]
    fn family(&self) -> PyResult<&engine::Family> {
        self.family.get()
    }

    fn source(&self) -> PyResult<Source> {
        self.shared.get()?.read().clone().map(Source::Snapshot).ok_or_else(|| error::ended("snapshot"))
    }

    #[inline(always)]
    fn read_resident<R>(&self, _: Python<'_>, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> PyResult<Resident<R>> {
        match &*self.shared.get()?.read() {
            Some(snapshot) => snapshot.get_resident(self.family()?, key, read).or_raise(),
            None => Err(error::ended("snapshot")),
        }
    }
}

view_methods!(SnapshotFamily {
    #[new]
    fn new(snapshot: &Snapshot, family: &Family) -> PyResult<Self> {
        let handle = Owned::new(family.handle.get()?.family.clone());
        Ok(SnapshotFamily { shared: snapshot.shared.clone(), family: handle, codecs: family.codecs.clone() })
    }
});
