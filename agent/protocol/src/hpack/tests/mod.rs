mod appendix;
mod encoder;
mod laws;
mod malformed;
mod unknown;

use super::{Decoder, Error, Field, ListLimits, Summary};
use crate::{Limits, Start};

const NO_LIMITS: ListLimits = ListLimits {
    bytes: usize::MAX,
    fields: usize::MAX,
};

/// A decoder with the limit of production.
fn decoder(start: Start) -> Decoder {
    Decoder::new(Limits::default().hpack_table_bytes, start)
}

/// A field in short: name and value, `None` what is unknown.
type Short = (Option<String>, Option<String>);

fn short(field: &Field) -> Short {
    let text = |bytes: &Option<bytes::Bytes>| {
        bytes
            .as_ref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    (text(&field.name), text(&field.value))
}

fn known(name: &str, value: &str) -> Short {
    (Some(name.to_owned()), Some(value.to_owned()))
}

fn try_decode(decoder: &mut Decoder, block: &[u8], list: ListLimits) -> (Vec<Field>, Result<Summary, Error>) {
    let mut fields = Vec::new();
    let result = decoder.decode(block, list, &mut |field| fields.push(field));
    (fields, result)
}

/// All fields of a block that must be well-formed.
#[track_caller]
fn decode(decoder: &mut Decoder, block: &[u8]) -> Vec<Short> {
    let (fields, result) = try_decode(decoder, block, NO_LIMITS);
    let summary = result.unwrap();
    assert_eq!(summary.fields, fields.len());
    assert_eq!(summary.left_out, 0);
    assert_eq!(
        summary.unknown,
        fields.iter().filter(|field| field.name.is_none()).count()
    );
    fields.iter().map(short).collect()
}

/// What the dynamic table holds, newest first: every index from 62 on, until one is refused. The decoder is of no use
/// afterwards.
fn dynamic_table(mut decoder: Decoder) -> Vec<Short> {
    let block: Vec<u8> = (62_u8..127).map(|index| 0x80 | index).collect();
    let (fields, result) = try_decode(&mut decoder, &block, NO_LIMITS);
    let last = 61 + fields.len() as u32;
    assert_eq!(
        result,
        Err(Error::IndexBeyondTable {
            index: last + 1,
            last
        })
    );
    fields.iter().map(short).collect()
}

/// Bytes of hexadecimal digits; white space is left out.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    assert_eq!(digits.len() % 2, 0);
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}
