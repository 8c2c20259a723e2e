//! What the newest state, a snapshot and a transaction have in common as mappings: written once here, and made methods of
//! their Python classes by the macros below.

use crate::arrow::Column;
use crate::codec::Kind;
use crate::error;
use crate::scan::{Bounds, Scan};
use crate::source::Source;
use lyredb_engine as engine;
use lyredb_engine::Resident;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use std::time::Duration;

#[derive(Clone)]
pub struct Codecs {
    pub key: Kind,
    pub value: Kind,
}

/// A family, seen in one way.
pub trait View {
    const KIND: &'static str;
    const INSTEAD_OF_PICKLING: &'static str;

    fn codecs(&self) -> &Codecs;
    fn family(&self) -> PyResult<&engine::Family>;
    fn source(&self) -> PyResult<Source>;

    /// Answers from memory. `read` runs where the record is held still, so it runs no Python code.
    fn read_resident<R>(&self, py: Python<'_>, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> PyResult<Resident<R>>;

    /// Answers from memory or disk, without the GIL.
    fn fetch<R: Send>(&self, py: Python<'_>, key: &[u8], read: fn(&[u8]) -> R) -> PyResult<Option<R>> {
        self.source()?.get(py, self.family()?, key, read)
    }

    #[inline(always)]
    fn lookup<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let codecs = self.codecs();
        let bytes = codecs.key.encode(key, "key")?;
        match self.read_resident(py, &bytes, |value| codecs.value.read(py, value))? {
            Resident::Found(raw) => codecs.value.finish(py, raw).map(Some),
            Resident::Absent => Ok(None),
            Resident::Cold => self.lookup_cold(py, &bytes),
        }
    }

    #[cold]
    #[inline(never)]
    fn lookup_cold<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
        let copy = self.fetch(py, key, <[u8]>::to_vec)?;
        copy.map(|bytes| self.codecs().value.decode(py, &bytes)).transpose()
    }

    #[inline(always)]
    fn contains(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = key.py();
        let bytes = self.codecs().key.encode(key, "key")?;
        match self.read_resident(py, &bytes, |_| ())? {
            Resident::Found(()) => Ok(true),
            Resident::Absent => Ok(false),
            Resident::Cold => Ok(self.fetch(py, &bytes, |_| ())?.is_some()),
        }
    }

    fn scan_of(&self, bounds: &Bounds<'_, '_>, columns: engine::Columns) -> PyResult<Scan> {
        Scan::new(self.source()?, self.family()?.clone(), self.codecs().clone(), bounds, columns)
    }
}

/// A view that is written to as well.
pub trait WritableView: View {
    fn store(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<Duration>) -> PyResult<()>;
    fn remove(&self, key: &Bound<'_, PyAny>) -> PyResult<bool>;
    fn remove_range(&self, py: Python<'_>, start: Option<&[u8]>, stop: Option<&[u8]>) -> PyResult<u64>;
    fn store_pairs(&self, items: &Bound<'_, PyAny>, ttl: Option<Duration>) -> PyResult<()>;
    fn store_columns(&self, py: Python<'_>, keys: &Column, values: &Column, ttl: Option<Duration>) -> PyResult<()>;
}

#[cold]
pub fn absent(key: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err((key.clone().unbind(),))
}

#[cold]
pub fn pickled<V: View>() -> PyErr {
    error::pickled(V::KIND, V::INSTEAD_OF_PICKLING)
}

pub fn any<V: View>(py: Python<'_>, view: &V) -> PyResult<bool> {
    let bounds = Bounds { limit: Some(1), ..Bounds::default() };
    view.scan_of(&bounds, engine::Columns::Keys)?.has_row(py)
}

pub fn delete_range<V: WritableView>(
    py: Python<'_>,
    view: &V,
    start: Option<&Bound<'_, PyAny>>,
    stop: Option<&Bound<'_, PyAny>>,
) -> PyResult<u64> {
    let codec = &view.codecs().key;
    let start = start.map(|key| codec.encode(key, "start")).transpose()?;
    let stop = stop.map(|key| codec.encode(key, "stop")).transpose()?;
    view.remove_range(py, start.as_deref(), stop.as_deref())
}

/// The methods of a Python class that is a `View`, after its own in the braces. (A class has one block of methods.)
macro_rules! view_methods {
    ($class:ident { $($own:tt)* }) => {
        #[pyo3::pymethods]
        impl $class {
            $($own)*

            /// The name of the family.
            #[getter]
            fn name(&self) -> pyo3::PyResult<String> {
                Ok($crate::view::View::family(self)?.name())
            }

            /// How keys become bytes.
            #[getter]
            fn key_codec(&self) -> $crate::codec::Codec {
                $crate::codec::Codec { kind: $crate::view::View::codecs(self).key.clone() }
            }

            /// How values become bytes.
            #[getter]
            fn value_codec(&self) -> $crate::codec::Codec {
                $crate::codec::Codec { kind: $crate::view::View::codecs(self).value.clone() }
            }

            /// The value of a key, or `default` when there is none.
            #[pyo3(signature = (key, default=None))]
            fn get<'py>(
                &self,
                key: &pyo3::Bound<'py, pyo3::PyAny>,
                default: Option<pyo3::Bound<'py, pyo3::PyAny>>,
            ) -> pyo3::PyResult<Option<pyo3::Bound<'py, pyo3::PyAny>>> {
                Ok($crate::view::View::lookup(self, key)?.or(default))
            }

            fn __getitem__<'py>(
                &self,
                key: &pyo3::Bound<'py, pyo3::PyAny>,
            ) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::PyAny>> {
                match $crate::view::View::lookup(self, key)? {
                    Some(value) => Ok(value),
                    None => Err($crate::view::absent(key)),
                }
            }

            fn __contains__(&self, key: &pyo3::Bound<'_, pyo3::PyAny>) -> pyo3::PyResult<bool> {
                $crate::view::View::contains(self, key)
            }

            fn __len__(&self, py: pyo3::Python<'_>) -> pyo3::PyResult<usize> {
                let family = $crate::view::View::family(self)?;
                let count = $crate::view::View::source(self)?.count(py, family, &lyredb_engine::Range::default())?;
                Ok(count as usize)
            }

            fn __bool__(&self, py: pyo3::Python<'_>) -> pyo3::PyResult<bool> {
                $crate::view::any(py, self)
            }

            fn __iter__(&self) -> pyo3::PyResult<$crate::scan::Scan> {
                $crate::view::View::scan_of(self, &$crate::scan::Bounds::default(), lyredb_engine::Columns::Keys)
            }

            /// The records whose keys lie from `start` up to `stop`.
            ///
            /// Args:
            ///     start: The lowest key, whatever the direction; None: no bound.
            ///     stop: The highest key, whatever the direction; None: no bound.
            ///     prefix: What the keys begin with: bytes, a str, or for tuple keys their first elements.
            ///     reverse: From the highest key to the lowest.
            ///     limit: At most so many rows.
            ///     start_inclusive: Whether `start` itself is in the range.
            ///     stop_inclusive: Whether `stop` itself is in the range.
            #[pyo3(signature = (start=None, stop=None, *, prefix=None, reverse=false, limit=None,
                start_inclusive=true, stop_inclusive=false))]
            #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
            fn scan(
                &self,
                start: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                stop: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                prefix: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                reverse: bool,
                limit: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                start_inclusive: bool,
                stop_inclusive: bool,
            ) -> pyo3::PyResult<$crate::scan::Scan> {
                let limit = $crate::scan::limit(limit)?;
                let bounds =
                    $crate::scan::Bounds { start, stop, prefix, reverse, limit, start_inclusive, stop_inclusive };
                $crate::view::View::scan_of(self, &bounds, lyredb_engine::Columns::Both)
            }

