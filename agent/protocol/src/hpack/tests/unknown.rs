//! What is known, and what is not, when the table is not seen whole.

use super::encoder::{integer, text};
use super::{Decoder, Error, Short, decode, decoder, dynamic_table, known, short, try_decode};
use crate::Start;
use crate::hpack::ListLimits;

const NOTHING: Short = (None, None);

/// An index of a field.
fn index(index: u32) -> Vec<u8> {
    let mut block = Vec::new();
    integer(0x80, 7, index, &mut block);
    block
}

/// A field that goes into the table, its name a literal.
fn insert(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x40];
    text(name, false, &mut block);
    text(value, false, &mut block);
    block
}

/// A field that goes into the table with the name of an index.
fn insert_by(index: u32, value: &str) -> Vec<u8> {
    let mut block = Vec::new();
    integer(0x40, 6, index, &mut block);
    text(value, false, &mut block);
    block
}

fn resize(size: u32) -> Vec<u8> {
    let mut block = Vec::new();
    integer(0x20, 5, size, &mut block);
    block
}

fn late(blocks: &[Vec<u8>]) -> Decoder {
    let mut decoder = decoder(Start::Late);
    blocks.iter().for_each(|block| drop(decode(&mut decoder, block)));
    decoder
}

#[track_caller]
fn refused(decoder: &mut Decoder, block: &[u8]) -> Error {
    try_decode(decoder, block, super::NO_LIMITS).1.unwrap_err()
}

#[test]
fn a_late_decoder_counts_from_the_newest() {
    let mut decoder = late(&[insert("a", "1"), insert("b", "2")]);
    assert_eq!(decode(&mut decoder, &index(62)), [known("b", "2")]);
    assert_eq!(decode(&mut decoder, &index(63)), [known("a", "1")]);
    assert_eq!(decode(&mut decoder, &index(64)), [NOTHING]);
    assert_eq!(decode(&mut decoder, &index(2)), [known(":method", "GET")]);
}

#[test]
fn an_unknown_name_stays_unknown() {
    let mut decoder = late(&[]);
    let value = Some("v".to_owned());
    assert_eq!(decode(&mut decoder, &insert_by(62, "v")), [(None, value.clone())]);
    assert_eq!(decode(&mut decoder, &index(62)), [(None, value)]);
    assert_eq!(
        decode(&mut decoder, &insert_by(62, "w")),
        [(None, Some("w".to_owned()))]
    );
    assert_eq!(
        decode(&mut decoder, &insert_by(1, "w")),
        [known(":authority", "w")]
    );
}

#[test]
fn unknown_fields_are_counted() {
    let mut decoder = late(&[]);
    let block = [vec![0x82], index(70), insert_by(80, "v"), index(62)].concat();
    let (fields, summary) = try_decode(&mut decoder, &block, super::NO_LIMITS);
    let summary = summary.unwrap();
    assert_eq!((fields.len(), summary.fields, summary.unknown), (4, 4, 3));
    // 10 for :method: GET, 1 for each v.
    assert_eq!(summary.list_bytes, 4 * 32 + 10 + 2);
}

/// Nothing bounds the table of a late join: peers may have agreed on any size, long ago.
#[test]
fn any_index_may_be_valid_after_a_late_join() {
    let mut decoder = late(&[]);
    assert_eq!(decode(&mut decoder, &index(u32::MAX)), [NOTHING]);
    // More than the default size holds, and still there.
    let mut decoder = late(&vec![insert("name", &"v".repeat(1000)); 10]);
    assert_eq!(
        decode(&mut decoder, &index(71)),
        [known("name", &"v".repeat(1000))]
    );
    assert_eq!(decode(&mut decoder, &index(72)), [NOTHING]);
}

/// A size says how many entries there can be, of 32 bytes at least.
#[test]
fn a_size_bounds_what_is_unknown() {
    for (mut decoder, what) in [
        (late(&[resize(200)]), "update"),
        (
            {
                let mut decoder = late(&[]);
                decoder.settings_max_size(200);
                decoder
            },
            "settings",
        ),
    ] {
        // 34 bytes; 166 are left.
        decode(&mut decoder, &insert("a", "1"));
        assert_eq!(decode(&mut decoder, &index(62 + 5)), [NOTHING], "{what}");
        let beyond = Error::IndexBeyondTable { index: 68, last: 67 };
        assert_eq!(refused(&mut decoder, &index(68)), beyond, "{what}");
    }
}

/// Settings that were raised bound a size from above; how large it is they do not say.
#[test]
fn settings_are_an_upper_bound_only() {
    let mut decoder = late(&[]);
    decoder.settings_max_size(100);
    decode(&mut decoder, &[]);
    decoder.settings_max_size(65536);
    decode(&mut decoder, &insert("a", "1"));
    assert_eq!(
        refused(&mut decoder, &index(62 + 3)),
        Error::IndexBeyondTable { index: 65, last: 64 }
    );
}

