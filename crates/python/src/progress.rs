//! Long calls run without the GIL, and come back for it now and then: for Ctrl-C and for the caller's progress function.

use crate::ending;
use crate::error::OrRaise;
use lyredb_engine::{Progress, Result};
use pyo3::prelude::*;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` detached. `report(done, total)` is called, if it is not None, with the first figures, with those at least
/// 50 ms later, and so on, and with the last ones when all is done.
pub fn run<T: Send>(
    py: Python<'_>,
    report: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Progress<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let report: Option<Py<PyAny>> = report.filter(|report| !report.is_none()).map(|report| report.clone().unbind());
    let mut raised: Option<PyErr> = None;
    let mut unreported = None;
    let result = py.detach(|| {
        let mut due = if report.is_some() { Instant::now() } else { Instant::now() + INTERVAL };
        let mut progress = |done: u64, total: u64| -> bool {
            if Instant::now() < due {
                unreported = Some((done, total));
                return true;
            }
            unreported = None;
            let outcome = Python::try_attach(|py| {
                py.check_signals()?;
                if let Some(report) = &report {
                    ending::call(report.bind(py), &(done, total).into_pyobject(py)?, None)?;
                }
                PyResult::Ok(())
            });
            due = Instant::now() + INTERVAL;
            match outcome {
                Some(Ok(())) => true,
                Some(Err(error)) => {
                    raised = Some(error);
                    false
                }
                // The interpreter is on its way out, and this thread will go no further than back to it.
                None => false,
            }
        };
        work(&mut progress)
    });
    // The exception of the caller's function or of the signal says more than "interrupted".
    if let Some(error) = raised {
        return Err(error);
    }
    let answer = result.or_raise()?;
    if let (Some(report), Some(last)) = (report, unreported) {
        ending::call(report.bind(py), &last.into_pyobject(py)?, None)?;
    }
    Ok(answer)
}
