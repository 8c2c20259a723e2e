//! The root of a page file, kept twice. On disk, each in 4096 bytes:
//!
//! ```text
//! 0      8       12    16        24       32           40         48        64 ...... 4092     4096
//! magic  format  zero  sequence  version  log segment  catalogue  identity  zero      CRC-32C
//! ```

use super::extent::Extent;
use super::format::{FORMAT_VERSION, SUPERBLOCK_BYTES, SUPERBLOCK_MAGIC};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Counts commits of the page file; `PageFile::commit` sets it.
    pub sequence: u64,
    /// The last commit version whose changes the pages hold.
    pub version: u64,
    /// First log segment that has to be replayed on top.
    pub log_segment: u64,
    pub catalogue: Option<Extent>,
    /// Random, told apart from every other database's; the log carries it too.
    pub identity: u128,
}

/// What was found in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Valid(Superblock),
    /// The format; whether the checksum, as this version computes it, fits.
    Newer(u32, bool),
    Damaged,
    NoMagic,
}

const CHECKSUM_AT: usize = SUPERBLOCK_BYTES - 4;
/// None ever gets as far, so counting on from one cannot overflow.
pub(super) const LARGEST_NUMBER: u64 = 1 << 62;

impl Superblock {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut slot = vec![0; SUPERBLOCK_BYTES];
        slot[0..8].copy_from_slice(&SUPERBLOCK_MAGIC);
        slot[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        slot[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        slot[24..32].copy_from_slice(&self.version.to_le_bytes());
        slot[32..40].copy_from_slice(&self.log_segment.to_le_bytes());
        slot[40..48].copy_from_slice(&self.catalogue.map_or(0, Extent::to_bits).to_le_bytes());
        slot[48..64].copy_from_slice(&self.identity.to_le_bytes());
        let checksum = crc32c::crc32c(&slot[..CHECKSUM_AT]);
        slot[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        slot
    }

    /// Which of the two slots a superblock goes to first.
    pub(super) fn slot_offset(sequence: u64) -> u64 {
        (sequence % 2) * SUPERBLOCK_BYTES as u64
    }
}

impl Slot {
    /// Where a slot that is not sound says the catalogue is.
    pub(super) fn catalogue_of(bytes: &[u8]) -> Option<Extent> {
        Extent::from_bits(u64::from_le_bytes(field(bytes, 40)))
    }

    /// `bytes` may be shorter than a slot, where the file ends.
    pub(super) fn decode(bytes: &[u8]) -> Slot {
        if bytes.get(..8) != Some(&SUPERBLOCK_MAGIC[..]) {
            return Slot::NoMagic;
        }
        if bytes.len() != SUPERBLOCK_BYTES {
            return Slot::Damaged;
        }
        let sound = field::<4>(bytes, CHECKSUM_AT) == crc32c::crc32c(&bytes[..CHECKSUM_AT]).to_le_bytes();
        let format = u32::from_le_bytes(field(bytes, 8));
        if format > FORMAT_VERSION {
            return Slot::Newer(format, sound);
        }
        let catalogue = match u64::from_le_bytes(field(bytes, 40)) {
            0 => None,
            bits => match Extent::from_bits(bits) {
                Some(extent) => Some(extent),
                None => return Slot::Damaged,
            },
        };
        let [sequence, version, log_segment] = [16, 24, 32].map(|at| u64::from_le_bytes(field(bytes, at)));
        // Counting on from a larger number could overflow, and no file gets as far.
        let is_possible = [sequence, version, log_segment].iter().all(|number| *number < LARGEST_NUMBER);
        if !sound || format == 0 || !is_possible {
            return Slot::Damaged;
        }
        Slot::Valid(Superblock {
            sequence,
            version,
            log_segment,
            catalogue,
            identity: u128::from_le_bytes(field(bytes, 48)),
        })
    }
}

fn field<const LENGTH: usize>(bytes: &[u8], at: usize) -> [u8; LENGTH] {
    let mut field = [0; LENGTH];
    field.copy_from_slice(&bytes[at..at + LENGTH]);
    field
}
