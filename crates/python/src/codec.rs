//! How keys and values of a family become bytes and come back.

use crate::convert::{self, Encoded};
use crate::ending;
use crate::{error, number, tuple};
use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};
use std::sync::Arc;

/// Python callables: JSON, msgpack and codecs of the user's own.
pub struct Calls {
    name: String,
    encode: Py<PyAny>,
    decode: Py<PyAny>,
    /// `encode` gives and `decode` takes a str instead of bytes.
    text: bool,
}

#[derive(Clone)]
pub enum Kind {
    Bytes,
    Text,
    Integer,
    Tuple,
    Calls(Arc<Calls>),
}

/// A decoded object, or the raw material of one: `finish` makes the object of it. Two steps, because the first runs
/// while the engine holds its record still, where no Python code may run. None: an exception is set.
pub type Raw<'py> = Option<Bound<'py, PyAny>>;

fn owned<'py>(py: Python<'py>, pointer: *mut ffi::PyObject) -> Raw<'py> {
    // Safety: the callers pass a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_opt(py, pointer) }
}

#[inline(always)]
fn new_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> Raw<'py> {
    // Safety: copies `len` bytes from a slice of that length; a length above isize cannot be.
    owned(py, unsafe { ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t) })
}

#[inline(always)]
fn new_text<'py>(py: Python<'py>, bytes: &[u8]) -> Raw<'py> {
    // Safety: as above; text that is not UTF-8 sets an exception.
    owned(py, unsafe { ffi::PyUnicode_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t) })
}

impl Kind {
    #[inline(always)]
    pub fn encode<'a>(&self, object: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Encoded<'a>> {
        if matches!(self, Kind::Bytes)
            && let Some(bytes) = convert::bytes_of(object)
        {
            return Ok(Encoded::Borrowed(bytes));
        }
        self.encode_other(object, what)
    }

    fn encode_other<'a>(&self, object: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Encoded<'a>> {
        match self {
            Kind::Bytes => convert::buffer(object, what),
            Kind::Text => match object.cast::<PyString>() {
                Ok(text) => Ok(Encoded::Borrowed(text.to_str()?.as_bytes())),
                Err(_) => Err(error::wrong_type(what, "a str", object)),
            },
            Kind::Integer => integer(object, what),
            Kind::Tuple => tuple::encode(object, what).map(Encoded::Long),
            Kind::Calls(calls) => calls.encode(object, what),
        }
    }

    /// Runs no Python code.
    #[inline(always)]
    pub fn read<'py>(&self, py: Python<'py>, bytes: &[u8]) -> Raw<'py> {
        match self {
            Kind::Bytes => new_bytes(py, bytes),
            Kind::Text => new_text(py, bytes),
            Kind::Integer => match number::read_small(bytes) {
                // Safety: a new reference, or null with an exception set.
                Some(value) => owned(py, unsafe { ffi::PyLong_FromLongLong(value) }),
                None => new_bytes(py, bytes),
            },
            Kind::Tuple => new_bytes(py, bytes),
            Kind::Calls(calls) if calls.text => new_text(py, bytes),
            Kind::Calls(_) => new_bytes(py, bytes),
        }
    }

    #[inline(always)]
    pub fn finish<'py>(&self, py: Python<'py>, raw: Raw<'py>) -> PyResult<Bound<'py, PyAny>> {
        match raw {
            Some(object) if self.is_final() => Ok(object),
            Some(raw) => self.finish_other(py, raw),
            None => Err(undecodable(py)),
        }
    }

    fn finish_other<'py>(&self, py: Python<'py>, raw: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Kind::Integer => match raw.cast::<PyBytes>() {
                Ok(bytes) => match number::read(bytes.as_bytes()) {
                    Ok((value, length)) if length == bytes.as_bytes().len() => tuple::number(py, value),
                    _ => Err(error::codec(number::Malformed.to_string())),
                },
                Err(_) => Ok(raw),
            },
            Kind::Tuple => tuple::decode(py, raw.cast::<PyBytes>()?.as_bytes()),
            Kind::Calls(calls) => ending::call_one(calls.decode.bind(py), &raw),
            Kind::Bytes | Kind::Text => Ok(raw),
        }
    }

    #[inline]
    pub fn decode<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        self.finish(py, self.read(py, bytes))
    }

    /// The byte above every key that begins with a prefix of this codec's, if it has prefixes at all.
    pub fn prefix_end(&self) -> PrefixEnd {
        match self {
            Kind::Bytes | Kind::Text => PrefixEnd::Bytes,
            Kind::Tuple => PrefixEnd::Below(tuple::ABOVE_ELEMENTS),
            Kind::Integer | Kind::Calls(_) => PrefixEnd::None,
        }
    }

    /// Whether `read` gives the decoded object itself.
    #[inline(always)]
    pub fn is_final(&self) -> bool {
        matches!(self, Kind::Bytes | Kind::Text)
    }

    /// Whether what it decodes to is a bytes, a str or an int: nothing the garbage collector must follow.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        matches!(self, Kind::Bytes | Kind::Text | Kind::Integer)
    }

    pub fn name(&self) -> &str {
        match self {
            Kind::Bytes => "bytes",
            Kind::Text => "str",
            Kind::Integer => "int",
            Kind::Tuple => "tuple",
            Kind::Calls(calls) => &calls.name,
        }
    }
}

