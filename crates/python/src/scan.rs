//! Walks over a range of records. Rows come from the engine in chunks, into buffers that are used again; Python objects
//! are made one row at a time, as they are asked for.

use crate::arrow::{self, Memory, NativeBuffer};
use crate::codec::{Kind, PrefixEnd};
use crate::ending;
use crate::error::{self, OrRaise};
use crate::fork::Owned;
use crate::lock::{Guard, Lock};
use crate::source::Source;
use crate::view::{self, Codecs};
use lyredb_engine as engine;
use lyredb_engine::{Columns, Cursor, Fetched, Range, Rows};
use pyo3::exceptions::PyOverflowError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ops::{Bound as End, RangeBounds};

const FIRST_CHUNK: usize = 32;
const LARGEST_CHUNK: usize = 1024;
const CHUNK_BYTES: usize = 256 << 10;
/// One column of a batch stays far below the 2 GiB that its 32-bit offsets reach.
const BATCH_BYTES: usize = 64 << 20;

/// The arguments of `scan`, as they came from Python.
pub struct Bounds<'a, 'py> {
    pub start: Option<&'a Bound<'py, PyAny>>,
    pub stop: Option<&'a Bound<'py, PyAny>>,
    pub prefix: Option<&'a Bound<'py, PyAny>>,
    pub reverse: bool,
    pub limit: Option<usize>,
    pub start_inclusive: bool,
    pub stop_inclusive: bool,
}

impl Default for Bounds<'_, '_> {
    fn default() -> Self {
        Bounds {
            start: None,
            stop: None,
            prefix: None,
            reverse: false,
            limit: None,
            start_inclusive: true,
            stop_inclusive: false,
        }
    }
}

/// None, or a count of rows that is not negative.
pub fn limit(object: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
    let Some(object) = object.filter(|object| !object.is_none()) else { return Ok(None) };
    match object.extract::<usize>() {
        Ok(limit) => Ok(Some(limit)),
        Err(failure) if failure.is_instance_of::<PyOverflowError>(object.py()) => {
            Err(error::bad_value(format!("limit must not be negative, not {object}")))
        }
        Err(_) => Err(error::wrong_type("limit", "an int or None", object)),
    }
}

impl Bounds<'_, '_> {
    fn range(&self, codecs: &Codecs) -> PyResult<Range> {
        let mut range = match self.prefix {
            None => Range::default(),
            Some(prefix) => prefix_range(&codecs.key, prefix)?,
        };
        if let Some(start) = self.start {
            let start = codecs.key.encode(start, "start")?.to_vec();
            let inside = match &range.start {
                End::Included(from) | End::Excluded(from) => start >= *from,
                End::Unbounded => true,
            };
            if inside {
                range.start = if self.start_inclusive { End::Included(start) } else { End::Excluded(start) };
            }
        }
        if let Some(stop) = self.stop {
            let stop = codecs.key.encode(stop, "stop")?.to_vec();
            let inside = match &range.stop {
                End::Included(to) | End::Excluded(to) => stop < *to,
                End::Unbounded => true,
            };
            if inside {
                range.stop = if self.stop_inclusive { End::Included(stop) } else { End::Excluded(stop) };
            }
        }
        Ok(range)
    }
}

pub fn prefix_range(key: &Kind, prefix: &Bound<'_, PyAny>) -> PyResult<Range> {
    match key.prefix_end() {
        PrefixEnd::Bytes => Ok(Range::prefix(&key.encode(prefix, "prefix")?)),
        PrefixEnd::Below(byte) => {
            let start = key.encode(prefix, "prefix")?.to_vec();
            let mut stop = start.clone();
            stop.push(byte);
            Ok(Range { start: End::Included(start), stop: End::Excluded(stop) })
        }
        PrefixEnd::None => Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "keys of codec {:?} have no prefixes: use start and stop",
            key.name()
        ))),
    }
}

struct State {
    cursor: Option<Cursor>,
    rows: Rows,
    /// Rows fetched, rows handed out, and where the next one begins in either column.
    count: usize,
    index: usize,
    key_at: usize,
    value_at: usize,
    chunk: usize,
    remaining: usize,
    ended: bool,
}

struct Inner {
    source: Source,
    family: engine::Family,
    state: Lock<State>,
}

/// A walk over a range of records, in key order or against it; an iterator.
///
/// A scan of a database or family sees what was there when it was made; one of a transaction, what was there when its
/// first row was asked for. Threads may share one: each row goes to one of them.
#[pyclass(frozen, generic, module = "lyredb._engine")]
pub struct Scan {
    inner: Owned<Inner>,
    codecs: Codecs,
    range: Range,
    reverse: bool,
    limit: Option<usize>,
    columns: Columns,
}

