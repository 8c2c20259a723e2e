//! What memory may have of a leaf in place of its image.

use super::excerpt::Excerpt;
use super::stored::Stored;
use crate::memory::Part;

/// What the address of remains is a multiple of.
pub const ALIGNMENT: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Stored,
    Excerpt,
}

/// What remains of either kind begin with. Packed, so that the kind's own fields follow at once.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct Start {
    pub extent: u64,
    pub kind: Kind,
}

pub enum Remains<'g> {
    Stored(Stored<'g>),
    Excerpt(Excerpt<'g>),
    Nothing,
}

impl Remains<'_> {
    /// # Safety
    /// `address` must come from a kind's `build`, and not be freed as long as they are used.
    #[inline(always)]
    pub unsafe fn from_address(address: u64) -> Self {
        let start: *const Start = std::ptr::with_exposed_provenance(address as usize);
        // SAFETY: both kinds begin like this, and it is the caller's word that it is one of them.
        unsafe {
            match (*start).kind {
                Kind::Stored => Remains::Stored(Stored::from_address(address)),
                Kind::Excerpt => Remains::Excerpt(Excerpt::from_address(address)),
            }
        }
    }

    pub fn footprint(&self) -> Option<(Part, usize)> {
        match self {
            Remains::Stored(stored) => Some((Part::Stored, stored.bytes())),
            Remains::Excerpt(excerpt) => Some((Part::Excerpts, excerpt.bytes())),
            Remains::Nothing => None,
        }
    }

    /// # Safety
    /// Nobody may use them any more.
    pub unsafe fn free(self) {
        // SAFETY: by the caller's word.
        unsafe {
            match self {
                Remains::Stored(stored) => stored.free(),
                Remains::Excerpt(excerpt) => excerpt.free(),
                Remains::Nothing => {}
            }
        }
    }
}
