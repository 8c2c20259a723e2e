//! `lyredb._engine`: the storage engine as Python sees it. No logic of its own: arguments become bytes, answers become
//! objects, and the GIL is held for what is short and given up for what waits.

mod allocator;
mod arrow;
mod codec;
mod convert;
mod ending;
mod engine;
mod error;
mod family;
mod fork;
mod host;
mod lock;
mod many;
mod number;
mod pairs;
mod progress;
mod salvage;
mod scan;
mod snapshot;
mod source;
mod tiering;
mod transaction;
mod tuple;
mod view;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _engine {
    #[pymodule_export]
    use super::arrow::{Column, NativeBuffer};
    #[pymodule_export]
    use super::codec::Codec;
    #[pymodule_export]
    use super::engine::{Engine, tunables};
    #[pymodule_export]
    use super::family::Family;
    #[pymodule_export]
    use super::salvage::salvage;
    #[pymodule_export]
    use super::scan::Scan;
    #[pymodule_export]
    use super::snapshot::{Snapshot, SnapshotFamily};
    #[pymodule_export]
    use super::tiering::{MissRatioCurve, simulate_cache};
    #[pymodule_export]
    use super::transaction::{Transaction, TransactionFamily};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::allocator::keep_freed_memory_for_a_while();
        super::fork::watch();
        module.add("MAX_KEY_BYTES", lyredb_engine::MAX_KEY_BYTES)?;
        module.add("MAX_VALUE_BYTES", lyredb_engine::MAX_VALUE_BYTES)?;
        module.add("DEFAULT_FAMILY", lyredb_engine::DEFAULT_FAMILY)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
