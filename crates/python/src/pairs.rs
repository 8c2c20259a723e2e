//! The pairs of a batch, whatever they come in.

use crate::ending;
use crate::error;
use crate::view::Codecs;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple};

type Put<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> PyResult<()>;

/// Encodes each pair of a mapping or an iterable and hands it to `put`.
pub fn each(items: &Bound<'_, PyAny>, codecs: &Codecs, put: Put<'_>) -> PyResult<()> {
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
        return each_of(&items.call_method0("items")?.try_iter()?, pair);
    }
    let Ok(iterator) = items.try_iter() else {
        return Err(error::wrong_type("a batch", "a mapping, pairs (key, value), or two columns", items));
    };
    each_of(&iterator, pair)
}

fn each_of(iterator: &Bound<'_, PyIterator>, mut act: impl FnMut(&Bound<'_, PyAny>) -> PyResult<()>) -> PyResult<()> {
    while let Some(item) = ending::next(iterator)? {
        act(&item)?;
    }
    Ok(())
}
