//! What readers may see of a page's image and of a delta, with all that the orderings allow.

use std::sync::Arc;

use loom::thread;

use super::leaf::{Leaf, build};
use super::page::{Contents, Form, Found, PageRef};
use super::record::Record;
use crate::orderings::explore;
use crate::sync::epoch;

const EXTENT: u64 = 64;

fn image(value: &[u8; 1]) -> Leaf<'static> {
    build(&[], &[record(b"key", value)])
}

fn record<'a>(key: &'a [u8], value: &'a [u8]) -> Record<'a> {
    Record { key, value, version: 1, expiry: 0, flags: 0 }
}

/// Freed when all threads are gone, as the epoch would see to.
struct Page {
    page: Box<PageRef>,
    images: Vec<u64>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.images.extend(self.page.address());
        self.images.sort_unstable();
        self.images.dedup();
        for &image in &self.images {
            // SAFETY: nobody has it any more, and it is freed once.
            unsafe { Leaf::from_address(image).free() };
        }
    }
}

/// The value in the page's image, which is loaded where needed; and what has to be freed in the end.
fn read(page: &PageRef, value: &[u8; 1]) -> (u8, Vec<u64>) {
    let guard = epoch::pin();
    let mut loaded = Vec::new();
    loop {
        match page.leaf(&guard) {
            Found::Hot(leaf) => return (leaf.record(0).value[0], loaded),
            Found::Cold(away) => {
                let image = image(value).address();
                page.replace(away, Form::Image(image));
                loaded.push(image);
            }
        }
    }
}

#[test]
fn an_image_is_whole_when_its_address_can_be_read() {
    explore(|| {
        let page = Arc::new(PageRef::hot(image(b"1").address(), 0));
        let readers = [0, 1].map(|_| {
            let page = Arc::clone(&page);
            thread::spawn(move || read(&page, b"1").0)
        });
        let replaced = page.publish(image(b"2").address());
        for reader in readers {
            let value = reader.join().expect("no panic");
            assert!([b'1', b'2'].contains(&value));
        }
        let page = Arc::into_inner(page).expect("all threads are gone");
        drop(Page { page, images: vec![replaced.address()] });
    });
}

#[test]
fn an_image_that_another_reader_has_loaded_is_whole_too() {
    explore(|| {
        let page = Arc::new(PageRef::clean(image(b"1").address(), 0, EXTENT));
        let readers = [0, 1].map(|_| {
            let page = Arc::clone(&page);
            thread::spawn(move || read(&page, b"1"))
        });
        let mut images: Vec<u64> = page.evict(None).into_iter().map(Contents::address).collect();
        for reader in readers {
            let (value, loaded) = reader.join().expect("no panic");
            assert_eq!(value, b'1');
            images.extend(loaded);
        }
        let page = Arc::into_inner(page).expect("all threads are gone");
        drop(Page { page, images });
    });
}

#[test]
fn a_delta_record_is_whole_when_its_length_can_be_read() {
    explore(|| {
        let leaf = image(b"1");
        let address = leaf.address();
        let readers = [0, 1].map(|_| {
            thread::spawn(move || {
                // SAFETY: it is freed when this thread is gone.
                let leaf: Leaf<'_> = unsafe { Leaf::from_address(address) };
                let Some(delta) = leaf.delta() else { return };
                let length = delta.len();
                let found = delta.find(length, b"key", |_| true).map(|record| record.value);
                let expected: [Option<&[u8]>; 3] = [None, Some(b"2"), Some(b"3")];
                assert_eq!(found, expected[length]);
            })
        });
        leaf.delta_state().allocate(2, 64);
        let delta = leaf.delta().expect("it was just made");
        for value in [b"2", b"3"] {
            // SAFETY: there is room for both, and nobody else appends.
            unsafe { delta.append(&record(b"key", value)) };
        }
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
        // SAFETY: the readers are gone.
        unsafe { leaf.free() };
    });
}
