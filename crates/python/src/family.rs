//! A family of records, read and written at its newest version.

use crate::arrow::Column;
use crate::codec::Codec;
use crate::engine::Engine;
use crate::error::{self, OrRaise};
use crate::fork::Owned;
use crate::pairs;
use crate::source::Source;
use crate::view::{Codecs, View, WritableView, writable_view_methods};
use lyredb_engine as engine;
use lyredb_engine::Resident;
use pyo3::prelude::*;
use std::time::Duration;

pub struct Handle {
    pub database: engine::Database,
    pub family: engine::Family,
}

/// An ordered map of the database, at its newest.
#[pyclass(frozen, subclass, generic, mapping, module = "lyredb._engine")]
pub struct Family {
    pub handle: Owned<Handle>,
    pub codecs: Codecs,
}

impl View for Family {
    const KIND: &'static str = "family";
    const INSTEAD_OF_PICKLING: &'static str = "send the database's path and the family's name, and open it there";

    #[inline(always)]
    fn codecs(&self) -> &Codecs {
        &self.codecs
    }

    #[inline(always)]
    fn family(&self) -> PyResult<&engine::Family> {
        Ok(&self.handle.get()?.family)
    }

    fn source(&self) -> PyResult<Source> {
        Ok(Source::Snapshot(self.handle.get()?.database.snapshot().or_raise()?))
    }

    #[inline(always)]
    fn read_resident<R>(&self, _: Python<'_>, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> PyResult<Resident<R>> {
        self.family()?.get_resident(key, read).or_raise()
    }

    /// The newest value needs no snapshot.
    fn fetch<R: Send>(&self, py: Python<'_>, key: &[u8], read: fn(&[u8]) -> R) -> PyResult<Option<R>> {
        let family = self.family()?;
        py.detach(|| family.get(key, read)).or_raise()
    }
}

impl WritableView for Family {
    #[inline(always)]
    fn store(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<Duration>) -> PyResult<()> {
        let family = self.family()?;
        let key_bytes = self.codecs.key.encode(key, "key")?;
        let bytes = self.codecs.value.encode(value, "value")?;
        match family.try_put(&key_bytes, &bytes, ttl) {
            Ok(true) => Ok(()),
            Ok(false) => store_waiting(key.py(), family, &key_bytes, &bytes, ttl),
            Err(failure) => Err(error::Raised::from(failure).into()),
        }
    }

    #[inline(always)]
    fn remove(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let family = self.family()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        match family.try_delete(&bytes) {
            Ok(Some(existed)) => Ok(existed),
            Ok(None) => {
                let bytes: &[u8] = &bytes;
                key.py().detach(|| family.delete(bytes)).or_raise()
            }
            Err(failure) => Err(error::Raised::from(failure).into()),
        }
    }

    fn remove_range(&self, py: Python<'_>, start: Option<&[u8]>, stop: Option<&[u8]>) -> PyResult<u64> {
        let family = self.family()?;
        py.detach(|| family.delete_range(start, stop)).or_raise()
    }

    fn store_pairs(&self, items: &Bound<'_, PyAny>, ttl: Option<Duration>) -> PyResult<()> {
        let handle = self.handle.get()?;
        let mut batch = engine::Batch::with_capacity(items.len().unwrap_or(0), 0);
        pairs::each(items, &self.codecs, &mut |key, value| batch.put(&handle.family, key, value, ttl).or_raise())?;
        items.py().detach(|| handle.database.write(batch)).or_raise()
    }

    fn store_columns(&self, py: Python<'_>, keys: &Column, values: &Column, ttl: Option<Duration>) -> PyResult<()> {
        let handle = self.handle.get()?;
        py.detach(|| {
            let mut batch = engine::Batch::with_capacity(keys.len(), keys.bytes() + values.bytes());
            keys.each_with(values, |key, value| batch.put(&handle.family, key, value, ttl))?;
            handle.database.write(batch)
        })
        .or_raise()
    }
}

#[inline(never)]
fn store_waiting(
    py: Python<'_>,
    family: &engine::Family,
    key: &[u8],
    value: &[u8],
    ttl: Option<Duration>,
) -> PyResult<()> {
    py.detach(|| family.put(key, value, ttl)).or_raise()
}

writable_view_methods!(Family {
    #[new]
    fn new(engine: &Engine, name: &str, key: &Codec, value: &Codec) -> PyResult<Self> {
        let database = engine.database()?.clone();
        let Some(family) = database.family(name).or_raise()? else {
            return Err(error::Raised::from(engine::Error::NoSuchFamily(name.to_owned())).into());
        };
        let codecs = Codecs { key: key.kind.clone(), value: value.kind.clone() };
        Ok(Family { handle: Owned::new(Handle { database, family }), codecs })
    }

    /// Seconds until a record expires; inf when it never does, None when there is no such record.
    fn time_to_live(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
        let family = self.family()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        let bytes: &[u8] = &bytes;
        let found = key.py().detach(|| family.time_to_live(bytes)).or_raise()?;
        Ok(found.map(|left| left.map_or(f64::INFINITY, |left| left.as_secs_f64())))
    }
});
