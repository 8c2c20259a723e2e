//! Payloads whose decoders take nothing but bytes: what decodes has to come back from its own encoding.

use super::bounded;
use crate::batch::Operation;
use crate::bytes::Reader;
use crate::catalogue::Catalogue;
use crate::page_tree::{decode_inner, encode_inner};

/// An inner page's payload.
pub fn inner(payload: &[u8]) {
    let Some((level, entries)) = bounded(16, payload.len(), || decode_inner(payload)) else { return };
    assert!(entries.windows(2).all(|pair| pair[0].low < pair[1].low));
    assert_eq!(decode_inner(&encode_inner(level, &entries)), Some((level, entries)));
}

/// A catalogue's payload.
pub fn catalogue(payload: &[u8]) {
    let Some(catalogue) = bounded(64, payload.len(), || Catalogue::decode(payload)) else { return };
    assert_eq!(Catalogue::decode(&catalogue.encode()), Some(catalogue));
}

/// The payload of a log's record.
pub fn record(payload: &[u8]) {
    let mut reader = Reader::new(payload);
    while !reader.is_empty() {
        let Some(operation) = bounded(1, payload.len(), || Operation::decode(&mut reader)) else { return };
        let mut again = Vec::new();
        operation.encode(&mut again);
        let mut reader = Reader::new(&again);
        assert_eq!(Operation::decode(&mut reader), Some(operation));
        assert!(reader.is_empty());
    }
}