impl Scan {
    pub fn new(
        source: Source,
        family: engine::Family,
        codecs: Codecs,
        bounds: &Bounds<'_, '_>,
        columns: Columns,
    ) -> PyResult<Scan> {
        let range = bounds.range(&codecs)?;
        Ok(Self::over(source, family, codecs, range, bounds.reverse, bounds.limit, columns))
    }

    fn over(
        source: Source,
        family: engine::Family,
        codecs: Codecs,
        range: Range,
        reverse: bool,
        limit: Option<usize>,
        columns: Columns,
    ) -> Scan {
        let state = State {
            cursor: None,
            rows: Rows::default(),
            count: 0,
            index: 0,
            key_at: 0,
            value_at: 0,
            chunk: limit.filter(|limit| *limit <= LARGEST_CHUNK).unwrap_or(FIRST_CHUNK),
            remaining: limit.unwrap_or(usize::MAX),
            ended: limit == Some(0),
        };
        let inner = Inner { source, family, state: Lock::new(state) };
        Scan { inner: Owned::new(inner), codecs, range, reverse, limit, columns }
    }

    fn again(&self, columns: Columns) -> PyResult<Scan> {
        let inner = self.inner.get()?;
        let (source, family) = (inner.source.clone(), inner.family.clone());
        Ok(Self::over(source, family, self.codecs.clone(), self.range.clone(), self.reverse, self.limit, columns))
    }

    pub fn has_row(&self, py: Python<'_>) -> PyResult<bool> {
        let inner = self.inner.get()?;
        let mut state = inner.state.lock(py);
        Ok(state.index < state.count || self.refill(py, inner, &mut state)?)
    }

    fn open<'s>(&self, py: Python<'_>, inner: &Inner, state: &'s mut State) -> PyResult<&'s mut Cursor> {
        if state.cursor.is_none() {
            state.cursor = Some(inner.source.cursor(py, &inner.family, self.range.clone(), self.reverse)?);
        }
        match &mut state.cursor {
            Some(cursor) => Ok(cursor),
            None => Err(error::ended("scan")),
        }
    }

    /// Fetches the next chunk; false at the end.
    #[inline(never)]
    fn refill(&self, py: Python<'_>, inner: &Inner, state: &mut Guard<'_, State>) -> PyResult<bool> {
        let columns = self.columns;
        let state: &mut State = state;
        while !state.ended {
            self.open(py, inner, state)?;
            let State { cursor: Some(cursor), rows, .. } = state else { return Err(error::ended("scan")) };
            let wanted = state.chunk.min(state.remaining);
            rows.clear();
            let mut fetched = cursor.fetch(columns, wanted, CHUNK_BYTES, false, rows).or_raise()?;
            if fetched == Fetched::Cold && row_count(columns, rows) == 0 {
                fetched = py.detach(|| cursor.fetch(columns, wanted, CHUNK_BYTES, true, rows)).or_raise()?;
                py.check_signals()?;
            }
            state.count = row_count(columns, &state.rows);
            (state.index, state.key_at, state.value_at) = (0, 0, 0);
            state.remaining -= state.count.min(state.remaining);
            state.chunk = (state.chunk * 2).min(LARGEST_CHUNK);
            state.ended = fetched == Fetched::Done || state.remaining == 0;
            if state.count > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn total(&self, py: Python<'_>) -> PyResult<u64> {
        let inner = self.inner.get()?;
        let counted = inner.source.count(py, &inner.family, &self.range)?;
        Ok(self.limit.map_or(counted, |limit| counted.min(limit as u64)))
    }
}

#[inline(always)]
pub fn row_count(columns: Columns, rows: &Rows) -> usize {
    match columns {
        Columns::Values => rows.value_ends.len(),
        Columns::Keys | Columns::Both => rows.key_ends.len(),
    }
}

/// A pair the garbage collector need not walk: what two strings or bytes objects make is no cycle.
#[inline(always)]
fn pair<'py>(
    py: Python<'py>,
    first: Bound<'py, PyAny>,
    second: Bound<'py, PyAny>,
    plain: bool,
) -> PyResult<Bound<'py, PyAny>> {
    // Safety: a fresh tuple of two, both items set at once from references we own.
    unsafe {
        let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(2))?;
        ffi::PyTuple_SET_ITEM(tuple.as_ptr(), 0, first.into_ptr());
        ffi::PyTuple_SET_ITEM(tuple.as_ptr(), 1, second.into_ptr());
        if plain {
            ffi::PyObject_GC_UnTrack(tuple.as_ptr().cast());
        }
        Ok(tuple)
    }
}

