//! A family of records, read and written at its newest version.

use crate::arrow::Column;
use crate::codec::{Codec, Kind};
use crate::engine::Engine;
use crate::error::{self, OrRaise};
use crate::fork::Owned;
use crate::scan::{self, Bounds, Scan, Source};
use crate::{convert, progress};
use lyredb_engine as engine;
use lyredb_engine::Resident;
use pyo3::exceptions::PyKeyError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use std::time::Duration;

pub struct Handle {
    pub database: engine::Database,
    pub family: engine::Family,
}

#[derive(Clone)]
pub struct Codecs {
    pub key: Kind,
    pub value: Kind,
}

#[pyclass(frozen, subclass, generic, mapping, module = "lyredb._engine")]
pub struct Family {
    pub handle: Owned<Handle>,
    pub codecs: Codecs,
}

impl Family {
    #[inline(always)]
    fn lookup<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let family = &self.handle.get()?.family;
        let bytes = self.codecs.key.encode(key, "key")?;
        match family.get_resident(&bytes, |value| self.codecs.value.read(py, value)) {
            Ok(Resident::Found(raw)) => self.codecs.value.finish(py, raw).map(Some),
            Ok(Resident::Absent) => Ok(None),
            Ok(Resident::Cold) => self.lookup_cold(py, family, &bytes),
            Err(failure) => Err(error::Raised::from(failure).into()),
        }
    }

    #[cold]
    #[inline(never)]
    fn lookup_cold<'py>(
        &self,
        py: Python<'py>,
        family: &engine::Family,
        key: &[u8],
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let copy = py.detach(|| family.get(key, <[u8]>::to_vec)).or_raise()?;
        copy.map(|bytes| self.codecs.value.decode(py, &bytes)).transpose()
    }

    #[inline(always)]
    fn store(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<Duration>) -> PyResult<()> {
        let family = &self.handle.get()?.family;
        let key_bytes = self.codecs.key.encode(key, "key")?;
        let bytes = self.codecs.value.encode(value, "value")?;
        match family.try_put(&key_bytes, &bytes, ttl) {
            Ok(true) => Ok(()),
            Ok(false) => Self::store_waiting(key.py(), family, &key_bytes, &bytes, ttl),
            Err(failure) => Err(error::Raised::from(failure).into()),
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

    #[inline(always)]
    fn remove(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let family = &self.handle.get()?.family;
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

    fn scan_of(&self, bounds: &Bounds<'_, '_>, columns: engine::Columns) -> PyResult<Scan> {
        let handle = self.handle.get()?;
        let source = Source::Snapshot(handle.database.snapshot().or_raise()?);
        Scan::new(source, handle.family.clone(), self.codecs.clone(), bounds, columns)
    }
}

#[pymethods]
impl Family {
    #[new]
    fn new(engine: &Engine, name: &str, key: &Codec, value: &Codec) -> PyResult<Self> {
        let database = engine.database()?.clone();
        let Some(family) = database.family(name).or_raise()? else {
            return Err(error::Raised::from(engine::Error::NoSuchFamily(name.to_owned())).into());
        };
        let codecs = Codecs { key: key.kind.clone(), value: value.kind.clone() };
        Ok(Family { handle: Owned::new(Handle { database, family }), codecs })
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
        match self.lookup(key)? {
            Some(value) => Ok(value),
            None => Err(PyKeyError::new_err((key.clone().unbind(),))),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let family = &self.handle.get()?.family;
        let bytes = self.codecs.key.encode(key, "key")?;
        match family.get_resident(&bytes, |_| ()) {
            Ok(Resident::Found(())) => Ok(true),
            Ok(Resident::Absent) => Ok(false),
            Ok(Resident::Cold) => {
                let bytes: &[u8] = &bytes;
                Ok(key.py().detach(|| family.get(bytes, |_| ())).or_raise()?.is_some())
            }
            Err(failure) => Err(error::Raised::from(failure).into()),
        }
    }

    #[pyo3(signature = (key, value, *, ttl=None))]
    fn put(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let ttl = match ttl {
            None => None,
            ttl => convert::seconds(ttl, "ttl")?,
        };
        self.store(key, value, ttl)
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
        let handle = self.handle.get()?;
        let snapshot = handle.database.snapshot().or_raise()?;
        let range = engine::Range::default();
        progress::run(py, None, |progress| snapshot.count(&handle.family, &range, progress)).map(|count| count as usize)
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
        let handle = self.handle.get()?;
        let snapshot = handle.database.snapshot().or_raise()?;
        multi_get(&snapshot, &handle.family, &self.codecs, keys, default)
    }

    #[pyo3(signature = (start=None, stop=None))]
    fn delete_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let family = &self.handle.get()?.family;
        let start = start.map(|key| self.codecs.key.encode(key, "start")).transpose()?;
        let stop = stop.map(|key| self.codecs.key.encode(key, "stop")).transpose()?;
        let (start, stop) = (start.as_deref(), stop.as_deref());
        py.detach(|| family.delete_range(start, stop)).or_raise()
    }

    /// Seconds until the record expires: inf when it never does, None when there is no such record.
    fn time_to_live(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
        let family = &self.handle.get()?.family;
        let bytes = self.codecs.key.encode(key, "key")?;
        let bytes: &[u8] = &bytes;
        let found = key.py().detach(|| family.time_to_live(bytes)).or_raise()?;
        Ok(found.map(|left| left.map_or(f64::INFINITY, |left| left.as_secs_f64())))
    }

    #[pyo3(signature = (items, *, ttl=None))]
    fn write_pairs(&self, items: &Bound<'_, PyAny>, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let handle = self.handle.get()?;
        let ttl = convert::seconds(ttl, "ttl")?;
        let mut batch = engine::Batch::with_capacity(items.len().unwrap_or(0), 0);
        each_pair(items, &self.codecs, &mut |key, value| batch.put(&handle.family, key, value, ttl).or_raise())?;
        items.py().detach(|| handle.database.write(batch)).or_raise()
    }

    #[pyo3(signature = (keys, values, *, ttl=None))]
    fn write_columns(
        &self,
        py: Python<'_>,
        keys: &Column,
        values: &Column,
        ttl: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let handle = self.handle.get()?;
        let ttl = convert::seconds(ttl, "ttl")?;
        keys.check_pair(values, &self.codecs)?;
        py.detach(|| {
            let mut batch = engine::Batch::with_capacity(keys.len(), keys.bytes() + values.bytes());
            keys.each_with(values, |key, value| batch.put(&handle.family, key, value, ttl))?;
            handle.database.write(batch)
        })
        .or_raise()
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::pickled("family", "send the database's path and the family's name, and open it there"))
    }
}

type Put<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> PyResult<()>;

/// Encodes each pair of a mapping or an iterable and hands it to `put`.
pub fn each_pair(items: &Bound<'_, PyAny>, codecs: &Codecs, put: Put<'_>) -> PyResult<()> {
    let mut one = |key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>| {
        put(&codecs.key.encode(key, "key")?, &codecs.value.encode(value, "value")?)
    };
    let mut pair = |item: &Bound<'_, PyAny>| -> PyResult<()> {
        if let Ok(tuple) = item.cast::<PyTuple>()
            && tuple.len() == 2
        {
            return one(&tuple.get_item(0)?, &tuple.get_item(1)?);
        }
        // As with dict(), any iterable of two will do.
        let Ok(parts) = item.try_iter() else {
            return Err(error::wrong_type("an item of a batch", "a pair (key, value)", item));
        };
        match parts.take(3).collect::<PyResult<Vec<_>>>()?.as_slice() {
            [key, value] => one(key, value),
            _ => Err(error::bad_value("an item of a batch must be a pair (key, value)")),
        }
    };
    if let Ok(list) = items.cast::<PyList>() {
        return list.iter().try_for_each(|item| pair(&item));
    }
    if let Ok(dict) = items.cast::<PyDict>() {
        // A copy: a codec of the user's own could change the dict.
        return dict.items().iter().try_for_each(|item| pair(&item));
    }
    if items.hasattr("items")? {
        for item in items.call_method0("items")?.try_iter()? {
            pair(&item?)?;
        }
        return Ok(());
    }
    let Ok(iterator) = items.try_iter() else {
        return Err(error::wrong_type("a batch", "a mapping, pairs (key, value), or two columns", items));
    };
    for item in iterator {
        pair(&item?)?;
    }
    Ok(())
}

