//! The database as a whole: opening, families, settings, maintenance.

use crate::codec::Codec;
use crate::error::{self, OrRaise};
use crate::fork::Owned;
use crate::host::{self, Program};
use crate::scan::prefix_range;
use crate::snapshot::Snapshot;
use crate::transaction::Transaction;
use crate::{convert, progress, salvage};
use lyredb_engine as engine;
use lyredb_engine::tunables::{Change, Kind, REGISTRY, Scope};
use lyredb_engine::{Distribution, Durability, Figures, Stat};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyList, PyTuple};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sizes in bytes, rising, with the miss ratio at each.
type Curve = Vec<(u64, f64)>;
type EventRow<'py> = (&'static str, Option<String>, u64, u64, Bound<'py, PyDict>);
type AccessCurves = (String, Curve, Curve, u64, u64);

#[pyclass(frozen, module = "lyredb._engine")]
pub struct Engine {
    handle: Owned<engine::Database>,
    path: PathBuf,
}

impl Engine {
    pub fn database(&self) -> PyResult<&engine::Database> {
        self.handle.get()
    }

    fn run<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&engine::Database) -> engine::Result<T> + Send,
    ) -> PyResult<T> {
        let database = self.database()?;
        py.detach(|| work(database)).or_raise()
    }
}

