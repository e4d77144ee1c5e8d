//! Codings against the encoders that peers use, and against peers that lie.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::decoder::BLOCK;
use super::{Codings, Decoder, Flow, Outcome};
use crate::{Headers, Limits};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn brotli(data: &[u8]) -> Vec<u8> {
    brotli_of(data, 22)
}

fn brotli_of(data: &[u8], window: i32) -> Vec<u8> {
    let params = ::brotli::enc::BrotliEncoderParams {
        quality: 5,
        lgwin: window,
        large_window: window > 24,
        ..Default::default()
    };
    let mut out = Vec::new();
    ::brotli::BrotliCompress(&mut &data[..], &mut out, &params).unwrap();
    out
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ::zstd::stream::encode_all(data, 3).unwrap()
}

fn zstd_window(data: &[u8], log: u32) -> Vec<u8> {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(log).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// An encoder and what it is called.
type Encoder = (&'static str, fn(&[u8]) -> Vec<u8>);

const ENCODERS: [Encoder; 5] = [
    ("gzip", gzip),
    ("deflate", zlib),
    ("deflate", deflate),
    ("br", brotli),
    ("zstd", zstd),
];

fn codings(value: &str) -> Codings {
    Codings::of(&Headers::from([("content-encoding", value)]))
}

#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    bytes: Vec<u8>,
    outcome: Outcome,
    complete: bool,
}

/// Decodes `body`, given in pieces of these lengths, until `wanted` bytes came out.
fn decode_some(name: &str, body: &[u8], pieces: &[usize], limits: &Limits, wanted: usize) -> Decoded {
    let Codings::Known(codings) = codings(name) else {
        panic!("{name}");
    };
    let mut decoder = Decoder::new(codings, limits);
    let mut bytes = Vec::new();
    let mut take = |decoded: &[u8]| {
        bytes.extend_from_slice(decoded);
        if bytes.len() >= wanted {
            Flow::Enough
        } else {
            Flow::More
        }
    };
    let mut rest = body;
    for &piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (data, behind) = rest.split_at(piece.min(rest.len()));
        decoder.data(data, &mut take);
        rest = behind;
    }
    decoder.flush(&mut take);
    Decoded {
        outcome: decoder.outcome(),
        complete: decoder.complete(),
        bytes,
    }
}

fn decode(name: &str, body: &[u8]) -> Decoded {
    decode_some(name, body, &[usize::MAX], &Limits::default(), usize::MAX)
}

/// Text that compresses about as JSON does.
fn text(len: usize) -> Vec<u8> {
    let mut seed = 7_u32;
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        write!(out, "{{\"id\":{},\"name\":\"item {}\"}},", seed >> 8, seed >> 28).unwrap();
    }
    out.truncate(len);
    out
}

#[test]
fn what_real_encoders_make_is_decoded() {
    for len in [0, 1, 2, 100, BLOCK, 5000, 300_000] {
        let plain = text(len);
        for (name, encode) in ENCODERS {
            let decoded = decode(name, &encode(&plain));
            assert!(decoded.bytes == plain, "{name} of {len}");
            assert!(decoded.complete, "{name} of {len}");
            let upper = name.to_ascii_uppercase();
            assert!(
                decode(&upper, &encode(&plain)).bytes == plain,
                "names have no case"
            );
        }
    }
    assert_eq!(decode("x-gzip", &gzip(b"abc")).bytes, b"abc");
}

#[test]
fn chains_are_taken_off_in_reverse() {
    let plain = text(10_000);
    let cases = [
        ("gzip, br", brotli(&gzip(&plain))),
        ("deflate,,zstd", zstd(&zlib(&plain))),
        ("identity, gzip, identity", gzip(&plain)),
        ("br, gzip,zstd", zstd(&gzip(&brotli(&plain)))),
        ("gzip, gzip, gzip", gzip(&gzip(&gzip(&plain)))),
    ];
    for (name, body) in cases {
        let decoded = decode(name, &body);
        assert!(decoded.bytes == plain && decoded.complete, "{name}");
    }
    let two = Headers::from(["gzip", "br"].map(|value| ("Content-Encoding", value)));
    assert_eq!(Codings::of(&two), codings("gzip, br"));
}

