//! What is hot follows what is read, also where nothing has to go for want of memory.

mod common;

use std::time::{Duration, Instant};

use common::{Random, counter, figure, open, setting};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Durability, Options};

const KEYS: u64 = 20_000;

#[test]
fn leaves_that_nobody_reads_any_more_make_room_for_warm_ones() {
    let settings = vec![
        setting("memory_bytes", 4 << 20),
        setting("hot_bytes", 2 << 20),
        setting("warm_bytes", 1 << 20),
        setting("point_cache_bytes", 0),
    ];
    let options = Options { durability: Durability::Async, settings, ..Options::default() };
    let database = open(&MemoryDisk::new(), &options);
    let family = database.default_family();
    for first in (0..KEYS).step_by(500) {
        let mut batch = Batch::default();
        // Compressed, they take a tenth.
        let put = |key: u64| batch.put(&family, &key.to_be_bytes(), &[7; 130], None);
        (first..first + 500).map(put).collect::<Result<Vec<_>, _>>().expect("room");
        database.write(batch).expect("a commit");
    }
    database.checkpoint().expect("a checkpoint");
    database.drive_out(0).expect("it drives out");
    let mut random = Random(1);
    let mut read = |from: u64, count: u64| {
        let before = counter(&database, "gets_from_warm");
        for _ in 0..count {
            let key = from + random.below(KEYS / 2);
            assert!(family.get(&key.to_be_bytes(), |_| ()).expect("a read").is_some());
        }
        (counter(&database, "gets_from_warm") - before) as f64 / count as f64
    };
    // One half, of which most fits; then the other, until it has taken its place.
    for from in [0, KEYS / 2] {
        let limit = Instant::now() + Duration::from_secs(60);
        let mut warm = 1.0;
        while warm > 0.3 {
            assert!(Instant::now() < limit, "{warm:.2} of the gets from {from} on are still answered by warm leaves");
            warm = read(from, 20_000);
        }
        let (hot, used) = (figure(&database, "memory_leaves"), figure(&database, "memory_used"));
        assert!(hot > 1 << 20 && used < 5 << 20, "{hot} bytes of hot leaves, {used} in all");
    }
}
