//! See `crate::fuzzing`.

use std::sync::Arc;

use super::load::{Aside, decode_leaf, encode_leaf};
use crate::fuzzing::bounded;
use crate::memory::Memory;

/// Key, expiry, and the value or the place of the blob that it is.
type Content = (Vec<u8>, u64, Result<Vec<u8>, (u64, u64)>);

/// A leaf page's payload.
pub fn leaf(payload: &[u8]) {
    let memory = Arc::new(Memory::new(u64::MAX));
    let Some(first) = bounded(64, payload.len(), || decode_leaf(payload, &memory).map(Aside)) else { return };
    let expected = content(&first);
    assert!(expected.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let again = decode_leaf(&encoded(&first), &memory).map(Aside).expect("what was encoded decodes");
    assert_eq!(content(&again), expected);
    for (index, (key, ..)) in expected.iter().enumerate() {
        assert_eq!(first.leaf().find(key), Some(index));
        assert_eq!(first.leaf().search(key), (index, true));
        let longer = [key, &[0][..]].concat();
        assert_eq!(first.leaf().search(&longer).0, index + 1);
    }
}

fn content(aside: &Aside) -> Vec<Content> {
    let leaf = aside.leaf();
    let content = leaf.records().map(|record| {
        let value = match record.blob() {
            None => Ok(record.value.to_vec()),
            Some(blob) => Err((blob.extent().expect("it was read from disk"), blob.len())),
        };
        ([leaf.prefix(), record.key].concat(), record.expiry, value)
    });
    content.collect()
}

fn encoded(aside: &Aside) -> Vec<u8> {
    let leaf = aside.leaf();
    let records: Vec<_> = leaf.records().collect();
    let mut payload = Vec::new();
    let place = |blob: &super::Blob| (blob.extent().expect("it was read from disk"), blob.len());
    encode_leaf(leaf.prefix(), &records, |record| place(record.blob().expect("a blob")), &mut payload);
    payload
}