fn durability(name: &str) -> PyResult<Durability> {
    match name {
        "sync" => Ok(Durability::Sync),
        "group" => Ok(Durability::Group),
        "async" => Ok(Durability::Async),
        _ => Err(error::config(format!("durability must be \"sync\", \"group\" or \"async\", not {name:?}"))),
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (path, *, durability, read_only, create, settings))]
    fn open(
        py: Python<'_>,
        path: PathBuf,
        durability: &str,
        read_only: bool,
        create: bool,
        settings: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        error::load(py)?;
        let options = engine::Options {
            durability: self::durability(durability)?,
            read_only,
            create,
            settings: convert::settings(settings)?,
            host: Arc::new(Program { database: path.clone() }),
            ..engine::Options::default()
        };
        let database = py.detach(|| engine::Database::open(&path, options)).or_raise()?;
        Ok(Engine { path: database.path().to_path_buf(), handle: Owned::new(database) })
    }

    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.database()?.is_closed())
    }

    #[getter]
    fn read_only(&self) -> PyResult<bool> {
        Ok(self.database()?.is_read_only())
    }

    #[getter]
    fn durability(&self) -> PyResult<&'static str> {
        Ok(match self.database()?.durability() {
            Durability::Sync => "sync",
            Durability::Group => "group",
            Durability::Async => "async",
        })
    }

    fn families(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.run(py, engine::Database::families)
    }

    fn has_family(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        self.run(py, |database| Ok(database.family(name)?.is_some()))
    }

    fn create_family(&self, py: Python<'_>, name: &str, settings: &Bound<'_, PyDict>) -> PyResult<()> {
        let settings = convert::settings(settings)?;
        self.run(py, |database| database.create_family(name, &settings).map(drop))
    }

    fn drop_family(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.run(py, |database| database.drop_family(name))
    }

    fn rename_family(&self, py: Python<'_>, old: &str, new: &str) -> PyResult<()> {
        self.run(py, |database| database.rename_family(old, new))
    }

    fn note(&self, py: Python<'_>, family: &str) -> PyResult<Option<String>> {
        self.run(py, |database| database.note(family))
    }

    fn set_note(&self, py: Python<'_>, family: &str, note: Option<&str>) -> PyResult<()> {
        self.run(py, |database| database.set_note(family, note))
    }

    fn configure(&self, py: Python<'_>, family: Option<&str>, settings: &Bound<'_, PyDict>) -> PyResult<()> {
        let settings = convert::settings(settings)?;
        self.run(py, |database| database.configure(family, &settings))
    }

    fn reset(&self, py: Python<'_>, family: Option<&str>, names: Vec<String>) -> PyResult<()> {
        self.run(py, |database| database.reset(family, &names))
    }

    /// Makes what automatic tuning has set, for a family or for the database, exactly this: until it is closed.
    ///
    /// What a user set goes before it, and what was tuned for a family before what was for the database. Raises
    /// ConfigError, and changes nothing, for settings that presets may not set either, and FamilyNotFoundError.
    fn tune(&self, py: Python<'_>, family: Option<&str>, settings: &Bound<'_, PyDict>) -> PyResult<()> {
        let settings = convert::settings(settings)?;
        self.run(py, |database| database.tune(family, &settings))
    }

    /// Brings a family's leaves to the size of `leaf_bytes`; how many were built.
    fn reshape(&self, py: Python<'_>, family: &str, progress: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let database = self.database()?;
        progress::run(py, progress, |progress| database.reshape(family, progress))
    }

    /// Rows of (name, value, pinned).
    fn settings<'py>(
        &self,
        py: Python<'py>,
        family: Option<&str>,
    ) -> PyResult<Vec<(&'static str, Bound<'py, PyAny>, bool)>> {
        let settings = self.run(py, |database| database.settings(family))?;
        settings.into_iter().map(|(name, value, pinned)| Ok((name, convert::setting(py, value)?, pinned))).collect()
    }

    fn snapshot(&self) -> PyResult<Snapshot> {
        Ok(Snapshot::new(self.database()?.snapshot().or_raise()?))
    }

    fn begin(&self, serializable: bool, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Transaction> {
        let timeout = convert::seconds(timeout, "timeout")?;
        Ok(Transaction::new(self.database()?.begin(serializable, timeout).or_raise()?))
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, engine::Database::sync)
    }

    fn checkpoint(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, engine::Database::checkpoint)
    }

    /// The bytes that the leaves take.
    fn pin(&self, py: Python<'_>, family: &str, key: &Codec, prefix: &Bound<'_, PyAny>) -> PyResult<u64> {
        let range = prefix_range(&key.kind, prefix)?;
        self.run(py, |database| database.pin(family, &range))
    }

    fn unpin(&self, py: Python<'_>, family: &str, key: &Codec, prefix: &Bound<'_, PyAny>) -> PyResult<bool> {
        let range = prefix_range(&key.kind, prefix)?;
        self.run(py, |database| database.unpin(family, &range))
    }

    fn plan_tiers(&self, stored_permille: u64, excerpts_permille: u64) -> PyResult<()> {
        self.database()?.plan_tiers(stored_permille, excerpts_permille);
        Ok(())
    }

    /// By family: name, curve of leaves, curve of point reads, accesses to leaves and point reads since the last call.
    fn access_curves(&self, py: Python<'_>, keep: f64) -> PyResult<Vec<AccessCurves>> {
        let observed = self.run(py, |database| database.observed(keep))?;
        let curves = observed
            .into_iter()
            .map(|(name, seen)| (name, seen.leaves, seen.records, seen.leaf_accesses, seen.record_accesses));
        Ok(curves.collect())
    }

    fn compact(&self, py: Python<'_>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let database = self.database()?;
        progress::run(py, progress, |progress| database.compact(progress))
    }

    fn backup(&self, py: Python<'_>, destination: PathBuf, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let database = self.database()?;
        progress::run(py, progress, |progress| database.backup(&destination, progress))
    }

    /// The report as a dict; each problem is a dict too.
    fn check<'py>(&self, py: Python<'py>, progress: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyDict>> {
        let database = self.database()?;
        let report = progress::run(py, progress, |progress| database.check(progress))?;
        let problems = salvage::problems(py, report.problems)?;
        let answer = PyDict::new(py);
        answer.set_item("families", report.families)?;
        answer.set_item("pages", report.pages)?;
        answer.set_item("records", report.records)?;
        answer.set_item("bytes", report.bytes)?;
        answer.set_item("problems", problems)?;
        Ok(answer)
    }

    /// (figures, distributions) of the database, and by family.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<(Told<'py>, Bound<'py, PyDict>)> {
        let stats = self.run(py, engine::Database::stats)?;
        let families = PyDict::new(py);
        for (name, told) in stats.families {
            families.set_item(name, tell(py, told)?)?;
        }
        let told = tell(py, stats.database)?;
        // The engine knows a number only.
        let thread = intern!(py, "oldest_snapshot_thread");
        if let Some(ident) = told.0.get_item(thread)? {
            told.0.set_item(thread, host::thread_name(py, ident.extract()?)?)?;
        }
        Ok((told, families))
    }

    /// By family: counters since the opening, and what a sketch says of the accesses since the last call.
    ///
    /// The sketch is made from a call with `go_on` to one without. Its figures are those from "sampled" on, of a sample
    /// of the point accesses; `lyredb.autotune.features` says what they mean. Between two calls a thread keeps 4,096.
    #[pyo3(signature = (go_on=true))]
    fn sense<'py>(&self, py: Python<'py>, go_on: bool) -> PyResult<Bound<'py, PyDict>> {
        let families = PyDict::new(py);
        for (name, figures) in self.run(py, |database| database.sense(go_on))? {
            families.set_item(name, figures.into_py_dict(py)?)?;
        }
        Ok(families)
    }

    /// By family and kind of operation: (sum in ns, [(low, high, count), ...]) of samples since the opening.
    ///
    /// The kinds are those of `Database.stats` that are in seconds: "scan" is whole scans, "scan_row" the same by row.
    /// It waits for nothing, where `stats` waits for a running checkpoint.
    fn timings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let families = PyDict::new(py);
        for (name, readings) in self.run(py, engine::Database::timings)? {
            let readings = readings.into_iter().map(|(kind, reading)| {
                let buckets: Vec<(u64, u64, u64)> = reading.buckets().collect();
                (kind, (reading.sum, buckets))
            });
            families.set_item(name, readings.into_py_dict(py)?)?;
        }
        Ok(families)
    }

    /// What happened since the last call: (kind, family, Unix time of its beginning in ns, how long in ns, numbers).
    ///
    /// Kinds: "checkpoint", always; "transaction", "get", "multi_get", "put", "delete", "batch" and "scan_fetch", if
    /// they took long; "lost", first of all, when more happened than the 1,024 newest, which are kept.
    fn take_events<'py>(&self, py: Python<'py>) -> PyResult<Vec<EventRow<'py>>> {
        let row = |event: engine::Event| {
            let detail = event.detail.into_py_dict(py)?;
            Ok((event.kind.name(), event.family, event.began, event.lasted.as_nanos() as u64, detail))
        };
        self.run(py, engine::Database::take_events)?.into_iter().map(row).collect()
    }

    /// From how long on operations and transactions are events; 0.1 s unless it is set.
    fn set_slow(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let slow = convert::seconds(Some(seconds), "seconds")?.unwrap_or_default();
        self.database()?.set_slow(slow).or_raise()
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, engine::Database::close)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::pickled("database", "send its path and call lyredb.open() there"))
    }
}

