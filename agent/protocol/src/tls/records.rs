//! The record layer (RFC 8446 5.1, RFC 5246 6.2.1), as long as it is in the clear.

/// Longest fragment of a record, bytes (RFC 8446 5.1).
const FRAGMENT_BYTES_MAX: usize = 1 << 14;

/// Type, version, length.
const HEADER_BYTES: usize = 5;

/// Content types (RFC 8446 B.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Records of one direction.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are there.
    header_len: usize,
    /// Bytes of the fragment that are to come.
    left: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// Bytes of handshake messages.
    Handshake(&'a [u8]),
    /// No more bytes for now.
    Nothing,
    /// From here on it is encrypted, or is no TLS at all.
    Over,
}

impl Records {
    /// Takes bytes off the front up to the end of what it gives.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Next<'a> {
        loop {
            if self.left == 0
                && let Some(ended) = self.header(bytes)
            {
                return ended;
            }
            let (taken, rest) = bytes.split_at(self.left.min(bytes.len()));
            *bytes = rest;
            self.left -= taken.len();
            if self.left == 0 {
                self.header_len = 0;
            }
            if taken.is_empty() {
                return Next::Nothing;
            }
            let [content, ..] = self.header;
            if content == HANDSHAKE {
                return Next::Handshake(taken);
            }
        }
    }

    /// Completes the header of the next record. `None`: its fragment follows.
    fn header<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Next<'a>> {
        while let Some(place) = self.header.get_mut(self.header_len) {
            let Some((first, rest)) = bytes.split_first() else {
                return Some(Next::Nothing);
            };
            *place = *first;
            *bytes = rest;
            self.header_len += 1;
        }
        let [content, major, _, high, low] = self.header;
        let len = usize::from(u16::from_be_bytes([high, low]));
        // Between the hellos there may be warnings (RFC 6066 3) and, in TLS 1.3, messages for the sake of middleboxes (RFC 8446 D.4).
        let is_clear = matches!(content, HANDSHAKE | ALERT | CHANGE_CIPHER_SPEC);
        // Of any version the first byte is 3; no fragment of these is empty (RFC 8446 5.1).
        if !is_clear || major != 3 || !(1..=FRAGMENT_BYTES_MAX).contains(&len) {
            return Some(Next::Over);
        }
        self.left = len;
        None
    }
}
