//! Real pages and log records, to start fuzzing from.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::database::{Database, Options};
use crate::disk::{Disk, MemoryDisk};
use crate::log::{Log, LogOptions};
use crate::pagefile::{PAGE_FILE_NAME, PageFile, PageKind, fuzzing::pages_of};
use crate::tunables::Value;
use crate::{Durability, Result};

/// Inputs by target.
pub fn seeds() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let disk = MemoryDisk::new();
    let mut inputs = Vec::new();
    let settings = [("leaf_bytes", 1024), ("blob_bytes", 256)];
    let settings = settings.map(|(name, value)| (name.to_string(), Value::Integer(value))).to_vec();
    let options = Options { durability: Durability::Sync, settings, ..Options::default() };
    let database = Database::open_on(Arc::new(disk.clone()), options)?;
    database.configure(None, &[("memory_bytes".into(), Value::Integer(1 << 22))])?;
    database.set_note("default", Some(r#"{"key": "tuple"}"#))?;
    let long = Some(Duration::from_secs(1 << 30));
    for (name, codec) in [("plain", "none"), ("quick", "lz4"), ("small", "zstd")] {
        let family = database.create_family(name, &[("codec".into(), Value::Text(codec.into()))])?;
        let mut batch = Batch::default();
        for number in 0..200_u32 {
            let value = vec![number as u8; number as usize * 3 % 70 + 300 * usize::from(number % 50 == 7)];
            batch.put(&family, format!("key {number:04}").as_bytes(), &value, long.filter(|_| number % 9 == 0))?;
        }
        batch.delete(&family, b"key 0003")?;
        batch.delete_range(&family, Some(b"key 0050"), Some(b"key 0060"))?;
        database.write(batch)?;
        family.delete(b"key 0004")?;
        family.put(&[], b"of the empty key", long)?;
    }
    inputs.extend(records(&disk.image())?.into_iter().map(|payload| ("record", payload)));
    let segment = disk.get("log-0000000000000001.lyre").unwrap_or_default();
    inputs.extend([0, 64].map(|at| ("log_headers", segment[at..at + 64].to_vec())));
    database.close()?;
    for (page, kind, payload) in pages_of(&disk.get(PAGE_FILE_NAME).unwrap_or_default()) {
        match kind {
            PageKind::Leaf => inputs.push(("leaf", payload)),
            PageKind::Inner => inputs.push(("inner", payload)),
            PageKind::Catalogue => inputs.push(("catalogue", payload)),
            PageKind::Blob => {}
        }
        inputs.push(("page", page));
    }
    Ok(inputs)
}

/// The payloads of the records in a log that the page file has none of.
fn records(disk: &MemoryDisk) -> Result<Vec<Vec<u8>>> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (_, superblock) = PageFile::open(Arc::clone(&disk), true)?;
    let options = LogOptions {
        identity: superblock.identity,
        from_segment: superblock.log_segment,
        after_version: superblock.version,
        durability: Durability::Sync,
        group_interval: Duration::from_millis(1),
        read_only: true,
    };
    let mut payloads = Vec::new();
    Log::open(disk, &options, &mut |_, payload| {
        payloads.push(payload.to_vec());
        Ok(())
    })?;
    Ok(payloads)
}
