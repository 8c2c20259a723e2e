//! Traces of accesses through the engine's miss-ratio curves and replacement policies.

use crate::error;
use crate::lock::Lock;
use lyredb_engine as engine;
use lyredb_engine::replacement::{Policy, Simulation};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;

const WORD: usize = size_of::<u64>();

/// What was asked for, and how large each is: 1 without sizes.
struct Trace {
    identities: Vec<u64>,
    sizes: Option<Vec<u32>>,
}

impl Trace {
    fn new(identities: &Bound<'_, PyAny>, sizes: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let identities = integers(identities, "identities")?;
        let sizes = sizes.map(|sizes| integers(sizes, "sizes")).transpose()?;
        if let Some(sizes) = &sizes
            && sizes.len() != identities.len()
        {
            return Err(error::bad_value(format!("{} identities and {} sizes", identities.len(), sizes.len())));
        }
        Ok(Trace { identities, sizes: sizes.map(|sizes| sizes.into_iter().map(size).collect()).transpose()? })
    }

    fn accesses(&self) -> impl Iterator<Item = (u64, u32)> {
        let size = |at| self.sizes.as_ref().map_or(1, |sizes| sizes[at]);
        self.identities.iter().enumerate().map(move |(at, identity)| (*identity, size(at)))
    }
}

fn size(size: u64) -> PyResult<u32> {
    u32::try_from(size)
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| error::bad_value(format!("a size must be from 1 to {} bytes, not {size}", u32::MAX)))
}

fn integers(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<u64>> {
    let buffer = PyUntypedBuffer::get(object)?;
    let (format, length) = (buffer.format().to_bytes(), buffer.len_bytes());
    if buffer.item_size() != WORD || !matches!(format, b"q" | b"Q" | b"l" | b"L") || !buffer.is_c_contiguous() {
        return Err(error::bad_value(format!("{what} must be a contiguous buffer of integers of 64 bits")));
    }
    if length == 0 {
        return Ok(Vec::new());
    }
    // Safety: contiguous, so its bytes are one run, which the export keeps in place during the copy.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), length) };
    Ok(bytes.as_chunks::<WORD>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
}

#[pyclass(frozen, module = "lyredb._engine")]
pub struct MissRatioCurve(Lock<engine::MissRatioCurve>);

#[pymethods]
impl MissRatioCurve {
    #[new]
    #[pyo3(signature = (*, most_samples, rate))]
    fn new(most_samples: usize, rate: f64) -> PyResult<Self> {
        if most_samples == 0 {
            return Err(error::bad_value("most_samples must be 1 at least"));
        }
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(error::bad_value(format!("rate must be above 0 and at most 1, not {rate}")));
        }
        Ok(MissRatioCurve(Lock::new(engine::MissRatioCurve::new(most_samples, rate))))
    }

    #[pyo3(signature = (identities, sizes=None))]
    fn access(&self, py: Python<'_>, identities: &Bound<'_, PyAny>, sizes: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let trace = Trace::new(identities, sizes)?;
        let mut curve = self.0.lock(py);
        py.detach(|| trace.accesses().for_each(|(identity, bytes)| curve.access(identity, bytes)));
        Ok(())
    }

    fn decay(&self, py: Python<'_>, factor: f64) -> PyResult<()> {
        if !(0.0..=1.0).contains(&factor) {
            return Err(error::bad_value(format!("factor must be from 0 to 1, not {factor}")));
        }
        self.0.lock(py).decay(factor);
        Ok(())
    }

    fn miss_ratio(&self, py: Python<'_>, bytes: u64) -> f64 {
        self.0.lock(py).miss_ratio(bytes)
    }

    fn points(&self, py: Python<'_>) -> Vec<(u64, f64)> {
        self.0.lock(py).points()
    }

    #[getter]
    fn rate(&self, py: Python<'_>) -> f64 {
        self.0.lock(py).rate()
    }

    #[getter]
    fn samples(&self, py: Python<'_>) -> usize {
        self.0.lock(py).samples()
    }

    #[getter]
    fn accesses(&self, py: Python<'_>) -> f64 {
        self.0.lock(py).accesses()
    }
}

/// Hits of a trace in a cache of so many bytes.
#[pyfunction]
#[pyo3(signature = (identities, capacity, policy, sizes=None))]
pub fn simulate_cache(
    py: Python<'_>,
    identities: &Bound<'_, PyAny>,
    capacity: u64,
    policy: &str,
    sizes: Option<&Bound<'_, PyAny>>,
) -> PyResult<usize> {
    let Some((policy, _)) = Policy::ALL.iter().find(|(_, name)| *name == policy) else {
        let names = Policy::ALL.map(|(_, name)| name).join(", ");
        return Err(error::bad_value(format!("no policy {policy:?}; there are {names}")));
    };
    let trace = Trace::new(identities, sizes)?;
    Ok(py.detach(|| {
        let mut cache = Simulation::new(*policy, capacity);
        trace.accesses().filter(|(identity, bytes)| cache.access(*identity, *bytes)).count()
    }))
}