#[test]
fn what_is_no_coding() {
    for name in ["", "identity", " , identity", "Identity"] {
        assert_eq!(codings(name), Codings::None, "{name}");
    }
    for name in [
        "compress",
        "utf-8",
        "aws-chunked",
        "gzip, lzma",
        "gzip,gzip,gzip,gzip",
        "gz ip",
    ] {
        assert_eq!(codings(name), Codings::Unknown, "{name}");
    }
    assert_eq!(Codings::of(&Headers::new()), Codings::None);
}

#[test]
fn members_and_frames_follow_each_other() {
    let (a, b) = (text(3000), text(70));
    for (name, encode) in [ENCODERS[0], ENCODERS[4]] {
        let both = [&a[..], &b, b""].concat();
        let body = [encode(&a), encode(&b), encode(b"")].concat();
        let decoded = decode(name, &body);
        assert!(decoded.bytes == both && decoded.complete, "{name}");
        let padded = [&body[..], &[0; 3000]].concat();
        assert_eq!(decode(name, &padded).outcome, Outcome::Ended, "{name}: padding");
        assert!(decode(name, &padded).bytes == both, "{name}: padding");
        let begun = [&body[..], &encode(&a)[..20]].concat();
        assert!(!decode(name, &begun).complete, "{name}: cut");
    }
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&a)].concat();
    assert!(decode("zstd", &skippable).bytes == a);
    let behind = [brotli(&a), b"trailing".to_vec()].concat();
    assert!(decode("br", &behind).bytes == a);
}

#[test]
fn every_field_of_a_gzip_header_is_passed_over() {
    let plain = text(2000);
    let body = gzip(&plain);
    for flags in 0..32_u8 {
        let mut member = body[..10].to_vec();
        member[3] = flags;
        for (flag, field) in [
            (4, &b"\x05\0extra"[..]),
            (8, b"name\0"),
            (16, b"comment\0"),
            (2, b"\xaa\xbb"),
        ] {
            if flags & flag != 0 {
                member.extend_from_slice(field);
            }
        }
        member.extend_from_slice(&body[10..]);
        assert!(decode("gzip", &member).bytes == plain, "{flags}");
    }
    let mut reserved = body.clone();
    reserved[3] = 0x20;
    assert_eq!(decode("gzip", &reserved).outcome, Outcome::Broken);
}

#[test]
fn garbage_is_told() {
    let plain = text(5000);
    for (name, encode) in ENCODERS {
        assert_eq!(decode(name, &[0xff; 20]).outcome, Outcome::Broken, "{name}");
        let mut body = encode(&plain);
        let middle = body.len() / 2;
        body[middle..].fill(0xff);
        let decoded = decode(name, &body);
        assert!(!decoded.complete || decoded.outcome == Outcome::Broken, "{name}");
        assert!(
            plain.starts_with(&decoded.bytes[..decoded.bytes.len().min(100)]),
            "{name}"
        );
    }
    // A format of old versions of the library, behind a frame and at the begin.
    let old = [0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0];
    assert_eq!(decode("zstd", &old).outcome, Outcome::Broken);
    assert_eq!(
        decode("zstd", &[&zstd(b"abc")[..], &old].concat()).outcome,
        Outcome::Ended
    );
    let dictionary = [0x78, 0xbb, 1, 2, 3, 4, 5, 6];
    assert_eq!(decode("deflate", &dictionary).outcome, Outcome::Broken);
}

