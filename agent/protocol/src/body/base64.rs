//! Base64 as gRPC-Web sends it (RFC 4648 4): each write of the sender is encoded by itself, so padding may stand anywhere
//! between groups of four characters.

/// Decodes as the characters come.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// Bits of the current group.
    bits: u32,
    /// Characters of the current group, padding included.
    len: u8,
    /// Padding in it.
    padding: u8,
}

/// What the characters were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Whole,
    /// No base64 from some character on; what was before it is decoded.
    Broken,
}

impl Base64 {
    /// Bytes decoded at a time.
    const BLOCK: usize = 768;

    /// Gives the bytes of `data` to `take`, in blocks.
    pub(super) fn decode(&mut self, data: &[u8], mut take: impl FnMut(&[u8])) -> Decoded {
        let mut block = Vec::with_capacity(Self::BLOCK + 3);
        let mut decoded = Decoded::Whole;
        for &byte in data {
            if matches!(byte, b'\r' | b'\n') {
                continue;
            }
            if !self.push(byte, &mut block) {
                decoded = Decoded::Broken;
                break;
            }
            if block.len() >= Self::BLOCK {
                take(&block);
                block.clear();
            }
        }
        if !block.is_empty() {
            take(&block);
        }
        decoded
    }

    fn push(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' if self.len >= 2 => {
                self.padding += 1;
                0
            }
            _ => return false,
        };
        if self.padding > 0 && byte != b'=' {
            return false;
        }
        self.bits = (self.bits << 6) | u32::from(value);
        self.len += 1;
        if self.len == 4 {
            let [_, a, b, c] = self.bits.to_be_bytes();
            let bytes = [a, b, c];
            let len = bytes.len().saturating_sub(usize::from(self.padding));
            out.extend_from_slice(bytes.get(..len).unwrap_or_default());
            *self = Self::default();
        }
        true
    }

    /// Whether a group is incomplete.
    pub(super) fn inside(&self) -> bool {
        self.len > 0
    }
}
