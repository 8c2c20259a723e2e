use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder of its own, removed in the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lyredb-disk-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_is_made_with_those_above_it() {
    let above = Folder::new();
    let path = above.0.join("one/two");
    for _ in 0..2 {
        let disk = OsDisk::make(&path).unwrap();
        assert_eq!(disk.root(), path);
        disk.open("a", OpenMode::Create).unwrap();
    }
    std::fs::write(above.0.join("file"), b"").unwrap();
    OsDisk::make(above.0.join("file/under")).unwrap_err();
}

/// What every implementation of `Disk` has to do.
fn check_contract(disk: Arc<dyn Disk>) {
    assert_eq!(disk.open("a", OpenMode::Read).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.open("a", OpenMode::ReadWrite).unwrap_err().kind(), ErrorKind::NotFound);
    let file = disk.open("a", OpenMode::Create).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(b"hello", 3).unwrap();
    assert_eq!(file.len().unwrap(), 8);
    let mut buffer = [9; 16];
    assert_eq!(read_fully(&*file, &mut buffer, 0).unwrap(), 8);
    assert_eq!(&buffer[..8], b"\0\0\0hello");
    assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
    file.set_len(4).unwrap();
    file.sync().unwrap();
    disk.sync_directory().unwrap();
    assert_eq!(disk.open("a", OpenMode::Create).unwrap().len().unwrap(), 4, "Create keeps what is there");
    let reader = disk.open("a", OpenMode::Read).unwrap();
    assert!(reader.write_at(b"x", 0).is_err());

    disk.open("b", OpenMode::Create).unwrap();
    disk.rename("a", "b").unwrap();
    assert_eq!(disk.open("b", OpenMode::Read).unwrap().len().unwrap(), 4);
    file.write_at(b"y", 0).unwrap();
    assert_eq!(reader.read_at(&mut buffer[..1], 0).unwrap(), 1);
    assert_eq!(buffer[0], b'y', "handles stay with the file through a rename");
    assert_eq!(disk.list().unwrap(), ["b"]);
    disk.remove("b").unwrap();
    assert_eq!(disk.remove("b").unwrap_err().kind(), ErrorKind::NotFound);

    let exclusive = disk.lock("lock", true).unwrap().unwrap();
    assert!(disk.lock("lock", true).unwrap().is_none());
    assert!(disk.lock("lock", false).unwrap().is_none());
    drop(exclusive);
    let shared = [disk.lock("lock", false).unwrap().unwrap(), disk.lock("lock", false).unwrap().unwrap()];
    assert!(disk.lock("lock", true).unwrap().is_none());
    drop(shared);
    assert!(disk.lock("lock", true).unwrap().is_some());
}

#[test]
fn the_operating_systems_folder_keeps_the_contract() {
    let folder = Folder::new();
    check_contract(Arc::new(OsDisk::new(&folder.0)));
}

#[test]
fn memory_keeps_the_contract() {
    check_contract(Arc::new(MemoryDisk::new()));
}

#[test]
fn faults_strike_once_at_their_operation() {
    let disk = MemoryDisk::new();
    disk.fail_at(2, Fault::Raw(28));
    let file = disk.open("a", OpenMode::Create).unwrap();
    assert_eq!(file.write_at(b"abcd", 0).unwrap_err().raw_os_error(), Some(28));
    assert_eq!(disk.get("a").unwrap(), b"ab", "half of it was written");
    file.write_at(b"abcd", 0).unwrap();
    disk.fail_next(Operation::Sync, 2, Fault::Kind(ErrorKind::Other));
    assert!(file.sync().is_err());
    assert!(file.write_at(b"e", 4).is_ok());
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok());
    assert_eq!(disk.operations(), 7);
}

#[test]
fn short_reads_and_writes() {
    let disk = MemoryDisk::new();
    disk.put("a", vec![7; 256]);
    let file = disk.open("a", OpenMode::ReadWrite).unwrap();
    let mut buffer = [0; 256];
    let writes: &[Operation] = &[Operation::Write];
    disk.plan(Plan { after: 1, operations: Operation::ALL, count: u64::MAX, fault: Fault::ShortRead(64) });
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 256, "not yet");
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 64);
    assert_eq!(read_fully(&*file, &mut buffer, 0).unwrap(), 256);
    assert_eq!(file.read_at(&mut buffer, 256).unwrap(), 0);
    disk.heal();
    disk.fail_next(Operation::Read, 1, Fault::EndOfFile);
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 0);
    disk.plan(Plan { after: 0, operations: writes, count: 1, fault: Fault::ShortWrite(3, 5) });
    assert_eq!(file.write_at(&[8; 256], 0).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(disk.get("a").unwrap(), [vec![8; 3], vec![7; 253]].concat());
    let last = disk.strikes().pop().unwrap();
    assert_eq!((last.operation, last.name.as_str(), last.number), (Operation::Write, "a", disk.operations()));
}

#[test]
fn a_disk_has_room_for_its_capacity() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(3 * 4096));
    let file = disk.open("a", OpenMode::Create).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(disk.used_bytes(), 0, "what was never written takes no room");
    assert_eq!(file.write_at(&[1; 20_000], 100).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.used_bytes(), 3 * 4096);
    assert_eq!(disk.get("a").unwrap()[100..12_288], [1; 12_188], "what fits was written");
    file.write_at(&[2; 4096], 4096).unwrap();
    assert!(file.write_at(&[3], 1 << 19).is_err());
    file.set_len(5000).unwrap();
    assert_eq!(disk.used_bytes(), 2 * 4096);
    file.write_at(&[3], 1 << 19).unwrap();
    disk.remove("a").unwrap();
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn an_image_is_a_copy_without_locks() {
    let disk = MemoryDisk::new();
    let _lock = disk.lock("lock", true).unwrap().unwrap();
    disk.put("a", b"old".to_vec());
    let image = disk.image();
    disk.put("a", b"new".to_vec());
    assert_eq!(image.get("a").unwrap(), b"old");
    assert_eq!(disk.clone().get("a").unwrap(), b"new");
    assert!(image.lock("lock", true).unwrap().is_some());
}
