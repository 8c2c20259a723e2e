//! Calls of Python code, during which the interpreter may end.
//!
//! Before Python 3.14, a thread that waits for the GIL when the interpreter ends is unwound by `pthread_exit`, and a
//! program that would have ended well is aborted when that comes to Rust. Here such a thread stops for ever instead, as it
//! does in 3.14, and ends with the process. PyO3 does the same where it takes the GIL itself, but not for the code that it
//! calls: it declares these functions as ones that do not unwind.

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

#[cfg(unix)]
mod raw {
    use super::PyObject;

    unsafe extern "C-unwind" {
        pub fn PyObject_Call(callable: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject;
        pub fn PyObject_CallOneArg(callable: *mut PyObject, arg: *mut PyObject) -> *mut PyObject;
        pub fn PyIter_Next(iterator: *mut PyObject) -> *mut PyObject;
        pub fn PySequence_Tuple(iterable: *mut PyObject) -> *mut PyObject;
    }
}
#[cfg(not(unix))]
use pyo3::ffi as raw;

/// The object behind a new reference, or the exception that was set.
fn owned(py: Python<'_>, work: impl FnOnce() -> *mut PyObject) -> PyResult<Bound<'_, PyAny>> {
    let stop = Stop;
    let result = work();
    std::mem::forget(stop);
    // Safety: all callers hand over a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

pub fn call_one<'py>(callable: &Bound<'py, PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // Safety: both are references to objects.
    owned(callable.py(), || unsafe { raw::PyObject_CallOneArg(callable.as_ptr(), argument.as_ptr()) })
}

pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = options.map_or(std::ptr::null_mut(), |options| options.as_ptr());
    // Safety: a callable, a tuple, and a dict or null.
    owned(callable.py(), || unsafe { raw::PyObject_Call(callable.as_ptr(), arguments.as_ptr(), options) })
}

/// The next object of an iterator; None at its end.
pub fn next<'py>(iterator: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let stop = Stop;
    // Safety: a reference to an iterator.
    let next = unsafe { raw::PyIter_Next(iterator.as_ptr()) };
    std::mem::forget(stop);
    if next.is_null() {
        return PyErr::take(iterator.py()).map_or(Ok(None), Err);
    }
    // Safety: a new reference.
    Ok(Some(unsafe { Bound::from_owned_ptr(iterator.py(), next) }))
}

pub fn tuple<'py>(iterable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    // Safety: a reference to an object.
    let tuple = owned(iterable.py(), || unsafe { raw::PySequence_Tuple(iterable.as_ptr()) })?;
    Ok(tuple.cast_into::<PyTuple>()?)
}