#[test]
fn windows_have_a_limit() {
    let plain = text(100_000);
    let limits = &Limits::default();
    let decode = |name: &str, body: &[u8]| decode_some(name, body, &[usize::MAX], limits, 1 << 10);
    assert_eq!(decode("zstd", &zstd_window(&plain, 23)).outcome, Outcome::Enough);
    assert_eq!(
        decode("zstd", &zstd_window(&plain, 24)).outcome,
        Outcome::WindowTooLarge
    );
    assert_eq!(decode("br", &brotli_of(&plain, 24)).outcome, Outcome::Enough);
    assert_eq!(decode("br", &brotli_of(&plain, 25)).outcome, Outcome::Broken);
}

#[test]
fn bombs_are_given_up() {
    let zeros = vec![0; 12 << 20];
    let limits = Limits::default();
    for (name, encode) in ENCODERS {
        let body = encode(&zeros);
        // What the first block may give; the bodies of br and zstd are not much longer.
        let most = Limits::DECODE_FLOOR + limits.decode_ratio * body.len();
        let decoded = decode(name, &body);
        assert_eq!(decoded.outcome, Outcome::TooLarge, "{name}: {} bytes", body.len());
        assert!(decoded.bytes.len() <= most, "{name}");
        assert!(!decoded.complete, "{name}");
        let twice = format!("{name}, gzip");
        assert_eq!(
            decode(&twice, &gzip(&body)).outcome,
            Outcome::TooLarge,
            "{name} in gzip"
        );
    }
    // Members without content cost as much as their bytes.
    let empty = gzip(b"").repeat(5000);
    assert_eq!(decode("gzip", &empty).bytes, b"");
}

#[test]
fn the_ratio_is_exact() {
    let limits = Limits {
        decode_ratio: 3,
        ..Limits::default()
    };
    // An incompressible block, and enough of what compresses to reach the limit.
    let outcome = |len: usize| {
        let body = zlib(&vec![7; len]);
        let most = Limits::DECODE_FLOOR + 3 * body.len();
        (
            most,
            decode_some("deflate", &body, &[usize::MAX], &limits, usize::MAX).outcome,
        )
    };
    // The length of the body hardly depends on that of the content.
    let least = Limits::DECODE_FLOOR + 3 * zlib(&vec![7; Limits::DECODE_FLOOR]).len();
    for len in least - 20..least + 20 {
        let (most, outcome) = outcome(len);
        let want = if len > most {
            Outcome::TooLarge
        } else {
            Outcome::Ended
        };
        assert_eq!(outcome, want, "{len} of {most}");
    }
}

/// Bits, the lowest of a byte first (RFC 7932 1.5.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    len: u32,
}

impl Bits {
    fn put(&mut self, count: u32, value: u32) {
        for bit in (0..count).map(|at| (value >> at & 1) as u8) {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= bit << (self.len % 8);
            self.len += 1;
        }
    }

    /// A prefix code of one symbol (RFC 7932 3.4).
    fn code(&mut self, bits: u32, symbol: u32) {
        self.put(4, 1);
        self.put(bits, symbol);
    }

    /// One (RFC 7932 9.2), or as many as there may be.
    fn count(&mut self, many: bool) {
        self.put(if many { 11 } else { 1 }, if many { 0x7ff } else { 0 });
    }

    /// A block of one literal, which defines as many codes of each kind as there may be.
    fn block(&mut self, many: bool) {
        self.put(20, 0);
        for _ in 0..3 {
            self.count(many);
            if many {
                self.code(9, 0);
                self.code(5, 0);
                self.put(2, 0);
            }
        }
        let kinds = if many { 256 } else { 1 };
        self.put(6, 0);
        (0..kinds).for_each(|_| self.put(2, 0));
        for _ in 0..2 {
            self.count(many);
            if many {
                self.put(1, 0);
                self.code(8, 0);
                self.put(1, 0);
            }
        }
        (0..kinds).for_each(|_| self.code(8, u32::from(b'x')));
        (0..kinds).for_each(|_| self.code(10, 8));
        (0..kinds).for_each(|_| self.code(6, 0));
    }
}