type Told<'py> = (Bound<'py, PyDict>, Bound<'py, PyDict>);

fn tell<'py>(py: Python<'py>, told: Figures) -> PyResult<Told<'py>> {
    let distributions = PyDict::new(py);
    for (name, distribution) in told.distributions {
        distributions.set_item(name, self::distribution(py, &distribution)?)?;
    }
    Ok((figures(py, told.figures)?, distributions))
}

/// (unit, sum of all values, buckets).
fn distribution<'py>(py: Python<'py>, distribution: &Distribution) -> PyResult<Bound<'py, PyTuple>> {
    match distribution {
        Distribution::Times(reading) => {
            let seconds = |nanoseconds| nanoseconds as f64 / 1e9;
            let buckets = reading.buckets().map(|(low, high, count)| (seconds(low), seconds(high), count));
            ("seconds", seconds(reading.sum), buckets.collect::<Vec<_>>()).into_pyobject(py)
        }
        Distribution::Rows(reading) => ("rows", reading.sum, reading.buckets().collect::<Vec<_>>()).into_pyobject(py),
    }
}

fn figures<'py>(py: Python<'py>, rows: Vec<(&'static str, Stat)>) -> PyResult<Bound<'py, PyDict>> {
    let figures = PyDict::new(py);
    for (name, figure) in rows {
        match figure {
            Stat::Count(value) | Stat::Bytes(value) => figures.set_item(name, value)?,
            Stat::Seconds(value) => figures.set_item(name, value)?,
            Stat::Text(value) => figures.set_item(name, value)?,
        }
    }
    Ok(figures)
}

/// The registry of tunables, a dict each.
#[pyfunction]
pub fn tunables<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
    let rows = PyList::empty(py);
    for tunable in REGISTRY {
        let row = PyDict::new(py);
        row.set_item("name", tunable.name)?;
        row.set_item("scope", if tunable.scope == Scope::Database { "database" } else { "family" })?;
        match tunable.kind {
            Kind::Integer { low, high } => bounds(&row, "int", Some((low, high)), None)?,
            Kind::Choice(choices) => bounds(&row, "choice", None, Some(choices))?,
        }
        row.set_item("default", convert::setting(py, tunable.default_value())?)?;
        row.set_item("unit", tunable.unit)?;
        row.set_item("description", tunable.what)?;
        row.set_item(
            "change",
            match tunable.change {
                Change::Instant => "instant",
                Change::Rewrite => "rewrite",
            },
        )?;
        row.set_item("tuner", tunable.tuner)?;
        rows.append(row)?;
    }
    Ok(rows)
}

fn bounds(
    row: &Bound<'_, PyDict>,
    kind: &str,
    range: Option<(i64, i64)>,
    choices: Option<&'static [&'static str]>,
) -> PyResult<()> {
    row.set_item("type", kind)?;
    row.set_item("low", range.map(|(low, _)| low))?;
    row.set_item("high", range.map(|(_, high)| high))?;
    row.set_item("choices", choices)
}
