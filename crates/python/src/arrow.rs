//! Columns: native buffers out to Arrow and numpy, their buffers in to a batch. Nothing here makes an object a row.

use crate::codec::Kind;
use crate::number::SHORT;
use crate::view::Codecs;
use crate::{error, number};
use lyredb_engine as engine;
use lyredb_engine::{Columns, Rows};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::os::raw::c_int;

/// Memory of ours with Python's buffer protocol; `pyarrow.py_buffer` and `numpy.frombuffer` read it in place.
#[pyclass(frozen, module = "lyredb._engine")]
pub struct NativeBuffer(Memory);

pub enum Memory {
    Bytes(Vec<u8>),
    Offsets(Vec<i32>),
    Integers(Vec<i64>),
}

impl NativeBuffer {
    pub fn new(memory: Memory) -> Self {
        NativeBuffer(memory)
    }

    fn memory(&self) -> (*const u8, usize) {
        match &self.0 {
            Memory::Bytes(data) => (data.as_ptr(), data.len()),
            Memory::Offsets(data) => (data.as_ptr().cast(), size_of_val(data.as_slice())),
            Memory::Integers(data) => (data.as_ptr().cast(), size_of_val(data.as_slice())),
        }
    }
}

#[pymethods]
impl NativeBuffer {
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let (start, length) = slf.get().memory();
        // Safety: the object is frozen and the view holds a reference to it, so the memory stays as it is.
        let outcome = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast_mut().cast(), length as ffi::Py_ssize_t, 1, flags)
        };
        if outcome == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }

    fn __len__(&self) -> usize {
        self.memory().1
    }
}

pub enum Built {
    Bytes {
        offsets: Vec<i32>,
        data: Vec<u8>,
    },
    Integers(Vec<i64>),
    /// An integer needs more than 64 bits.
    Overflow,
}

/// Rows as columns: how many, the keys, the values.
pub fn build(columns: Columns, codecs: &Codecs, rows: Rows) -> (usize, Option<Built>, Option<Built>) {
    let count = crate::scan::row_count(columns, &rows);
    let keys = (columns != Columns::Values).then(|| column(&codecs.key, rows.keys, &rows.key_ends));
    let values = (columns != Columns::Keys).then(|| column(&codecs.value, rows.values, &rows.value_ends));
    (count, keys, values)
}

fn column(codec: &Kind, data: Vec<u8>, ends: &[usize]) -> Built {
    if matches!(codec, Kind::Integer) {
        let mut start = 0;
        let integers = ends.iter().map(|end| number::read_small(&data[std::mem::replace(&mut start, *end)..*end]));
        return integers.collect::<Option<Vec<i64>>>().map_or(Built::Overflow, Built::Integers);
    }
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    // A batch is limited to a little over 1 GiB a column, so the ends fit.
    offsets.extend(ends.iter().map(|end| *end as i32));
    Built::Bytes { offsets, data }
}

/// A column of an Arrow or numpy array, to be written without making an object of each row.
#[pyclass(frozen, module = "lyredb._engine")]
pub struct Column {
    data: PyUntypedBuffer,
    offsets: Option<PyUntypedBuffer>,
    layout: Layout,
    first: usize,
    length: usize,
    text: bool,
}

#[derive(Clone, Copy)]
enum Layout {
    /// `trim`: zero bytes at the end of an item are padding.
    Fixed {
        width: usize,
        trim: bool,
    },
    Offsets32,
    Offsets64,
    Integers,
}

#[pymethods]
impl Column {
    /// Items of `width` bytes, one after the other.
    #[staticmethod]
    #[pyo3(signature = (data, width, first, length, *, trim=false))]
    fn fixed(data: &Bound<'_, PyAny>, width: usize, first: usize, length: usize, trim: bool) -> PyResult<Self> {
        let column = Column {
            data: buffer(data)?,
            offsets: None,
            layout: Layout::Fixed { width, trim },
            first,
            length,
            text: false,
        };
        column.check()
    }

    /// Arrow's binary and string types; `offset_bytes` is 4 or 8.
    #[staticmethod]
    #[pyo3(signature = (data, offsets, offset_bytes, first, length, *, text))]
    fn variable(
        data: &Bound<'_, PyAny>,
        offsets: &Bound<'_, PyAny>,
        offset_bytes: usize,
        first: usize,
        length: usize,
        text: bool,
    ) -> PyResult<Self> {
        let layout = match offset_bytes {
            4 => Layout::Offsets32,
            8 => Layout::Offsets64,
            _ => return Err(error::bad_value("offset_bytes must be 4 or 8")),
        };
        let (data, offsets) = (buffer(data)?, Some(buffer(offsets)?));
        Column { data, offsets, layout, first, length, text }.check()
    }

    /// Native 64-bit integers.
    #[staticmethod]
    fn integers(data: &Bound<'_, PyAny>, first: usize, length: usize) -> PyResult<Self> {
        let data = buffer(data)?;
        Column { data, offsets: None, layout: Layout::Integers, first, length, text: false }.check()
    }