#[pymethods]
impl Scan {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let inner = self.inner.get()?;
        let mut state = inner.state.lock(py);
        if state.index >= state.count && !self.refill(py, inner, &mut state)? {
            return Ok(None);
        }
        let row: &mut State = &mut state;
        let (index, key_at, value_at) = (row.index, row.key_at, row.value_at);
        row.index += 1;
        // Objects whose making runs no Python code are made under the lock, the others after it.
        let (key, value) = match self.columns {
            Columns::Both => {
                (row.key_at, row.value_at) = (row.rows.key_ends[index], row.rows.value_ends[index]);
                let key = self.codecs.key.read(py, &row.rows.keys[key_at..row.key_at]);
                let value = self.codecs.value.read(py, &row.rows.values[value_at..row.value_at]);
                (key, value)
            }
            Columns::Keys => {
                row.key_at = row.rows.key_ends[index];
                let key = self.codecs.key.read(py, &row.rows.keys[key_at..row.key_at]);
                drop(state);
                return self.codecs.key.finish(py, key).map(Some);
            }
            Columns::Values => {
                row.value_at = row.rows.value_ends[index];
                let value = self.codecs.value.read(py, &row.rows.values[value_at..row.value_at]);
                drop(state);
                return self.codecs.value.finish(py, value).map(Some);
            }
        };
        drop(state);
        let key = self.codecs.key.finish(py, key)?;
        let value = self.codecs.value.finish(py, value)?;
        pair(py, key, value, self.codecs.key.is_plain() && self.codecs.value.is_plain()).map(Some)
    }

    /// The value of a key of the range; with keys() it makes `dict(scan)` work.
    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let inner = self.inner.get()?;
        let bytes = self.codecs.key.encode(key, "key")?;
        let bytes: &[u8] = &bytes;
        let inside = (self.range.start.as_ref().map(Vec::as_slice), self.range.stop.as_ref().map(Vec::as_slice));
        let found = if !RangeBounds::<[u8]>::contains(&inside, bytes) {
            None
        } else {
            inner.source.get(py, &inner.family, bytes, <[u8]>::to_vec)?
        };
        match found {
            Some(value) => self.codecs.value.decode(py, &value),
            None => Err(view::absent(key)),
        }
    }

    /// The keys of the same range, from its beginning; values are not read.
    fn keys(&self) -> PyResult<Scan> {
        self.again(Columns::Keys)
    }

    /// The values of the same range, from its beginning.
    fn values(&self) -> PyResult<Scan> {
        self.again(Columns::Values)
    }

    /// The pairs of the same range, from its beginning.
    fn items(&self) -> PyResult<Scan> {
        self.again(Columns::Both)
    }

    /// How many rows the whole scan has, wherever it is now.
    fn count(&self, py: Python<'_>) -> PyResult<u64> {
        self.total(py)
    }

    /// Goes on from `key` (or, if it is not there, the next one in the scan's direction), forwards or backwards.
    fn seek<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let this = slf.get();
        let inner = this.inner.get()?;
        let bytes = this.codecs.key.encode(key, "key")?;
        let mut state = inner.state.lock(slf.py());
        this.open(slf.py(), inner, &mut state)?.seek(&bytes);
        // Rows fetched but not handed out do not count towards the limit.
        let unread = state.count - state.index;
        if this.limit.is_some() {
            state.remaining += unread;
        }
        (state.count, state.index) = (0, 0);
        state.ended = state.remaining == 0;
        Ok(slf.clone())
    }

    /// The rows not yet iterated over as a table with the columns "key" and "value" (those the scan has).
    ///
    /// Codec "str" and "json" give string columns, "int" int64, others binary: the bytes as stored.
    /// Raises OverflowError when an int needs more than 64 bits.
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        ending::call_one(&helper(slf, "to_arrow")?, slf)
    }

    /// The rows not yet iterated over as arrays: (keys, values), or one array for a scan of one of them.
    ///
    /// Codec "int" gives int64; "bytes" of one width w a `V{w}` array (`.view("S16")`, `.view("<f8")` read it as what
    /// it is); all else an array of objects. Raises OverflowError when an int needs more than 64 bits.
    fn to_numpy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        ending::call_one(&helper(slf, "to_numpy")?, slf)
    }

    /// The same as `to_arrow`, in record batches of up to `rows` rows and some 64 MiB, as they are asked for.
    #[pyo3(signature = (rows=65_536))]
    fn batches<'py>(slf: &Bound<'py, Self>, rows: usize) -> PyResult<Bound<'py, PyAny>> {
        ending::call(&helper(slf, "batches")?, &(slf, rows).into_pyobject(slf.py())?, None)
    }

    /// What a row is: "items", "keys" or "values".
    #[getter]
    fn columns(&self) -> &'static str {
        match self.columns {
            Columns::Keys => "keys",
            Columns::Values => "values",
            Columns::Both => "items",
        }
    }

    /// The names of the codecs of keys and of values.
    #[getter]
    fn codec_names(&self) -> (&str, &str) {
        (self.codecs.key.name(), self.codecs.value.name())
    }

    /// Up to `rows` rows as buffers: (count, key column, value column), or None at the end. A column is (offsets, data),
    /// or (integers,) under the codec "int", or None when the scan leaves it out.
    fn fetch_columns<'py>(&self, py: Python<'py>, rows: usize) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let inner = self.inner.get()?;
        let mut state = inner.state.lock(py);
        if state.index >= state.count && state.ended {
            return Ok(None);
        }
        self.open(py, inner, &mut state)?;
        let columns = self.columns;
        let codecs = &self.codecs;
        let built = py.detach(move || -> engine::Result<_> {
            let state: &mut State = &mut state;
            let mut fetched = rest(columns, state, rows);
            while !state.ended && row_count(columns, &fetched) < rows {
                let have = row_count(columns, &fetched);
                let bytes = fetched.keys.len().max(fetched.values.len());
                if bytes >= BATCH_BYTES {
                    break;
                }
                let Some(cursor) = &mut state.cursor else { break };
                let wanted = (rows - have).min(state.remaining);
                let outcome = cursor.fetch(columns, wanted, BATCH_BYTES - bytes, true, &mut fetched)?;
                let added = row_count(columns, &fetched) - have;
                state.remaining -= added.min(state.remaining);
                state.ended = outcome == Fetched::Done || state.remaining == 0;
            }
            Ok(arrow::build(columns, codecs, fetched))
        });
        py.check_signals()?;
        let (count, keys, values) = built.or_raise()?;
        if count == 0 {
            return Ok(None);
        }
        let keys = keys.map(|column| column_object(py, column)).transpose()?;
        let values = values.map(|column| column_object(py, column)).transpose()?;
        Ok(Some((count, keys, values).into_pyobject(py)?))
    }

    fn __repr__(&self) -> String {
        let family = match self.inner.get() {
            Ok(inner) => format!("{:?}", inner.family.name()),
            Err(_) => "the parent process".into(),
        };
        let direction = if self.reverse { ", reverse" } else { "" };
        format!("<lyredb.Scan of {family}: {}{direction}>", self.columns())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::pickled("scan", "send its rows, as a list or as to_arrow()"))
    }
}

