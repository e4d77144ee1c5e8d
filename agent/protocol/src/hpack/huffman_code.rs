//! The tables of the Huffman code (RFC 7541 appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, and shorter codes come
//! first. So the lengths say everything, and the tables are made from them at compile time.
#![expect(clippy::indexing_slicing, reason = "by the compiler alone")]

/// Code length in bits of each byte, and of EOS at the end.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

pub(super) const EOS: u16 = 256;
pub(super) const LONGEST: usize = 30;
/// Bits of the shortest code.
pub(super) const SHORTEST: usize = 5;
/// Bits that are looked up at once.
pub(super) const WINDOW: u32 = 12;

/// Symbols in the order of their codes.
pub(super) const SYMBOLS: [u16; 257] = {
    let mut symbols = [0; 257];
    let mut at = 0;
    let mut length = 1;
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                symbols[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    assert!(at == 257);
    symbols
};

/// The code of each symbol, in its low bits.
pub(super) const CODES: [u32; 257] = {
    let mut codes = [0; 257];
    let mut code = 0_u32;
    let mut previous = 0;
    let mut at = 0;
    while at < 257 {
        let symbol = SYMBOLS[at] as usize;
        code <<= LENGTHS[symbol] - previous;
        previous = LENGTHS[symbol];
        codes[symbol] = code;
        code += 1;
        at += 1;
    }
    // The last code is all ones: every sequence of bits is one of codes.
    assert!(code == 1 << LONGEST);
    codes
};

/// What a window of bits begins with.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    /// First symbol, and the one behind it if the window holds it whole.
    pub symbols: [u8; 2],
    /// Bits of the first symbol; 0: its code is longer than the window.
    pub first_bits: u8,
    /// Bits of all symbols of the window: `first_bits` when there is one only.
    pub bits: u8,
}

/// By the next [`WINDOW`] bits.
pub(super) static PAIRS: [Pair; 1 << WINDOW] = {
    const NONE: Pair = Pair {
        symbols: [0; 2],
        first_bits: 0,
        bits: 0,
    };
    let mut single = [NONE; 1 << WINDOW];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol];
        if length as u32 <= WINDOW {
            let shift = WINDOW - length as u32;
            let from = CODES[symbol] << shift;
            let mut window = from;
            while window < from + (1 << shift) {
                single[window as usize] = Pair {
                    symbols: [symbol as u8, 0],
                    first_bits: length,
                    bits: length,
                };
                window += 1;
            }
        }
        symbol += 1;
    }
    let mut pairs = single;
    let mut window = 0;
    while window < 1 << WINDOW {
        let first = single[window];
        let rest = (window << first.first_bits) & ((1 << WINDOW) - 1);
        let second = single[rest];
        let bits = first.bits + second.bits;
        if first.first_bits > 0 && second.first_bits > 0 && bits as u32 <= WINDOW {
            pairs[window] = Pair {
                symbols: [first.symbols[0], second.symbols[0]],
                first_bits: first.first_bits,
                bits,
            };
        }
        window += 1;
    }
    pairs
};

/// Codes of one length.
#[derive(Clone, Copy)]
pub(super) struct Long {
    /// First code and the one behind the last, at the top of 32 bits.
    pub from: u64,
    pub end: u64,
    pub bits: u32,
    /// Place of the first in [`SYMBOLS`].
    pub place: usize,
}

/// Lengths longer than the window that have codes.
const LONG_LENGTHS: usize = 14;

/// Shortest first.
pub(super) static LONG: [Long; LONG_LENGTHS] = {
    let mut long = [Long {
        from: 0,
        end: 0,
        bits: 0,
        place: 0,
    }; LONG_LENGTHS];
    let mut count = 0;
    let mut at = 0;
    while at < 257 {
        let symbol = SYMBOLS[at] as usize;
        let bits = LENGTHS[symbol] as u32;
        if bits > WINDOW {
            let from = (CODES[symbol] as u64) << (32 - bits);
            if count == 0 || long[count - 1].bits != bits {
                long[count] = Long {
                    from,
                    end: from,
                    bits,
                    place: at,
                };
                count += 1;
            }
            long[count - 1].end += 1 << (32 - bits);
        }
        at += 1;
    }
    assert!(count == LONG_LENGTHS);
    long
};
