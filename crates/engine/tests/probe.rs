mod common;
use common::*;
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::*;
#[test]
fn probe() {
        let db = open(&MemoryDisk::new(), &tiny(Durability::Async));
        let f = db.default_family();
        for n in 0..6_000u64 { f.put(&(n*7919%6000).to_be_bytes(), &[7; 100], None).unwrap(); }
        let show = |w:&str| { println!("{w} {:?}", db.check(&mut |_, _| true).unwrap()); println!("{:?}", &db.stats().unwrap().families[0].1[13..]); };
        show("loaded");
        for pass in 0..8 {
        for n in 0..6000u64 { if n % 8 == pass { f.delete(&n.to_be_bytes()).unwrap(); } }
        show("deleted");
        }
}