/// Once a known entry had to go, the older ones went before it, and the table is known exactly.
#[test]
fn known_when_full() {
    let a = insert("a", &"1".repeat(67));
    let b = insert("b", &"2".repeat(67));
    // 100 bytes each.
    let decoder = || late(&[resize(250), a.clone(), b.clone()]);
    assert_eq!(decode(&mut decoder(), &index(64)), [NOTHING]);
    let mut full = decoder();
    decode(&mut full, &a);
    assert_eq!(
        dynamic_table(full),
        [known("a", &"1".repeat(67)), known("b", &"2".repeat(67))]
    );
}

/// Less than the size of an empty entry is left.
#[test]
fn known_when_nothing_fits_below() {
    for (size, exact) in [(100 + 32, false), (100 + 31, true)] {
        let mut decoder = late(&[resize(size), insert("a", &"1".repeat(67))]);
        let (fields, result) = try_decode(&mut decoder, &index(63), super::NO_LIMITS);
        assert_eq!(
            (fields.len(), result.is_err()),
            if exact { (0, true) } else { (1, false) }
        );
    }
}

/// A size of 0, or an entry that is larger than the table, empties it (RFC 7541 4.3, 4.4).
#[test]
fn known_when_emptied() {
    let a = || known("a", "1");
    let zero = late(&[[resize(0), resize(4096)].concat(), insert("a", "1")]);
    assert_eq!(dynamic_table(zero), [a()]);
    let large = late(&[resize(100), insert("big", &"v".repeat(100)), insert("a", "1")]);
    assert_eq!(dynamic_table(large), [a()]);
}

/// The name of an entry that goes when its successor comes (RFC 7541 4.4).
#[test]
fn a_name_may_be_of_the_entry_that_it_evicts() {
    let mut decoder = decoder(Start::Fresh);
    decode(&mut decoder, &[resize(50), insert("a", "1")].concat());
    assert_eq!(decode(&mut decoder, &insert_by(62, "2")), [known("a", "2")]);
    assert_eq!(dynamic_table(decoder), [known("a", "2")]);
}

#[test]
fn a_table_beyond_our_limit_keeps_the_newest() {
    // 34 bytes each: two fit.
    let mut decoder = Decoder::new(68, Start::Fresh);
    let mut given_up = 0;
    for name in ["a", "b", "c"] {
        let (_, result) = try_decode(&mut decoder, &insert(name, "1"), super::NO_LIMITS);
        given_up += result.unwrap().entries_given_up;
    }
    assert_eq!(given_up, 1);
    assert_eq!(decode(&mut decoder, &index(62)), [known("c", "1")]);
    assert_eq!(decode(&mut decoder, &index(63)), [known("b", "1")]);
    assert_eq!(decode(&mut decoder, &index(64)), [NOTHING]);
    // An entry larger than the limit is the newest nevertheless.
    decode(&mut decoder, &insert("large", &"v".repeat(100)));
    assert_eq!(decode(&mut decoder, &index(62)), [NOTHING]);
    decode(&mut decoder, &insert("d", "1"));
    assert_eq!(decode(&mut decoder, &index(62)), [known("d", "1")]);
    assert_eq!(decode(&mut decoder, &index(63)), [NOTHING]);
    // Where nothing else fits, nothing is unknown.
    decode(&mut decoder, &resize(34));
    assert_eq!(dynamic_table(decoder), [known("d", "1")]);
}

#[test]
fn a_table_at_our_limit_loses_nothing() {
    let mut decoder = Decoder::new(68, Start::Fresh);
    decoder.settings_max_size(68);
    let block = [resize(68), insert("a", "1"), insert("b", "1"), insert("c", "1")].concat();
    let (_, result) = try_decode(&mut decoder, &block, super::NO_LIMITS);
    assert_eq!(result.unwrap().entries_given_up, 0);
    assert_eq!(dynamic_table(decoder), [known("c", "1"), known("b", "1")]);
}

#[test]
fn settings_allow_sizes() {
    let mut decoder = decoder(Start::Fresh);
    decoder.settings_max_size(65536);
    decode(&mut decoder, &resize(65536));
    let refusal = Error::SizeAboveSettings {
        size: 65537,
        allowed: 65536,
    };
    assert_eq!(refused(&mut decoder, &resize(65537)), refusal);
    // The settings are unknown after a fault, as after a late join.
    decode(&mut decoder, &resize(65537));
    decoder.settings_max_size(100);
    let refusal = Error::SizeAboveSettings {
        size: 101,
        allowed: 100,
    };
    assert_eq!(refused(&mut decoder, &resize(101)), refusal);
}

