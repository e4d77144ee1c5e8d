//! The Huffman code of string literals (RFC 7541 5.2).
//!
//! Twelve bits at a time are looked up; they give up to two symbols, which covers every code of the printable characters
//! but a few. Longer codes are found by the range that their length has.

use super::Error;
use super::huffman_code::{EOS, LONG, LONGEST, PAIRS, Pair, SHORTEST, SYMBOLS, WINDOW};

/// The symbol and its bits of a code that is longer than the window; `bits` are at the top.
#[cold]
fn long(bits: u64) -> Option<(u16, u32)> {
    let top = bits >> 32;
    let range = LONG.iter().find(|range| top < range.end)?;
    let place = top.checked_sub(range.from)? >> (32 - range.bits);
    let symbol = SYMBOLS.get(range.place + usize::try_from(place).ok()?)?;
    Some((*symbol, range.bits))
}

/// Appends the decoded string. Time and space are linear in `input`: at most eight fifths of its bytes.
pub(super) fn decode(mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut at = out.len();
    // Symbols are written in pairs, hence one more.
    out.resize(at + input.len() * 8 / SHORTEST + 1, 0);
    // The next bits, at the top, and how many of them are no longer in `input`; below those are zeros, or what comes next.
    let (mut bits, mut count) = (0_u64, 0_u32);
    while let Some(chunk) = input.first_chunk::<8>() {
        bits |= u64::from_be_bytes(*chunk) >> count;
        let taken = (63 - count) / 8;
        input = input.get(taken as usize..).unwrap_or_default();
        count += taken * 8;
        while count >= LONGEST as u32 {
            let pair = lookup(bits);
            if pair.first_bits == 0 {
                let (symbol, length) = long(bits).ok_or(Error::HuffmanEos)?;
                put(out, &mut at, symbol)?;
                bits <<= length;
                count -= length;
                continue;
            }
            put_pair(out, &mut at, pair);
            bits <<= pair.bits;
            count -= u32::from(pair.bits);
        }
    }
    loop {
        while count < 56
            && let Some((&byte, rest)) = input.split_first()
        {
            bits |= u64::from(byte) << (56 - count);
            count += 8;
            input = rest;
        }
        // Behind the end the bits of EOS go on, so that nothing but its beginning can be left over.
        let padded = bits | (u64::MAX >> count);
        let pair = lookup(padded);
        if pair.bits != pair.first_bits && u32::from(pair.bits) <= count {
            put_pair(out, &mut at, pair);
            bits <<= pair.bits;
            count -= u32::from(pair.bits);
            continue;
        }
        let (symbol, length) = match pair.first_bits {
            0 => long(padded).ok_or(Error::HuffmanEos)?,
            length => (u16::from(pair.symbols[0]), u32::from(length)),
        };
        if length > count {
            let all_ones = padded == u64::MAX;
            out.truncate(at);
            return if count <= 7 && all_ones {
                Ok(())
            } else {
                Err(Error::HuffmanPadding)
            };
        }
        put(out, &mut at, symbol)?;
        bits <<= length;
        count -= length;
    }
}

#[inline]
fn lookup(bits: u64) -> Pair {
    #[expect(clippy::indexing_slicing, reason = "12 bits index 4096 entries")]
    PAIRS[(bits >> (64 - WINDOW)) as usize]
}

/// Writes the symbols of a window that has any.
#[inline]
fn put_pair(out: &mut [u8], at: &mut usize, pair: Pair) {
    if let Some(place) = out.get_mut(*at..*at + 2) {
        place.copy_from_slice(&pair.symbols);
    }
    *at += 1 + usize::from(pair.bits != pair.first_bits);
}

#[inline]
fn put(out: &mut [u8], at: &mut usize, symbol: u16) -> Result<(), Error> {
    if symbol == EOS {
        return Err(Error::HuffmanEos);
    }
    if let Some(place) = out.get_mut(*at) {
        *place = symbol as u8;
    }
    *at += 1;
    Ok(())
}