pub enum PrefixEnd {
    Bytes,
    Below(u8),
    None,
}

/// Stored bytes that are no text raise CodecError; lack of memory stays what it is.
#[cold]
fn undecodable(py: Python<'_>) -> PyErr {
    let error = PyErr::fetch(py);
    if error.is_instance_of::<PyUnicodeDecodeError>(py) {
        return error::codec(format!("the stored bytes are not UTF-8 text: {}", error.value(py)));
    }
    error
}

fn integer<'a>(object: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Encoded<'a>> {
    if object.is_instance_of::<PyInt>()
        && let Some(value) = tuple::small(object)
    {
        let (bytes, length) = number::short(value);
        return Ok(Encoded::Short(bytes, length));
    }
    if !object.hasattr("__index__")? {
        return Err(error::wrong_type(what, "an int", object));
    }
    let mut out = Vec::new();
    tuple::write_integer(object, &mut out)?;
    Ok(Encoded::Long(out))
}

impl Calls {
    fn encode<'a>(&self, object: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Encoded<'a>> {
        let py = object.py();
        let result = ending::call_one(self.encode.bind(py), object)?;
        if self.text {
            let text = result.cast::<PyString>().map_err(|_| self.wrong_result("str", what, &result))?;
            return Ok(Encoded::Long(text.to_str()?.as_bytes().to_vec()));
        }
        match result.cast_into::<PyBytes>() {
            Ok(bytes) => Ok(Encoded::Object(bytes)),
            Err(other) => Err(self.wrong_result("bytes", what, &other.into_inner())),
        }
    }

    fn wrong_result(&self, wanted: &str, what: &str, result: &Bound<'_, PyAny>) -> PyErr {
        error::wrong_type(&format!("what codec {:?} makes of a {what}", self.name), wanted, result)
    }
}

/// A codec: `encode` makes bytes of an object, `decode` the object of the bytes.
#[pyclass(frozen, module = "lyredb._engine")]
pub struct Codec {
    pub kind: Kind,
}

#[pymethods]
impl Codec {
    /// One of "bytes", "str", "int", "tuple".
    #[new]
    fn new(name: &str) -> PyResult<Self> {
        let kind = match name {
            "bytes" => Kind::Bytes,
            "str" => Kind::Text,
            "int" => Kind::Integer,
            "tuple" => Kind::Tuple,
            _ => return Err(error::config(format!("there is no built-in codec {name:?}"))),
        };
        Ok(Codec { kind })
    }

    /// A codec made of two functions; with `text` they give and take str, which is stored as UTF-8.
    #[staticmethod]
    #[pyo3(signature = (name, encode, decode, *, text=false))]
    fn of(name: String, encode: Py<PyAny>, decode: Py<PyAny>, text: bool) -> Self {
        Codec { kind: Kind::Calls(Arc::new(Calls { name, encode, decode, text })) }
    }

    #[getter]
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn encode<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(value.py(), &self.kind.encode(value, "value")?))
    }

    fn decode<'py>(&self, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let bytes = Kind::Bytes.encode(data, "data")?;
        self.kind.decode(data.py(), &bytes)
    }

    fn __repr__(&self) -> String {
        format!("Codec({:?})", self.kind.name())
    }
}