            /// The values of many keys, in their order; `default` for those that are absent.
            #[pyo3(signature = (keys, default=None))]
            fn multi_get<'py>(
                &self,
                keys: &pyo3::Bound<'py, pyo3::PyAny>,
                default: Option<pyo3::Bound<'py, pyo3::PyAny>>,
            ) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::types::PyList>> {
                $crate::many::multi_get(self, keys, default)
            }

            fn __reduce__(&self) -> pyo3::PyResult<()> {
                Err($crate::view::pickled::<Self>())
            }
        }
    };
}

/// The methods of a Python class that is a `WritableView`, after its own in the braces.
macro_rules! writable_view_methods {
    ($class:ident { $($own:tt)* }) => {
        $crate::view::view_methods!($class {
            $($own)*

            /// Stores a value; `ttl`: seconds, or a timedelta, after which the record expires.
            ///
            /// Raises TypeError, KeyTooLargeError, ValueTooLargeError, ReadOnlyError, ClosedError; OSError if the disk is full.
            #[pyo3(signature = (key, value, *, ttl=None))]
            fn put(
                &self,
                key: &pyo3::Bound<'_, pyo3::PyAny>,
                value: &pyo3::Bound<'_, pyo3::PyAny>,
                ttl: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
            ) -> pyo3::PyResult<()> {
                let ttl = match ttl {
                    None => None,
                    ttl => $crate::convert::seconds(ttl, "ttl")?,
                };
                $crate::view::WritableView::store(self, key, value, ttl)
            }

            fn __setitem__(
                &self,
                key: &pyo3::Bound<'_, pyo3::PyAny>,
                value: &pyo3::Bound<'_, pyo3::PyAny>,
            ) -> pyo3::PyResult<()> {
                $crate::view::WritableView::store(self, key, value, None)
            }

            /// Deletes a record; tells whether it was there.
            fn delete(&self, key: &pyo3::Bound<'_, pyo3::PyAny>) -> pyo3::PyResult<bool> {
                $crate::view::WritableView::remove(self, key)
            }

            fn __delitem__(&self, key: &pyo3::Bound<'_, pyo3::PyAny>) -> pyo3::PyResult<()> {
                if $crate::view::WritableView::remove(self, key)? { Ok(()) } else { Err($crate::view::absent(key)) }
            }

            /// Deletes the records from `start` up to, and without, `stop`, atomically; tells how many there were.
            #[pyo3(signature = (start=None, stop=None))]
            fn delete_range(
                &self,
                py: pyo3::Python<'_>,
                start: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                stop: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
            ) -> pyo3::PyResult<u64> {
                $crate::view::delete_range(py, self, start, stop)
            }

            /// What `write_batch` does with records that are Python objects.
            #[pyo3(signature = (items, *, ttl=None))]
            fn write_pairs(
                &self,
                items: &pyo3::Bound<'_, pyo3::PyAny>,
                ttl: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
            ) -> pyo3::PyResult<()> {
                $crate::view::WritableView::store_pairs(self, items, $crate::convert::seconds(ttl, "ttl")?)
            }

            /// What `write_batch` does with columns.
            #[pyo3(signature = (keys, values, *, ttl=None))]
            fn write_columns(
                &self,
                py: pyo3::Python<'_>,
                keys: &$crate::arrow::Column,
                values: &$crate::arrow::Column,
                ttl: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
            ) -> pyo3::PyResult<()> {
                let ttl = $crate::convert::seconds(ttl, "ttl")?;
                keys.check_pair(values, $crate::view::View::codecs(self))?;
                $crate::view::WritableView::store_columns(self, py, keys, values, ttl)
            }
        });
    };
}

pub(crate) use {view_methods, writable_view_methods};
