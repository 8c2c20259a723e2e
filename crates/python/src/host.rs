//! The program around the engine is Python: where in it snapshots are opened, and how it is warned.

use lyredb_engine::{Host, OpenSnapshot, Origin, Warning};
use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::collections::HashMap;
use std::ffi::c_ulong;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

unsafe extern "C" {
    // Part of the stable interface (pythread.h).
    safe fn PyThread_get_thread_ident() -> c_ulong;
}

/// What warnings are logged under, and which database they are of.
#[derive(Debug)]
pub struct Program {
    pub database: PathBuf,
}

impl Host for Program {
    fn origin(&self) -> Option<Origin> {
        // SAFETY: asks about the calling thread only.
        let attached = unsafe { ffi::PyGILState_Check() } != 0;
        let place = attached
            // SAFETY: the thread is attached, as was just seen.
            .then(|| calling_place(unsafe { Python::assume_attached() }).ok().flatten())
            .flatten();
        Some(Origin { thread: PyThread_get_thread_ident() as u64, place })
    }

    fn memory_is_short(&self) {
        crate::allocator::give_freed_memory_back_soon();
    }

    /// In a thread of its own: the caller may be waited for by who holds the GIL, and handlers may do anything.
    fn warn(&self, warning: &Warning) {
        let (database, warning) = (self.database.clone(), warning.clone());
        let log = move || {
            // None: the interpreter is on its way out, and nobody is left to be told.
            Python::try_attach(|py| {
                let text = |py| {
                    let text = format!("{}: {}", database.display(), describe(py, &warning)?);
                    py.import("logging")?.call_method1("getLogger", ("lyredb",))?.call_method1("warning", ("%s", text))
                };
                text(py).map(drop).unwrap_or_else(|error| error.write_unraisable(py, None));
            });
        };
        if let Err(error) = std::thread::Builder::new().name("lyredb-warning".into()).spawn(log) {
            eprintln!("lyredb: a warning could not be logged: {error}");
        }
    }
}

fn describe(py: Python<'_>, warning: &Warning) -> PyResult<String> {
    Ok(match warning {
        Warning::HeldBack { snapshot, bytes } => {
            let mebibytes = *bytes as f64 / f64::from(1 << 20);
            format!(
                "a snapshot, transaction or scan opened {} keeps {mebibytes:.1} MiB of old versions in memory \
                 (held_back_bytes); close it, or give the transaction a timeout",
                opened(py, snapshot)?
            )
        }
        Warning::Maintenance { why } => format!("maintenance failed and will be tried again: {why}"),
    })
}

fn opened(py: Python<'_>, snapshot: &OpenSnapshot) -> PyResult<String> {
    let mut text = format!("{:.0} s ago", snapshot.age().as_secs_f64());
    if let Some(origin) = &snapshot.origin {
        if let Some((file, line)) = &origin.place {
            text += &format!(" at {file}:{line}");
        }
        text += &format!(" by thread {}", thread_name(py, origin.thread)?);
    }
    Ok(text)
}

/// What `threading` calls it, or its number once it has ended.
pub fn thread_name(py: Python<'_>, ident: u64) -> PyResult<String> {
    for thread in py.import("threading")?.call_method0("enumerate")?.try_iter()? {
        let thread = thread?;
        if thread.getattr("ident")?.extract::<Option<u64>>()? == Some(ident) {
            return thread.getattr("name")?.extract();
        }
    }
    Ok(format!("{ident}, which has ended"))
}

/// A source file's name as Python has it, and whether it is one of ours.
struct File {
    /// Keeps the address, which is what it is found by, from being another's.
    _name: Py<PyString>,
    text: Arc<str>,
    is_ours: bool,
}

/// Files are few, but programs may make code under ever new names.
const MOST_FILES: usize = 1024;
static FILES: Mutex<Option<HashMap<usize, File>>> = Mutex::new(None);

/// File and line of the innermost call that is not the package's own.
fn calling_place(py: Python<'_>) -> PyResult<Option<(Arc<str>, u32)>> {
    // SAFETY: attached; the frame is borrowed, and null outside of any Python code.
    let mut frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) };
    while let Some(here) = frame {
        let at: *mut ffi::PyFrameObject = here.as_ptr().cast();
        // SAFETY: `at` is a frame; a new reference to its code.
        let code = unsafe { Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(at).cast()) };
        let name = code.getattr(intern!(py, "co_filename"))?;
        if let Some(file) = users_file(name.cast::<PyString>()?)? {
            // SAFETY: `at` is a frame.
            let line = unsafe { ffi::PyFrame_GetLineNumber(at) };
            return Ok(Some((file, u32::try_from(line).unwrap_or(0))));
        }
        // SAFETY: `at` is a frame; a new reference to its caller's, or null.
        frame = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyFrame_GetBack(at).cast()) };
    }
    Ok(None)
}

/// The name, if the file is not one of the package's own.
fn users_file(name: &Bound<'_, PyString>) -> PyResult<Option<Arc<str>>> {
    let address = name.as_ptr() as usize;
    let answer = |file: &File| (!file.is_ours).then(|| Arc::clone(&file.text));
    if let Some(file) = FILES.lock().get_or_insert_default().get(&address) {
        return Ok(answer(file));
    }
    let text: Arc<str> = name.to_string_lossy().into();
    let is_ours = text.starts_with(package(name.py())?);
    let file = File { _name: name.clone().unbind(), text, is_ours };
    let found = answer(&file);
    // Dropped names are given back without the lock, as that may run anything.
    let dropped = {
        let mut files = FILES.lock();
        let files = files.get_or_insert_default();
        let dropped = if files.len() >= MOST_FILES { std::mem::take(files) } else { HashMap::new() };
        files.insert(address, file);
        dropped
    };
    drop(dropped);
    Ok(found)
}

/// The folder of the package, with a separator at its end.
fn package(py: Python<'_>) -> PyResult<&'static str> {
    static FOLDER: OnceLock<String> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let file: String = py.import("lyredb")?.getattr("__file__")?.extract()?;
    let folder = file.strip_suffix("__init__.py").unwrap_or(&file).to_string();
    Ok(FOLDER.get_or_init(|| folder))
}
