//! The presentation language of TLS (RFC 8446 3): numbers and vectors, taken off the front of bytes.

/// What is left to read. Everything is `None` when there are too few bytes, and takes nothing then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// Bytes left.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `opaque[len]`
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// `uint8`
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// `uint16`
    pub fn short(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*first))
    }

    /// A vector whose length is one byte.
    pub fn vector8(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.byte()?;
        let taken = ahead.bytes(len.into())?;
        *self = ahead;
        Some(taken)
    }

    /// A vector whose length is two bytes.
    pub fn vector16(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.short()?;
        let taken = ahead.bytes(len.into())?;
        *self = ahead;
        Some(taken)
    }
}

/// A vector of `uint16`; `None` when half of one is left over.
pub(super) fn shorts(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks();
    rest.is_empty()
        .then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}