    fn __len__(&self) -> usize {
        self.length
    }
}

fn buffer(object: &Bound<'_, PyAny>) -> PyResult<PyUntypedBuffer> {
    let buffer = PyUntypedBuffer::get(object)?;
    if buffer.is_c_contiguous() { Ok(buffer) } else { Err(error::bad_value("a column's memory must be contiguous")) }
}

fn slice(buffer: &PyUntypedBuffer) -> &[u8] {
    if buffer.len_bytes() == 0 {
        return &[];
    }
    // Safety: contiguous (checked on the way in), and kept in place by the export.
    unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) }
}

impl Column {
    /// The rows must lie inside the memory, so that reading them cannot fail later.
    fn check(self) -> PyResult<Self> {
        let end = self.first.checked_add(self.length);
        let offset_bytes = if matches!(self.layout, Layout::Offsets32) { 4 } else { 8 };
        let inside = end.is_some_and(|end| match self.layout {
            Layout::Fixed { width, .. } => end.checked_mul(width).is_some_and(|bytes| bytes <= self.data.len_bytes()),
            Layout::Integers => end.checked_mul(8).is_some_and(|bytes| bytes <= self.data.len_bytes()),
            Layout::Offsets32 | Layout::Offsets64 => {
                let offsets = self.offsets.as_ref().map_or(0, PyUntypedBuffer::len_bytes);
                end.checked_add(1).and_then(|ends| ends.checked_mul(offset_bytes)).is_some_and(|bytes| bytes <= offsets)
            }
        });
        let ordered = inside
            && (self.offsets.is_none()
                || (0..self.length).all(|row| {
                    let (start, stop) = (self.offset(row), self.offset(row + 1));
                    start <= stop && stop <= self.data.len_bytes()
                }));
        if ordered { Ok(self) } else { Err(error::bad_value("a column's rows lie outside its memory")) }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn bytes(&self) -> usize {
        match self.layout {
            Layout::Fixed { width, .. } => width * self.length,
            Layout::Integers => 9 * self.length,
            Layout::Offsets32 | Layout::Offsets64 => self.offset(self.length) - self.offset(0),
        }
    }

    /// Where a row begins in the data; an impossible offset becomes one `check` refuses.
    fn offset(&self, row: usize) -> usize {
        let Some(offsets) = &self.offsets else { return 0 };
        let (bytes, at) = (slice(offsets), self.first + row);
        let offset = if matches!(self.layout, Layout::Offsets32) {
            i64::from(i32::from_ne_bytes(item(bytes, at)))
        } else {
            i64::from_ne_bytes(item(bytes, at))
        };
        usize::try_from(offset).unwrap_or(usize::MAX)
    }

    #[inline]
    fn row<'a>(&'a self, data: &'a [u8], row: usize, scratch: &'a mut [u8; SHORT]) -> &'a [u8] {
        match self.layout {
            Layout::Fixed { width, trim } => {
                let start = (self.first + row) * width;
                let item = &data[start..start + width];
                if !trim {
                    return item;
                }
                &item[..item.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
            }
            Layout::Offsets32 | Layout::Offsets64 => &data[self.offset(row)..self.offset(row + 1)],
            Layout::Integers => {
                let (bytes, length) = number::short(i64::from_ne_bytes(item(data, self.first + row)));
                *scratch = bytes;
                &scratch[..usize::from(length)]
            }
        }
    }

    pub fn each_with(
        &self,
        other: &Column,
        mut put: impl FnMut(&[u8], &[u8]) -> engine::Result<()>,
    ) -> engine::Result<()> {
        let (keys, values) = (slice(&self.data), slice(&other.data));
        let (mut key_scratch, mut value_scratch) = ([0; SHORT], [0; SHORT]);
        for row in 0..self.length {
            put(self.row(keys, row, &mut key_scratch), other.row(values, row, &mut value_scratch))?;
        }
        Ok(())
    }

    fn fits(&self, codec: &Kind) -> bool {
        match codec {
            Kind::Bytes => !matches!(self.layout, Layout::Integers),
            Kind::Text => self.text,
            Kind::Integer => matches!(self.layout, Layout::Integers),
            Kind::Tuple | Kind::Calls(_) => false,
        }
    }

    pub fn check_pair(&self, values: &Column, codecs: &Codecs) -> PyResult<()> {
        if self.length != values.length {
            return Err(error::bad_value(format!("{} keys and {} values", self.length, values.length)));
        }
        for (column, codec) in [(self, &codecs.key), (values, &codecs.value)] {
            if !column.fits(codec) {
                return Err(PyTypeError::new_err(format!(
                    "this column's type is not what codec {:?} stores",
                    codec.name()
                )));
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn item<const N: usize>(bytes: &[u8], index: usize) -> [u8; N] {
    let mut item = [0; N];
    item.copy_from_slice(&bytes[index * N..(index + 1) * N]);
    item
}