/// What is in memory is answered with the GIL, the rest is fetched without.
pub fn multi_get<'py>(
    snapshot: &engine::Snapshot,
    family: &engine::Family,
    codecs: &Codecs,
    keys: &Bound<'py, PyAny>,
    default: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let py = keys.py();
    // A tuple of our own keeps the keys alive whatever happens to the caller's list.
    // Safety: a new reference, or null with an exception set.
    let keys = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PySequence_Tuple(keys.as_ptr()))? };
    let keys = keys.cast_into::<PyTuple>()?;
    let items = keys.as_slice();
    let plain: Option<Vec<&[u8]>> = match codecs.key {
        Kind::Bytes => items.iter().map(convert::bytes_of).collect(),
        _ => None,
    };
    if let Some(slices) = plain {
        return answer(py, snapshot, family, &codecs.value, &slices, default);
    }
    let encoded = items.iter().map(|key| codecs.key.encode(key, "key")).collect::<PyResult<Vec<_>>>()?;
    let slices: Vec<&[u8]> = encoded.iter().map(|key| &**key).collect();
    answer(py, snapshot, family, &codecs.value, &slices, default)
}

fn answer<'py>(
    py: Python<'py>,
    snapshot: &engine::Snapshot,
    family: &engine::Family,
    codec: &Kind,
    keys: &[&[u8]],
    default: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let default = default.unwrap_or_else(|| py.None().into_bound(py));
    // The list is complete at every moment, if with the default at first: others can find it through the collector.
    let answers = PyList::new(py, std::iter::repeat_n(&default, keys.len()))?;
    let mut outcome = Ok(());
    let mut found = Vec::new();
    let cold = snapshot
        .multi_get_resident(family, keys, &mut |index, value| {
            let Some(value) = value else { return };
            match codec.read(py, value) {
                Some(raw) if codec.is_final() => replace(&answers, index, raw),
                Some(raw) => found.push((index, raw)),
                None if outcome.is_ok() => outcome = codec.finish(py, None).map(drop),
                None => {}
            }
        })
        .or_raise()?;
    outcome?;
    if !cold.is_empty() {
        let fetched = py
            .detach(|| {
                let fetch = |index: &usize| snapshot.get(family, keys[*index], <[u8]>::to_vec);
                cold.iter().map(fetch).collect::<engine::Result<Vec<_>>>()
            })
            .or_raise()?;
        for (index, value) in cold.into_iter().zip(fetched) {
            if let Some(value) = value {
                replace(&answers, index, codec.decode(py, &value)?);
            }
        }
    }
    for (index, raw) in found {
        replace(&answers, index, codec.finish(py, Some(raw))?);
    }
    Ok(answers)
}

#[inline(always)]
fn replace(list: &Bound<'_, PyList>, index: usize, item: Bound<'_, PyAny>) {
    // Safety: the list is our own, the index below its length, and the call takes over the reference.
    unsafe { ffi::PyList_SetItem(list.as_ptr(), index as ffi::Py_ssize_t, item.into_ptr()) };
}
