//! Salvage of a damaged database, and what it and a check tell of damage.

use crate::progress;
use lyredb_engine as engine;
use lyredb_engine::{Problem, SalvageOptions};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::path::PathBuf;

/// A dict each.
pub fn problems(py: Python<'_>, problems: Vec<Problem>) -> PyResult<Bound<'_, PyList>> {
    let all = PyList::empty(py);
    for problem in problems {
        let entry = PyDict::new(py);
        let (start, stop) = problem.keys.map_or((None, None), |keys| (Some(keys.start), keys.stop));
        entry.set_item("path", problem.path)?;
        entry.set_item("offset", problem.offset)?;
        entry.set_item("family", problem.family)?;
        entry.set_item("what", problem.what)?;
        entry.set_item("start", start.map(|key| PyBytes::new(py, &key)))?;
        entry.set_item("stop", stop.map(|key| PyBytes::new(py, &key)))?;
        all.append(entry)?;
    }
    Ok(all)
}

/// The report as a dict; families and problems are dicts too.
#[pyfunction]
pub fn salvage<'py>(
    py: Python<'py>,
    path: PathBuf,
    destination: PathBuf,
    all: bool,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = SalvageOptions { all, ..SalvageOptions::default() };
    let report = progress::run(py, progress, |progress| engine::salvage(&path, &destination, &options, progress))?;
    let families = PyList::empty(py);
    for family in report.families {
        let entry = PyDict::new(py);
        entry.set_item("name", family.name)?;
        entry.set_item("records", family.records)?;
        entry.set_item("lost_records", family.lost_records)?;
        entry.set_item("apart", family.is_apart)?;
        families.append(entry)?;
    }
    let values = report.lost_values.into_iter().map(|(family, key)| (family, PyBytes::new(py, &key)));
    let answer = PyDict::new(py);
    answer.set_item("families", families)?;
    answer.set_item("ok", report.is_whole)?;
    answer.set_item("problems", problems(py, report.problems)?)?;
    answer.set_item("lost_versions", report.lost_versions)?;
    answer.set_item("lost_values", values.collect::<Vec<_>>())?;
    answer.set_item("unplaced_records", report.unplaced_records)?;
    Ok(answer)
}
