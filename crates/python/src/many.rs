//! Many keys at once.

use crate::codec::Kind;
use crate::convert;
use crate::ending;
use crate::error::{self, OrRaise};
use crate::source::Source;
use crate::view::View;
use lyredb_engine as engine;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

pub fn multi_get<'py, V: View>(
    view: &V,
    keys: &Bound<'py, PyAny>,
    default: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let py = keys.py();
    if keys.is_instance_of::<PyBytes>() || keys.is_instance_of::<PyString>() {
        return Err(error::wrong_type("keys", "an iterable of keys (get is for one)", keys));
    }
    let default = default.unwrap_or_else(|| py.None().into_bound(py));
    match view.source()? {
        Source::Snapshot(snapshot) => from_snapshot(&snapshot, view, keys, &default),
        Source::Transaction(_) => one_by_one(view, keys, &default),
    }
}

fn one_by_one<'py, V: View>(
    view: &V,
    keys: &Bound<'py, PyAny>,
    default: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    let answer = |key: Bound<'py, PyAny>| Ok(view.lookup(&key)?.unwrap_or_else(|| default.clone()));
    PyList::new(keys.py(), ending::tuple(keys)?.iter().map(answer).collect::<PyResult<Vec<_>>>()?)
}

fn from_snapshot<'py, V: View>(
    snapshot: &engine::Snapshot,
    view: &V,
    keys: &Bound<'py, PyAny>,
    default: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    let (family, codecs) = (view.family()?, view.codecs());
    // A tuple of our own keeps the keys alive whatever happens to the caller's list.
    let keys = ending::tuple(keys)?;
    let items = keys.as_slice();
    let plain: Option<Vec<&[u8]>> = match codecs.key {
        Kind::Bytes => items.iter().map(convert::bytes_of).collect(),
        _ => None,
    };
    if let Some(slices) = plain {
        return answer(snapshot, family, &codecs.value, &slices, default);
    }
    let encoded = items.iter().map(|key| codecs.key.encode(key, "key")).collect::<PyResult<Vec<_>>>()?;
    let slices: Vec<&[u8]> = encoded.iter().map(|key| &**key).collect();
    answer(snapshot, family, &codecs.value, &slices, default)
}

/// What is in memory is answered with the GIL, the rest is fetched without.
fn answer<'py>(
    snapshot: &engine::Snapshot,
    family: &engine::Family,
    codec: &Kind,
    keys: &[&[u8]],
    default: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    let py = default.py();
    // The list is complete at every moment, if with the default at first: others can find it through the collector.
    let answers = PyList::new(py, std::iter::repeat_n(default, keys.len()))?;
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
        let fetched = py.detach(|| snapshot.multi_get_from_disk(family, keys, &cold)).or_raise()?;
        for (index, value) in fetched {
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
