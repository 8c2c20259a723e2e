use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

/// How pages are compressed as they are written. A page that does not get smaller is stored as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Lz4,
    /// With its level.
    Zstd(i32),
}

/// The codec of a stored page, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StoredCodec {
    None = 0,
    Lz4 = 1,
    Zstd = 2,
}

impl StoredCodec {
    pub(super) fn from_byte(byte: u8) -> Option<StoredCodec> {
        match byte {
            0 => Some(StoredCodec::None),
            1 => Some(StoredCodec::Lz4),
            2 => Some(StoredCodec::Zstd),
            _ => None,
        }
    }

    /// The most that `stored_bytes` bytes can expand to: a hostile length is refused before memory is asked for.
    pub(super) fn largest_expansion(self, stored_bytes: usize) -> usize {
        match self {
            StoredCodec::None => stored_bytes,
            // One more byte of a match's length stands for 255 bytes at most.
            StoredCodec::Lz4 => stored_bytes.saturating_mul(255).saturating_add(64),
            // A block of 128 KiB takes four bytes at least.
            StoredCodec::Zstd => stored_bytes.saturating_mul(1 << 15).saturating_add(1 << 17),
        }
    }
}

/// A page's payload as it is stored.
#[derive(Clone, Copy)]
pub struct StoredPayload<'a> {
    pub codec: StoredCodec,
    pub raw_bytes: usize,
    pub bytes: &'a [u8],
}

impl StoredPayload<'_> {
    /// Replaces the contents of `payload`, or says what is wrong.
    pub fn unpack(self, payload: &mut Vec<u8>) -> Result<(), String> {
        decompress(self.codec, self.bytes, self.raw_bytes, payload)
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Writes the compressed payload to `buffer[at..]`, which grows where needed. `None`: it cannot be compressed.
pub(super) fn compress(codec: Codec, payload: &[u8], buffer: &mut Vec<u8>, at: usize) -> Option<(StoredCodec, usize)> {
    match codec {
        Codec::None => None,
        Codec::Lz4 => {
            make_room(buffer, at + lz4_flex::block::get_maximum_output_size(payload.len()));
            let length = lz4_flex::block::compress_into(payload, &mut buffer[at..]).ok()?;
            Some((StoredCodec::Lz4, length))
        }
        Codec::Zstd(level) => {
            make_room(buffer, at + zstd_safe::compress_bound(payload.len()));
            let length = zstd_compress(level, payload, &mut buffer[at..])?;
            Some((StoredCodec::Zstd, length))
        }
    }
}

/// Never shorter than it was: what is behind the bytes in use costs no clearing the next time.
pub(super) fn make_room(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
}

fn zstd_compress(level: i32, payload: &[u8], output: &mut [u8]) -> Option<usize> {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(of, _)| *of != level) {
            *slot = Some((level, Compressor::new(level).ok()?));
        }
        let (_, compressor) = slot.as_mut()?;
        compressor.compress_to_buffer(payload, output).ok()
    })
}

/// Replaces the contents of `payload`, which ends up `raw_bytes` long, or says what is wrong.
pub(super) fn decompress(
    codec: StoredCodec,
    stored: &[u8],
    raw_bytes: usize,
    payload: &mut Vec<u8>,
) -> Result<(), String> {
    match codec {
        StoredCodec::None => {
            payload.clear();
            payload.extend_from_slice(stored);
        }
        StoredCodec::Lz4 => {
            payload.resize(raw_bytes, 0);
            let length = lz4_flex::block::decompress_into(stored, payload).map_err(|error| error.to_string())?;
            payload.truncate(length);
        }
        StoredCodec::Zstd => {
            payload.clear();
            payload.reserve(raw_bytes);
            zstd_decompress(stored, payload)?;
        }
    }
    if payload.len() != raw_bytes {
        return Err(format!("{} bytes instead of {raw_bytes}", payload.len()));
    }
    Ok(())
}

fn zstd_decompress(stored: &[u8], payload: &mut Vec<u8>) -> Result<(), String> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new().map_err(|error| error.to_string())?),
        };
        decompressor.decompress_to_buffer(stored, payload).map(drop).map_err(|error| error.to_string())
    })
}
