//! Engine errors as Python exceptions. The classes are Python's (lyredb/db/errors.py): users see and document those.

use crate::ending;
use lyredb_engine::Error;
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyInt, PyList, PySlice, PyString, PyTuple, PyType};
use std::io;
use std::path::Path;

static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// The module of the exceptions. Loaded before there can be any: when the interpreter ends, nothing can be imported.
pub fn load(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    let module = MODULE.get_or_try_init(py, || PyModule::import(py, "lyredb.db.errors").map(Bound::unbind))?;
    Ok(module.bind(py))
}

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    Ok(load(py)?.getattr(name)?.cast_into::<PyType>()?)
}

/// What a LyreDB exception carries beside its message.
#[derive(Default)]
struct About<'a> {
    path: Option<&'a Path>,
    offset: Option<u64>,
    suggestion: Option<String>,
}

fn raise(name: &str, message: String, about: About<'_>) -> PyErr {
    Python::attach(|py| {
        let build = || -> PyResult<PyErr> {
            let options = PyDict::new(py);
            options.set_item("path", about.path.map(|path| path.to_string_lossy().into_owned()))?;
            options.set_item("offset", about.offset)?;
            if about.suggestion.is_some() {
                options.set_item("suggestion", about.suggestion)?;
            }
            let arguments = PyTuple::new(py, [message])?;
            Ok(PyErr::from_value(ending::call(class(py, name)?.as_any(), &arguments, Some(&options))?))
        };
        build().unwrap_or_else(|failure| failure)
    })
}

#[cold]
pub fn forked() -> PyErr {
    raise("ForkedError", "the database was opened before this process was forked".into(), About::default())
}

#[cold]
pub fn ended(what: &str) -> PyErr {
    let suggestion = Some("make a new one".into());
    raise("ClosedError", format!("the {what} is closed"), About { suggestion, ..About::default() })
}

#[cold]
pub fn config(message: String) -> PyErr {
    raise("ConfigError", message, About::default())
}

#[cold]
pub fn codec(message: String) -> PyErr {
    raise("CodecError", message, About::default())
}

#[cold]
pub fn wrong_type(what: &str, accepted: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let name = given.get_type().qualname().map_or_else(|_| "?".into(), |name| name.to_string());
    let hint = if given.is_instance_of::<PySlice>() { "; a range of keys is db.scan(start, stop)" } else { "" };
    PyTypeError::new_err(format!("{what} must be {accepted}, not {name}{hint}"))
}

/// Something other than bytes in a family of bytes, which is what a family is unless it is told otherwise.
#[cold]
pub fn not_bytes(what: &str, accepted: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let role = match what {
        "key" | "start" | "stop" | "prefix" => "key",
        "value" => "value",
        _ => return wrong_type(what, accepted, given),
    };
    let codec = if given.is_instance_of::<PyString>() {
        "str"
    } else if given.is_instance_of::<PyInt>() {
        "int"
    } else if given.is_instance_of::<PyTuple>() {
        "tuple"
    } else if role == "value" && (given.is_instance_of::<PyDict>() || given.is_instance_of::<PyList>()) {
        "json"
    } else {
        return wrong_type(what, accepted, given);
    };
    let error = wrong_type(what, accepted, given);
    let message = error.value(given.py());
    PyTypeError::new_err(format!("{message}; make it bytes, or open the family with {role}=\"{codec}\""))
}

#[cold]
pub fn pickled(what: &str, how: &str) -> PyErr {
    PyTypeError::new_err(format!("cannot pickle a LyreDB {what}: {how}"))
}

/// `?` turns an engine's error into this, and this into a Python exception.
pub struct Raised(PyErr);

impl From<Error> for Raised {
    #[cold]
    fn from(error: Error) -> Self {
        Raised(translate(error))
    }
}

impl From<Raised> for PyErr {
    fn from(raised: Raised) -> PyErr {
        raised.0
    }
}

pub trait OrRaise<T> {
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for lyredb_engine::Result<T> {
    #[inline(always)]
    fn or_raise(self) -> PyResult<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(Raised::from(error).into()),
        }
    }
}

fn translate(error: Error) -> PyErr {
    let message = error.to_string();
    let nothing = About::default();
    let at = |path| About { path: Some(path), ..About::default() };
    match &error {
        Error::Io { operation, path, source } => system(operation, path, source),
        Error::NotFound { path } => PyFileNotFoundError::new_err((
            errno_of(io::ErrorKind::NotFound),
            "no LyreDB database here (create=True makes one)",
            path.to_string_lossy().into_owned(),
        )),
        Error::Corruption { path, offset, .. } => {
            raise("CorruptionError", message, About { path: Some(path), offset: *offset, suggestion: None })
        }
        Error::NotADatabase { path, .. } => raise("NotADatabaseError", message, at(path)),
        Error::NewerFormat { path, .. } => raise("NewerFormatError", message, at(path)),
        Error::Locked { path, .. } => raise("LockedError", message, at(path)),
        Error::ReadOnly => raise("ReadOnlyError", message, nothing),
        Error::Closed => raise("ClosedError", message, nothing),
        Error::Poisoned { .. } => raise("PoisonedError", message, nothing),
        Error::Conflict { .. } => raise("ConflictError", message, nothing),
        Error::TimedOut { .. } => raise("TransactionTimeoutError", message, nothing),
        Error::TransactionEnded => raise("TransactionEndedError", message, nothing),
        Error::NoSuchSavepoint => raise("SavepointError", message, nothing),
        Error::KeyTooLarge { .. } => raise("KeyTooLargeError", message, nothing),
        Error::ValueTooLarge { .. } => raise("ValueTooLargeError", message, nothing),
        Error::Config { .. } => raise("ConfigError", message, nothing),
        Error::NoSuchFamily(_) => raise("FamilyNotFoundError", message, nothing),
        Error::FamilyExists(_) => raise("FamilyExistsError", message, nothing),
        Error::Interrupted => raise("InterruptedOperationError", message, nothing),
        _ => raise("Error", message, nothing),
    }
}

/// Python picks FileNotFoundError, PermissionError, ... by the number.
fn system(operation: &str, path: &Path, source: &io::Error) -> PyErr {
    let number = source.raw_os_error().unwrap_or_else(|| errno_of(source.kind()));
    // The number stands before the text, and the standard library puts it behind it once more.
    let said = source.to_string();
    let said = said.strip_suffix(&format!(" (os error {number})")).unwrap_or(&said);
    let text = format!("{operation}: {said}");
    if number == 0 {
        return PyOSError::new_err(format!("{text}: {}", path.display()));
    }
    PyOSError::new_err((number, text, path.to_string_lossy().into_owned()))
}

/// The POSIX number for errors that the standard library makes itself; 0 when there is none.
fn errno_of(kind: io::ErrorKind) -> i32 {
    match kind {
        io::ErrorKind::NotFound => 2,
        io::ErrorKind::PermissionDenied => 13,
        io::ErrorKind::AlreadyExists => 17,
        io::ErrorKind::NotADirectory => 20,
        io::ErrorKind::IsADirectory => 21,
        io::ErrorKind::InvalidInput => 22,
        io::ErrorKind::StorageFull => 28,
        io::ErrorKind::ReadOnlyFilesystem => 30,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => 5,
        _ => 0,
    }
}

pub fn bad_value(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}