/// Blocks that are little more than tables take their time whatever they decode to.
#[test]
fn tables_of_brotli_are_bounded() {
    let body = |many: bool, len: usize| {
        let mut bits = Bits::default();
        bits.put(1, 0);
        let mut blocks = 0;
        while bits.bytes.len() < len {
            bits.block(many);
            blocks += 1;
        }
        (bits.bytes, blocks)
    };
    // They are what they shall be: one literal each.
    let (few, blocks) = body(true, 5000);
    let decoded = decode("br", &few);
    assert_eq!(decoded.outcome, Outcome::Running);
    assert!(
        decoded.bytes.len().abs_diff(blocks) <= 1,
        "{} of {blocks}",
        decoded.bytes.len()
    );
    for many in [true, false] {
        assert_eq!(
            decode("br", &body(many, 200_000).0).outcome,
            Outcome::TooLarge,
            "{many}"
        );
    }
    // Who flushes often.
    let mut flushed = Vec::new();
    let mut encoder = ::brotli::CompressorWriter::new(&mut flushed, 4096, 5, 22);
    for n in 0..3000 {
        write!(encoder, "data: {n}\n\n").unwrap();
        encoder.flush().unwrap();
    }
    drop(encoder);
    let decoded = decode("br", &flushed);
    assert!(
        decoded.complete && decoded.bytes.ends_with(b"data: 2999\n\n"),
        "{:?}",
        decoded.outcome
    );
}

#[test]
fn decoding_stops_when_enough_came() {
    let plain = text(100_000);
    for (name, encode) in ENCODERS {
        let decoded = decode_some(name, &encode(&plain), &[usize::MAX], &Limits::default(), 10);
        assert_eq!(decoded.outcome, Outcome::Enough, "{name}");
        assert!(decoded.bytes.len() <= 4 << 10, "{name}");
    }
}

#[test]
fn a_body_that_ends_early_gives_what_came() {
    let plain = text(50_000);
    for (name, encode) in ENCODERS {
        let body = encode(&plain);
        let decoded = decode(name, &body[..body.len() - 10]);
        assert_eq!(decoded.outcome, Outcome::Running, "{name}");
        assert!(!decoded.complete, "{name}");
        assert!(plain.starts_with(&decoded.bytes), "{name}");
    }
}

proptest! {
    #[test]
    fn splits_change_nothing(
        which in 0..ENCODERS.len(),
        twice in prop::option::of(0..ENCODERS.len()),
        len in 0_usize..20_000,
        bomb in 0_usize..300_000,
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cut in prop::option::of(any::<prop::sample::Index>()),
        pieces in prop::collection::vec(1_usize..3000, 1..8),
        wanted in prop_oneof![Just(usize::MAX), 0_usize..30_000],
        ratio in 1_usize..100,
    ) {
        let limits = Limits { decode_ratio: ratio, ..Limits::default() };
        let mut plain = text(len);
        plain.resize(len + bomb, b'x');
        let (name, encode) = ENCODERS[which];
        let mut body = encode(&plain);
        let mut name = name.to_owned();
        if let Some(twice) = twice {
            body = (ENCODERS[twice].1)(&body);
            name = format!("{name}, {}", ENCODERS[twice].0);
        }
        if let Some((at, byte)) = damage {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len() + 1));
        }
        let whole = decode_some(&name, &body, &[usize::MAX], &limits, wanted);
        prop_assert!(whole.bytes.len() <= Limits::DECODE_FLOOR + ratio * body.len());
        let split = decode_some(&name, &body, &pieces, &limits, wanted);
        prop_assert!(split == whole, "{:?} {:?}", split.outcome, whole.outcome);
        if damage.is_none() && cut.is_none() && whole.outcome == Outcome::Running {
            prop_assert!(whole.bytes == plain);
        }
    }

    #[test]
    fn garbage_ends(body in prop::collection::vec(any::<u8>(), 0..3000), which in 0..ENCODERS.len()) {
        let (name, encode) = ENCODERS[which];
        decode(name, &body);
        // Behind a good begin too.
        let good = encode(&text(600));
        let mixed = [&good[..good.len() / 2], &body].concat();
        decode(name, &mixed);
    }
}
