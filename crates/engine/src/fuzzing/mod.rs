//! What the fuzzers in `fuzz/` call, and the tests that replay what they found: each target takes any bytes, and panics
//! where the engine breaks a promise. Not part of the interface.

mod database;
mod meter;
mod page_folder;
mod payloads;
mod seeds;

use arbitrary::{Arbitrary, Unstructured};

pub use crate::log::fuzzing::{log_folder, log_headers};
pub use crate::pagefile::fuzzing::{codecs, page, superblocks};
pub use crate::tree::fuzzing::leaf;
pub use database::database;
pub use meter::Meter;
pub use page_folder::page_folder;
pub use payloads::{catalogue, inner, record};
pub use seeds::seeds;

/// A target and its name, which is also that of its folders in `fuzz/corpus` and `fuzz/regressions`.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("catalogue", catalogue),
    ("codecs", codecs),
    ("database", database),
    ("inner", inner),
    ("leaf", leaf),
    ("log_folder", log_folder),
    ("log_headers", log_headers),
    ("page", page),
    ("page_folder", page_folder),
    ("record", record),
    ("superblocks", superblocks),
];

/// What does not depend on the input.
const SLACK_BYTES: usize = 16 << 10;

/// Does the work, and panics if it took more memory than `bytes` of input, each of which may become `growth`.
pub(crate) fn bounded<R>(growth: usize, bytes: usize, work: impl FnOnce() -> R) -> R {
    let (result, peak) = meter::peak(work);
    assert!(peak <= bytes * growth + SLACK_BYTES, "{peak} bytes of memory for {bytes} bytes of input");
    result
}

/// The input as a description of something; `None` if it is too short for one.
pub(crate) fn described<'a, T: Arbitrary<'a>>(input: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(input)).ok()
}

/// Up to `MOST` of something, as many as a byte says: of a vector most inputs would describe but one or two.
#[derive(Debug)]
pub(crate) struct Many<T, const MOST: u8>(pub Vec<T>);

impl<'a, T: Arbitrary<'a>, const MOST: u8> Arbitrary<'a> for Many<T, MOST> {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Many<T, MOST>> {
        let count = u8::arbitrary(input)? % (MOST + 1);
        let mut all = Vec::with_capacity(count.into());
        while all.len() < count.into() && !input.is_empty() {
            all.push(T::arbitrary(input)?);
        }
        Ok(Many(all))
    }
}
