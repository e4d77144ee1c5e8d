//! JSON text, written straight into a buffer: one allocation for many lines.

use std::net::{IpAddr, Ipv4Addr};

use crate::source::har::End;

/// Whether a string cannot hold this byte as it is (RFC 8259 section 7), or it is beyond ASCII and has to be looked at.
const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte >= 0x80 || byte == b'"' || byte == b'\\'
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A string in quotes. Bytes that are no UTF-8 are percent-encoded: nothing of them is lost.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push(out, text);
    out.push(b'"');
}

/// As [`string`], without the quotes.
pub fn push(out: &mut Vec<u8>, text: &[u8]) {
    // Without an early end it is done many bytes at a time.
    if !text.iter().fold(false, |found, byte| found | is_special(*byte)) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            out.extend_from_slice(&[b'%', upper(byte >> 4), upper(byte & 15)]);
        }
    }
}

fn upper(nibble: u8) -> u8 {
    HEX.get(usize::from(nibble)).map_or(b'0', u8::to_ascii_uppercase)
}

fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let mut from = 0;
    for (at, byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(text.get(from..at).unwrap_or_default());
        from = at + 1;
        if short == 0 {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
}

/// A number.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while value >= 100 {
        at -= 2;
        put(&mut digits, at, value % 100);
        value /= 100;
    }
    at -= 2;
    put(&mut digits, at, value);
    let begin = at + usize::from(value < 10);
    out.extend_from_slice(digits.get(begin..).unwrap_or_default());
}

/// Two decimal digits.
fn put(digits: &mut [u8], at: usize, value: u64) {
    if let Some([tens, ones]) = digits.get_mut(at..at + 2) {
        (*tens, *ones) = (b'0' + (value / 10) as u8, b'0' + (value % 10) as u8);
    }
}

/// A number, or `null`.
pub fn number_or_null(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => number(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// Microseconds as seconds with six decimals.
pub fn seconds(out: &mut Vec<u8>, us: i64) {
    if us < 0 {
        out.push(b'-');
    }
    let us = us.unsigned_abs();
    number(out, us / 1_000_000);
    let us = us % 1_000_000;
    let mut digits = *b".000000";
    put(&mut digits, 1, us / 10_000);
    put(&mut digits, 3, us / 100 % 100);
    put(&mut digits, 5, us % 100);
    out.extend_from_slice(&digits);
}

/// An end of a connection: `"10.0.0.1:80"`, `"10.0.0.1"`, `"[2001:db8::1]:80"`; `null` when not known.
pub fn end(out: &mut Vec<u8>, end: &End) {
    let Some(address) = end.address else {
        return out.extend_from_slice(b"null");
    };
    out.push(b'"');
    match (address, end.port) {
        (IpAddr::V4(address), port) => {
            ipv4(out, address);
            colon(out, port);
        }
        (IpAddr::V6(address), None) => out.extend_from_slice(address.to_string().as_bytes()),
        (IpAddr::V6(address), port) => {
            out.extend_from_slice(format!("[{address}]").as_bytes());
            colon(out, port);
        }
    }
    out.push(b'"');
}

fn colon(out: &mut Vec<u8>, port: Option<u16>) {
    if let Some(port) = port {
        out.push(b':');
        number(out, port.into());
    }
}

fn ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        number(out, octet.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_that_are_no_text() {
        for (text, expect) in [
            (&b"/a\xffb"[..], r#""/a%FFb""#),
            (b"\xc3\xa9\xc3", "\"é%C3\""),
            (
                b"a\"\\\n\r\t\x00\x1f\x7f",
                "\"a\\\"\\\\\\n\\r\\t\\u0000\\u001f\x7f\"",
            ),
            (b"", r#""""#),
        ] {
            assert_eq!(written(|out| string(out, text)), expect);
        }
    }

    proptest! {
        #[test]
        fn strings_are_json(text in any::<String>()) {
            let json = written(|out| string(out, text.as_bytes()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_json(text in any::<Vec<u8>>()) {
            let json = written(|out| string(out, &text));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok());
        }

        #[test]
        fn numbers(value in any::<u64>(), us in any::<i64>()) {
            for value in [value, value >> (value % 64)] {
                prop_assert_eq!(written(|out| number(out, value)), value.to_string());
            }
            let expect = format!("{}{}.{:06}", if us < 0 { "-" } else { "" }, us.unsigned_abs() / 1_000_000, us.unsigned_abs() % 1_000_000);
            prop_assert_eq!(written(|out| seconds(out, us)), expect);
        }
    }

    #[test]
    fn ends() {
        for (address, port, expect) in [
            (None, Some(80), "null"),
            (Some("10.0.0.1"), None, r#""10.0.0.1""#),
            (Some("255.20.0.1"), Some(65535), r#""255.20.0.1:65535""#),
            (Some("2001:db8::1"), None, r#""2001:db8::1""#),
            (Some("2001:db8::1"), Some(443), r#""[2001:db8::1]:443""#),
        ] {
            let address = address.map(|text| text.parse().unwrap());
            assert_eq!(written(|out| end(out, &End { address, port })), expect);
        }
    }
}
