//! Blocks that no encoder sends.

use super::encoder::{integer, text};
use super::{Decoder, Error, NO_LIMITS, Short, decode, decoder, hex, known, short, try_decode};
use crate::Start;

/// The error of a block, after the fields that lie before the fault.
fn fault(decoder: &mut Decoder, block: &str) -> (Vec<Short>, Error) {
    let (fields, result) = try_decode(decoder, &hex(block), NO_LIMITS);
    (fields.iter().map(short).collect(), result.unwrap_err())
}

#[test]
fn malformed_blocks() {
    let beyond = |index, last| Error::IndexBeyondTable { index, last };
    let cases = [
        ("index 0", "80", Error::IndexZero),
        (
            "index padded to seven bytes",
            "ff 80 80 80 80 80 00",
            Error::IntegerTooLarge,
        ),
        ("empty dynamic table", "be", beyond(62, 61)),
        ("name beyond the table, inserted", "7e 01 61", beyond(62, 61)),
        ("name beyond the table, plain", "0f 2f 01 61", beyond(62, 61)),
        (
            "name beyond the table, never indexed",
            "1f 2f 01 61",
            beyond(62, 61),
        ),
        ("largest index", "ff 80 ff ff ff 0f", beyond(u32::MAX, 61)),
        ("index of 33 bits", "ff 81 ff ff ff 0f", Error::IntegerTooLarge),
        ("index of 36 bits", "ff ff ff ff ff 7f", Error::IntegerTooLarge),
        (
            "index without an end",
            "ff ff ff ff ff ff ff ff ff ff",
            Error::IntegerTooLarge,
        ),
        ("index cut off", "ff", Error::Truncated),
        ("index cut off later", "ff ff ff", Error::Truncated),
        ("name missing", "40", Error::Truncated),
        ("name too short", "40 02 61", Error::Truncated),
        ("name length cut off", "40 7f", Error::Truncated),
        ("value missing", "40 01 61", Error::Truncated),
        ("value too short", "40 01 61 02 61", Error::Truncated),
        ("value of 4 GiB", "04 7f 80 ff ff ff 0f 61", Error::Truncated),
        ("value missing, plain", "04", Error::Truncated),
        ("value missing, never indexed", "14", Error::Truncated),
        (
            "size above the settings",
            "3f e2 1f",
            Error::SizeAboveSettings {
                size: 4097,
                allowed: 4096,
            },
        ),
        (
            "size of 4 GiB",
            "3f e0 ff ff ff 0f",
            Error::SizeAboveSettings {
                size: u32::MAX,
                allowed: 4096,
            },
        ),
        ("size cut off", "3f", Error::Truncated),
        (
            "size padded to seven bytes",
            "3f e1 9f 80 80 80 00",
            Error::IntegerTooLarge,
        ),
        ("EOS alone", "04 84 ff ff ff ff", Error::HuffmanEos),
        ("EOS in the middle", "04 85 1f ff ff ff ff", Error::HuffmanEos),
        ("EOS in a name", "00 84 ff ff ff ff 01 61", Error::HuffmanEos),
        (
            "EOS in a long string",
            "04 8c ff ff ff ff ff ff ff ff ff ff ff ff",
            Error::HuffmanEos,
        ),
        ("padding of 8 bits", "04 81 ff", Error::HuffmanPadding),
        ("padding of 11 bits", "04 82 1f ff", Error::HuffmanPadding),
        ("padding of zeros", "04 81 18", Error::HuffmanPadding),
        (
            "padding with a zero at the end",
            "04 81 1e",
            Error::HuffmanPadding,
        ),
        ("long code cut off", "04 83 ff ff fe", Error::HuffmanPadding),
    ];
    for (name, block, error) in cases {
        assert_eq!(
            fault(&mut decoder(Start::Fresh), block),
            (vec![], error),
            "{name}"
        );
    }
}

#[test]
fn fields_before_the_fault_are_given() {
    let get = vec![known(":method", "GET")];
    for (block, error) in [
        (
            "82 3f e2 1f",
            Error::SizeAboveSettings {
                size: 4097,
                allowed: 4096,
            },
        ),
        ("82 80", Error::IndexZero),
        ("82 04 81 ff", Error::HuffmanPadding),
    ] {
        assert_eq!(fault(&mut decoder(Start::Fresh), block), (get.clone(), error));
    }
}

/// The peers stop here; whatever comes later is not read with a table that one of them does not have.
#[test]
fn after_a_fault_nothing_is_known() {
    let mut decoder = decoder(Start::Fresh);
    decode(&mut decoder, &hex("40 01 61 01 62"));
    assert_eq!(decode(&mut decoder, &hex("be")), [known("a", "b")]);
    fault(&mut decoder, "80");
    assert_eq!(decode(&mut decoder, &hex("be")), [(None, None)]);
}

#[test]
fn well_formed_at_the_edge() {
    let zeros = "0".repeat(5);
    for (block, fields) in [
        // As Go's encoder sends it when settings come while it makes a block.
        (
            "88 3f e1 1f 5c 01 30",
            vec![known(":status", "200"), known("content-length", "0")],
        ),
        ("", vec![]),
        ("3f e1 1f", vec![]),
        ("20 3f e1 1f 20", vec![]),
        // Sizes padded to six bytes.
        ("3f e1 9f 80 80 00", vec![]),
        ("bd", vec![known("www-authenticate", "")]),
        ("00 00 00", vec![known("", "")]),
        ("00 80 80", vec![known("", "")]),
        // Padding of three and of seven bits.
        ("04 81 1f", vec![known(":path", "a")]),
        ("04 84 00 00 00 7f", vec![known(":path", &zeros)]),
    ] {
        assert_eq!(decode(&mut decoder(Start::Fresh), &hex(block)), fields, "{block}");
    }
}

/// Strings of every length around that of the machine words they are read in.
#[test]
fn strings_of_every_length() {
    for symbol in ["0", " ", "Z", "~", "\\", "\n"] {
        for length in 0..300 {
            let value = symbol.repeat(length);
            for in_huffman in [false, true] {
                let mut block = vec![0x04];
                text(&value, in_huffman, &mut block);
                assert_eq!(
                    decode(&mut decoder(Start::Fresh), &block),
                    [known(":path", &value)]
                );
            }
        }
    }
}

#[test]
fn every_cut_of_a_block_is_an_error_or_fewer_fields() {
    let mut whole = Vec::new();
    integer(0x20, 5, 4096, &mut whole);
    whole.extend(hex("82 86"));
    whole.push(0x41);
    text("yahoo.co.jp", true, &mut whole);
    whole.push(0x84);
    let all = decode(&mut decoder(Start::Fresh), &whole);
    assert_eq!(all.len(), 4);
    for cut in 0..whole.len() {
        let (fields, result) = try_decode(&mut decoder(Start::Fresh), &whole[..cut], NO_LIMITS);
        let fields: Vec<Short> = fields.iter().map(short).collect();
        assert_eq!(fields, all[..fields.len()]);
        if let Err(error) = result {
            assert_eq!(error, Error::Truncated, "{cut}");
        }
    }
}
