//! Integers with a prefix (RFC 7541 5.1).

use super::Error;

/// Bytes that may follow the prefix: enough for 32 bits.
const CONTINUATION_BYTES: usize = 5;

/// Reads an integer whose prefix is the bits of `first` under `mask`, a row of low ones; `rest` starts behind `first`
/// and is left behind the integer.
#[inline]
pub(super) fn read(first: u8, mask: u8, rest: &mut &[u8]) -> Result<u32, Error> {
    let prefix = first & mask;
    if prefix < mask {
        return Ok(u32::from(prefix));
    }
    read_continued(mask, rest)
}

fn read_continued(mask: u8, rest: &mut &[u8]) -> Result<u32, Error> {
    let mut value = u64::from(mask);
    let mut shift = 0;
    for _ in 0..CONTINUATION_BYTES {
        let (&byte, after) = rest.split_first().ok_or(Error::Truncated)?;
        *rest = after;
        // At most 7 bits moved by 28: no overflow.
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| Error::IntegerTooLarge);
        }
        shift += 7;
    }
    Err(Error::IntegerTooLarge)
}
