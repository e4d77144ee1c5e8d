//! The early decision whether a connection carries HTTP, from the first bytes of a transfer.
//!
//! Runs in the kernel, so it is short and errs on the side of capturing; the agent's parser decides for good.

/// Bytes that [`sniff`] looks at.
pub const SNIFF_BYTES: usize = 16;

/// What the first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sniff {
    /// Nothing that HTTP begins with.
    Other = 0,
    /// A request line, the HTTP/2 preface, or a PROXY protocol header in front of a request.
    Request = 1,
    /// A status line.
    Response = 2,
    /// Too few bytes to tell, and so far they fit.
    TooShort = 3,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const HTTP1: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
/// The first seven bytes.
const SEVEN: u64 = 0x00ff_ffff_ffff_ffff;
/// First eight bytes of the PROXY protocol's second version.
const PROXY_V2: u64 = u64::from_le_bytes(*b"\r\n\r\n\0\r\nQ");

/// High bit of each byte of `word` that is a capital letter, `-` or `_`.
#[inline(always)]
const fn token_bytes(word: u64) -> u64 {
    let low = word & !HIGH;
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let beyond_z = low + (0x80 - (b'Z' as u64 + 1)) * ONES;
    let dash = low ^ (b'-' as u64 * ONES);
    let underscore = low ^ (b'_' as u64 * ONES);
    // A byte of 0 is the only one that adding 0x7f leaves without its high bit.
    let is_dash = !(dash + 0x7f * ONES);
    let is_underscore = !(underscore + 0x7f * ONES);
    ((from_a & !beyond_z) | is_dash | is_underscore) & !word & HIGH
}

/// Looks at the first `length` (at most [`SNIFF_BYTES`]) bytes of a transfer; the others of `bytes` are zero.
///
/// A request is a token of capital letters, a space, and what a request target begins with (RFC 9112, 3): `/`, `*`, an absolute URL's
/// `h`, or anything after CONNECT. Of a token of eight letters and more the space is not looked for. Words instead of a loop over
/// bytes: few branches are what keeps the verifier's work small.
#[inline(always)]
#[must_use]
pub fn sniff(bytes: &[u8; SNIFF_BYTES], length: u32) -> Sniff {
    let word = u64::from_le_bytes([
        bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
    ]);
    if word & SEVEN == HTTP1 {
        return Sniff::Response;
    }
    if word == PROXY_V2 {
        return Sniff::Request;
    }
    let spaces = word ^ (b' ' as u64 * ONES);
    // Exact up to and including the first match, which is all that is used.
    let found = spaces.wrapping_sub(ONES) & !spaces & HIGH;
    let first = found & found.wrapping_neg();
    // All bits below the first space; all bits when there is none.
    let before = (first >> 7).wrapping_sub(1);
    let tokens = token_bytes(word);
    if found == 0 {
        if length >= 8 {
            return if tokens == HIGH {
                Sniff::Request
            } else {
                Sniff::Other
            };
        }
        let present = (1_u64 << (8 * length)) - 1;
        let prefix = tokens & present == HIGH & present || word == HTTP1 & present;
        return if prefix { Sniff::TooShort } else { Sniff::Other };
    }
    if before == 0 || tokens & before != HIGH & before {
        return Sniff::Other;
    }
    // The byte after the space: in this word, or the ninth. `first << 1` is the low bit of that byte, 0 when it is the ninth.
    let after = first << 1;
    let next = match word.checked_div(after) {
        Some(rest) => rest as u8,
        None => bytes[8],
    };
    if next == 0 {
        return Sniff::TooShort;
    }
    let target = next == b'/' || next == b'*' || next | 0x20 == b'h';
    // CONNECT's target is an authority; PROXY (version 1) is followed by TCP4, TCP6 or UNKNOWN.
    let connect = word == u64::from_le_bytes(*b"CONNECT ");
    let proxy = word & 0xffff_ffff_ffff == u64::from_le_bytes(*b"PROXY \0\0") && next & 0xfe == b'T';
    if target || connect || proxy {
        Sniff::Request
    } else {
        Sniff::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expect: Sniff) {
        let mut bytes = [0; SNIFF_BYTES];
        let n = text.len().min(SNIFF_BYTES);
        bytes[..n].copy_from_slice(&text[..n]);
        assert_eq!(sniff(&bytes, n as u32), expect, "{}", text.escape_ascii());
    }

    #[test]
    fn requests() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "POST /orders HTTP/1.0",
            "OPTIONS * HTTP/1.1",
            "CONNECT db:443 HTTP/1.1",
            "GET http://h/ HTTP/1.1",
            "M-SEARCH * HTTP/1.1",
            "PROPFIND /dav HTTP/1.1",
            "PRI * HTTP/2.0\r\n",
            "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
            "\r\n\r\n\0\r\nQUIT\n",
        ] {
            check(text.as_bytes(), Sniff::Request);
        }
    }

    #[test]
    fn responses() {
        check(b"HTTP/1.1 200 OK", Sniff::Response);
        check(b"HTTP/1.0 404", Sniff::Response);
        check(b"HTTP/1.", Sniff::Response);
    }

    #[test]
    fn prefixes_wait() {
        for text in ["G", "GET", "GET ", "HTTP", "HTTP/1", "DELETE", "PROXY "] {
            check(text.as_bytes(), Sniff::TooShort);
        }
    }

    #[test]
    fn other_protocols() {
        for text in [
            &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
            b"SSH-2.0-OpenSSH_9.2",
            b"*1\r\n$4\r\nPING\r\n",
            b"USER anonymous\r\n",
            b"220 mail ESMTP\r\n",
            b"MAIL FROM:<a@b>\r\n",
            b" / leading space",
            b"A001 LOGIN a b\r\n",
            b"EHLO\r\n",
            b"get / HTTP/1.1",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
        ] {
            check(text, Sniff::Other);
        }
    }
}
