//! Tuples as bytes that compare as the tuples do.
//!
//! ```text
//! None            01
//! number          see number.rs (0E..=72); bool counts as 0 and 1
//! str             80  UTF-8, escaped   00
//! bytes           81  bytes, escaped   00
//! tuple           82  elements         00      (the outermost one has neither 82 nor 00)
//! escaped         00 -> 01 01, 01 -> 01 02, others as they are
//! ```
//! Every element begins with a byte between 01 and 82: above the 00 that ends its predecessor, below the FF of a fraction.

use crate::error;
use crate::number::{self, Malformed, Number};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyString, PyTuple};

const END: u8 = 0x00;
const NONE: u8 = 0x01;
const ESCAPE: u8 = 0x01;
const TEXT: u8 = 0x80;
const BYTES: u8 = 0x81;
const TUPLE: u8 = 0x82;
const DEEPEST: usize = 64;

/// Keys that begin with the elements of an encoded tuple lie below it plus this byte.
pub const ABOVE_ELEMENTS: u8 = 0xff;

pub fn encode(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<u8>> {
    let Ok(tuple) = object.cast::<PyTuple>() else { return Err(error::wrong_type(what, "a tuple", object)) };
    let mut out = Vec::with_capacity(48);
    write_elements(tuple, &mut out, 0)?;
    Ok(out)
}

fn write_elements(tuple: &Bound<'_, PyTuple>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    if depth > DEEPEST {
        return Err(error::bad_value(format!("tuples nest deeper than {DEEPEST}")));
    }
    for element in tuple.iter_borrowed() {
        write(&element, out, depth)?;
    }
    Ok(())
}

fn write(element: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    if let Ok(text) = element.cast::<PyString>() {
        out.push(TEXT);
        escape(text.to_str()?.as_bytes(), out);
    } else if element.is_instance_of::<PyInt>() {
        write_integer(element, out)?;
    } else if let Ok(value) = element.cast::<PyFloat>() {
        number::write_real(out, value.value()).map_err(|_| error::bad_value("NaN has no place in an order of keys"))?;
    } else if element.is_none() {
        out.push(NONE);
    } else if let Ok(bytes) = element.cast::<PyBytes>() {
        out.push(BYTES);
        escape(bytes.as_bytes(), out);
    } else if let Ok(tuple) = element.cast::<PyTuple>() {
        out.push(TUPLE);
        write_elements(tuple, out, depth + 1)?;
        out.push(END);
    } else if element.hasattr("__index__")? {
        write_integer(element, out)?;
    } else {
        return Err(error::wrong_type("a tuple's element", "None, bool, int, float, str, bytes or a tuple", element));
    }
    Ok(())
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            0 | 1 => out.extend([ESCAPE, byte + 1]),
            byte => out.push(*byte),
        }
    }
    out.push(END);
}

/// Any object with `__index__`.
pub fn write_integer(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = object.py();
    // Safety: a new reference, or null with an exception set, as from_owned_ptr_or_err expects.
    let integer = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Index(object.as_ptr()))? };
    if let Some(value) = small(&integer) {
        number::write_small(out, value);
        return Ok(());
    }
    let negative = integer.lt(0)?;
    let magnitude = integer.abs()?;
    let bits: usize = magnitude.call_method0("bit_length")?.extract()?;
    let digits = magnitude.call_method1("to_bytes", (bits.div_ceil(8), "big"))?;
    number::write_big(out, negative, digits.cast::<PyBytes>()?.as_bytes());
    Ok(())
}

/// The value of an int (or bool) that fits 64 bits.
#[inline]
pub fn small(integer: &Bound<'_, PyAny>) -> Option<i64> {
    let mut overflow = 0;
    // Safety: the callers pass an int; no error can be set for one.
    let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(integer.as_ptr(), &mut overflow) };
    if overflow == 0 { Some(value) } else { None }
}

pub fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader { bytes, at: 0 };
    let tuple = reader.elements(py, false, 0)?;
    if reader.at != bytes.len() {
        return Err(malformed());
    }
    Ok(tuple.into_any())
}

fn malformed() -> PyErr {
    error::codec(Malformed.to_string())
}

pub fn number<'py>(py: Python<'py>, number: Number) -> PyResult<Bound<'py, PyAny>> {
    match number {
        Number::Small(value) => Ok(value.into_pyobject(py)?.into_any()),
        Number::Real(value) => Ok(PyFloat::new(py, value).into_any()),
        Number::Big { negative, magnitude } => {
            let value = py.get_type::<PyInt>().call_method1("from_bytes", (PyBytes::new(py, &magnitude), "big"))?;
            if negative { value.neg() } else { Ok(value) }
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn elements<'py>(&mut self, py: Python<'py>, nested: bool, depth: usize) -> PyResult<Bound<'py, PyTuple>> {
        if depth > DEEPEST {
            return Err(malformed());
        }
        let mut elements: Vec<Bound<'py, PyAny>> = Vec::with_capacity(8);
        loop {
            let Some(tag) = self.bytes.get(self.at).copied() else {
                if nested {
                    return Err(malformed());
                }
                break;
            };
            if tag == END && nested {
                self.at += 1;
                break;
            }
            elements.push(self.element(py, tag, depth)?);
        }
        PyTuple::new(py, elements)
    }

    fn element<'py>(&mut self, py: Python<'py>, tag: u8, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        match tag {
            NONE => {
                self.at += 1;
                Ok(py.None().into_bound(py))
            }
            number::LOWEST..=number::HIGHEST => {
                let (value, length) = number::read(&self.bytes[self.at..]).map_err(|_| malformed())?;
                self.at += length;
                number(py, value)
            }
            TEXT => {
                let bytes = self.unescape()?;
                let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
                Ok(PyString::new(py, text).into_any())
            }
            BYTES => Ok(PyBytes::new(py, &self.unescape()?).into_any()),
            TUPLE => {
                self.at += 1;
                Ok(self.elements(py, true, depth + 1)?.into_any())
            }
            _ => Err(malformed()),
        }
    }

    fn unescape(&mut self) -> PyResult<std::borrow::Cow<'_, [u8]>> {
        let start = self.at + 1;
        let length = self.bytes[start..].iter().position(|byte| *byte == END).ok_or_else(malformed)?;
        self.at = start + length + 1;
        let escaped = &self.bytes[start..start + length];
        if !escaped.contains(&ESCAPE) {
            return Ok(escaped.into());
        }
        let mut out = Vec::with_capacity(length);
        let mut bytes = escaped.iter();
        while let Some(byte) = bytes.next() {
            out.push(match *byte {
                ESCAPE => match bytes.next() {
                    Some(code @ 1..=2) => code - 1,
                    _ => return Err(malformed()),
                },
                byte => byte,
            });
        }
        Ok(out.into())
    }
}