fn column_object<'py>(py: Python<'py>, column: arrow::Built) -> PyResult<Bound<'py, PyTuple>> {
    let buffers = match column {
        arrow::Built::Bytes { offsets, data } => vec![Memory::Offsets(offsets), Memory::Bytes(data)],
        arrow::Built::Integers(integers) => vec![Memory::Integers(integers)],
        arrow::Built::Overflow => {
            return Err(PyOverflowError::new_err(
                "a number of this scan needs more than 64 bits, which no Arrow or numpy integer column holds",
            ));
        }
    };
    let buffers = buffers.into_iter().map(|memory| Bound::new(py, NativeBuffer::new(memory)));
    PyTuple::new(py, buffers.collect::<PyResult<Vec<_>>>()?)
}

/// Rows already fetched for iteration but not handed out, at most `limit` of them; leaves the others in place.
fn rest(columns: Columns, state: &mut State, limit: usize) -> Rows {
    let mut rows = Rows::default();
    if state.index >= state.count {
        return rows;
    }
    let until = state.count.min(state.index + limit);
    if columns != Columns::Values {
        let (from, to) = (state.key_at, state.rows.key_ends[until - 1]);
        rows.keys.extend_from_slice(&state.rows.keys[from..to]);
        rows.key_ends.extend(state.rows.key_ends[state.index..until].iter().map(|end| end - from));
        state.key_at = to;
    }
    if columns != Columns::Keys {
        let (from, to) = (state.value_at, state.rows.value_ends[until - 1]);
        rows.values.extend_from_slice(&state.rows.values[from..to]);
        rows.value_ends.extend(state.rows.value_ends[state.index..until].iter().map(|end| end - from));
        state.value_at = to;
    }
    state.index = until;
    rows
}

fn helper<'py>(scan: &Bound<'py, Scan>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    PyModule::import(scan.py(), "lyredb.db.scan")?.getattr(name)
}
