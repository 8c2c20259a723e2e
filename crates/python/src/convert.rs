//! Arguments: bytes-like objects, seconds, settings.

use crate::error;
use crate::number::SHORT;
use lyredb_engine::tunables::Value;
use pyo3::buffer::PyBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDelta, PyDict, PyInt, PyString};
use std::ops::Deref;
use std::time::Duration;

/// Bytes to hand to the engine; what they are borrowed from lives as long.
pub enum Encoded<'a> {
    Borrowed(&'a [u8]),
    Short([u8; SHORT], u8),
    Long(Vec<u8>),
    Object(Bound<'a, PyBytes>),
    Buffer(PyBuffer<u8>),
}

impl Deref for Encoded<'_> {
    type Target = [u8];
    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            Encoded::Borrowed(bytes) => bytes,
            Encoded::Short(bytes, length) => &bytes[..usize::from(*length)],
            Encoded::Long(bytes) => bytes,
            Encoded::Object(bytes) => bytes.as_bytes(),
            // Safety: contiguous (asked for by PyBuffer::get and checked below); the export keeps the memory in place.
            // Python code that writes to it meanwhile makes the stored bytes a mixture, as with file.write().
            Encoded::Buffer(buffer) => match buffer.len_bytes() {
                0 => &[],
                length => unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), length) },
            },
        }
    }
}

/// The bytes of a `bytes` object, or None for any other type.
#[inline(always)]
pub fn bytes_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    // Safety: the check makes the cast right; a bytes object never changes, and the borrow keeps it alive.
    unsafe {
        if ffi::PyBytes_Check(object.as_ptr()) == 0 {
            return None;
        }
        let start = ffi::PyBytes_AS_STRING(object.as_ptr()).cast::<u8>();
        Some(std::slice::from_raw_parts(start, ffi::Py_SIZE(object.as_ptr()) as usize))
    }
}

/// bytearray, memoryview and whatever else exports a contiguous buffer.
#[cold]
pub fn buffer<'a>(object: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Encoded<'a>> {
    const ACCEPTED: &str = "bytes, bytearray or memoryview";
    // Safety: asks whether the type has buffer functions, nothing more.
    if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } == 0 || object.cast::<PyString>().is_ok() {
        return Err(error::not_bytes(what, ACCEPTED, object));
    }
    let untyped = pyo3::buffer::PyUntypedBuffer::get(object)?;
    if !untyped.is_c_contiguous() {
        return Err(error::bad_value(format!("{what} must be a contiguous buffer; copy it with bytes(...)")));
    }
    if untyped.format().to_bytes() == b"B" {
        return Ok(Encoded::Buffer(
            untyped.into_typed::<u8>().map_err(|_| error::bad_value(format!("{what} must be a buffer of bytes")))?,
        ));
    }
    // Other item types (array("d"), a numpy column) go in as their bytes.
    let mut copy = Vec::with_capacity(untyped.len_bytes());
    // Safety: contiguous, so its bytes are one run; the export keeps them in place during the copy.
    if untyped.len_bytes() > 0 {
        copy.extend_from_slice(unsafe {
            std::slice::from_raw_parts(untyped.buf_ptr().cast::<u8>(), untyped.len_bytes())
        });
    }
    Ok(Encoded::Long(copy))
}

/// Seconds (int, float) or a timedelta; None is None.
pub fn seconds(object: Option<&Bound<'_, PyAny>>, what: &str) -> PyResult<Option<Duration>> {
    let Some(object) = object.filter(|object| !object.is_none()) else { return Ok(None) };
    let wrong = || error::wrong_type(what, "a number of seconds, a timedelta or None", object);
    let seconds: f64 = if object.is_instance_of::<PyDelta>() {
        object.call_method0("total_seconds")?.extract()?
    } else if object.is_instance_of::<PyBool>() {
        return Err(wrong());
    } else {
        object.extract().map_err(|_| wrong())?
    };
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(error::bad_value(format!("{what} must be a positive number of seconds, not {seconds}")));
    }
    let too_long = |_| error::bad_value(format!("{what} is too long: {seconds:e} seconds"));
    Duration::try_from_secs_f64(seconds).map(Some).map_err(too_long)
}

pub fn setting<'py>(py: Python<'py>, value: Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Integer(value) => value.into_pyobject(py)?.into_any(),
        Value::Text(value) => PyString::new(py, &value).into_any(),
    })
}

pub fn settings(values: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Value)>> {
    values
        .iter()
        .map(|(name, value)| {
            let name: String = name.extract()?;
            let value = one_setting(&name, &value)?;
            Ok((name, value))
        })
        .collect()
}

fn one_setting(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    if value.is_instance_of::<PyBool>() {
        return Err(error::wrong_type(name, "an int or a str", value));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::Text(text.extract()?));
    }
    if value.is_instance_of::<PyInt>() || value.hasattr("__index__")? {
        return Ok(Value::Integer(value.extract()?));
    }
    Err(error::wrong_type(name, "an int or a str", value))
}
