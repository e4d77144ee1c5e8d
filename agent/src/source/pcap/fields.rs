//! Numbers at places of a byte string, in either byte order, without trust in its length.

/// A byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// Two bytes as a number.
    pub const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// Four bytes as a number.
    pub const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Eight bytes as a number.
    pub const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// See the module's description.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl<'a> Fields<'a> {
    /// Numbers in this byte order.
    pub const fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Self { bytes, endian }
    }

    /// Numbers in network byte order.
    pub const fn network(bytes: &'a [u8]) -> Self {
        Self::new(bytes, Endian::Big)
    }

    /// `N` bytes at a place.
    pub fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk::<N>().copied()
    }

    /// The byte at a place.
    pub fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The 16-bit number at a place.
    pub fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(|bytes| self.endian.u16(bytes))
    }

    /// The 32-bit number at a place.
    pub fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(|bytes| self.endian.u32(bytes))
    }

    /// The 64-bit number at a place.
    pub fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(|bytes| self.endian.u64(bytes))
    }

    /// What begins at a place.
    pub fn from(self, at: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..)
    }
}