#[test]
fn settings_not_seen_allow_every_size() {
    let mut decoder = decoder(Start::Fresh);
    decoder.settings_unknown();
    decode(&mut decoder, &[resize(65536), insert("a", "1")].concat());
    assert_eq!(dynamic_table(decoder), [known("a", "1")]);
}

/// RFC 9113 4.3.1: lowered below what the table holds, the next block begins with an update to that or less.
#[test]
fn lowered_settings_need_an_update() {
    let fresh = || {
        let mut decoder = decoder(Start::Fresh);
        decode(&mut decoder, &insert("a", "1"));
        decoder.settings_max_size(33);
        // The lowest of several counts.
        decoder.settings_max_size(1000);
        decoder
    };
    let missing = Error::SizeUpdateMissing {
        held: 34,
        allowed: 33,
    };
    assert_eq!(refused(&mut fresh(), &[0x82]), missing);
    assert_eq!(refused(&mut fresh(), &resize(34)), missing);
    let mut lowered = fresh();
    decode(&mut lowered, &[resize(33), resize(1000)].concat());
    assert_eq!(dynamic_table(lowered), []);
    // So it is once a late join knows the size.
    let mut joined = late(&[resize(100), insert("a", "1")]);
    joined.settings_max_size(33);
    assert_eq!(refused(&mut joined, &[0x82]), missing);
    // A table that has room is not lowered by every encoder.
    let mut roomy = decoder(Start::Fresh);
    decode(&mut roomy, &insert("a", "1"));
    roomy.settings_max_size(34);
    assert_eq!(decode(&mut roomy, &index(62)), [known("a", "1")]);
    assert_eq!(dynamic_table(roomy), [known("a", "1")]);
}

/// One byte stands for a long value, over and over: what is given is limited, and nothing else is lost.
#[test]
fn a_bomb_of_references() {
    let value = "v".repeat(4000);
    let mut decoder = decoder(Start::Fresh);
    decode(&mut decoder, &insert("a", &value));
    let bomb = [vec![0xbe; 1 << 20], insert("b", "2"), vec![0x82]].concat();
    let list = ListLimits {
        bytes: 64 << 10,
        fields: 128,
    };
    let (fields, result) = try_decode(&mut decoder, &bomb, list);
    let summary = result.unwrap();
    assert_eq!((fields.len(), summary.left_out), (16, (1 << 20) + 2 - 16));
    assert_eq!(summary.list_bytes, 16 * (4000 + 1 + 32));
    // What was inserted behind the limit is in the table.
    assert_eq!(decode(&mut decoder, &index(62)), [known("b", "2")]);
}

#[test]
fn list_limits_at_the_limit() {
    let block = [0x82, 0x84, 0x82];
    // :method: GET counts 42, :path: / 38.
    for (bytes, fields, given) in [
        (41, 9, 0),
        (42, 9, 1),
        (79, 9, 1),
        (80, 9, 2),
        (121, 9, 2),
        (122, 9, 3),
        (999, 0, 0),
        (999, 2, 2),
        (999, 3, 3),
    ] {
        let (got, summary) = try_decode(&mut decoder(Start::Fresh), &block, ListLimits { bytes, fields });
        let summary = summary.unwrap();
        assert_eq!(
            (got.len(), summary.fields, summary.left_out),
            (given, given, 3 - given)
        );
    }
}

/// Behind the limit strings are stepped over, unless they go into the table.
#[test]
fn beyond_the_list_limit_only_the_table_is_read() {
    let list = ListLimits { bytes: 0, fields: 0 };
    let eos = [0x04, 0x84, 0xff, 0xff, 0xff, 0xff];
    let (_, result) = try_decode(&mut decoder(Start::Fresh), &[&[0x82][..], &eos].concat(), list);
    assert_eq!(result.unwrap().left_out, 2);
    let inserted = [0x44, 0x84, 0xff, 0xff, 0xff, 0xff];
    let (_, result) = try_decode(
        &mut decoder(Start::Fresh),
        &[&[0x82][..], &inserted].concat(),
        list,
    );
    assert_eq!(result, Err(Error::HuffmanEos));
}

#[test]
fn room_for_long_strings_is_given_back() {
    let mut decoder = decoder(Start::Fresh);
    let value = "0".repeat(1 << 20);
    let mut block = vec![0x04];
    text(&value, true, &mut block);
    let (fields, _) = try_decode(&mut decoder, &block, super::NO_LIMITS);
    assert_eq!(
        fields.iter().map(short).collect::<Vec<_>>(),
        [known(":path", &value)]
    );
    assert!(decoder.scratch_bytes() <= 4096);
}
