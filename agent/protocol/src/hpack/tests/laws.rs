//! Properties of the decoder.

use proptest::prelude::*;

use super::encoder::{self, Needs, SentBlock, send, story};
use super::{Decoder, Error, Field, ListLimits, NO_LIMITS, decoder, try_decode};
use crate::Start;
use crate::hpack::{huffman, huffman_code};

/// A block, after the settings before it.
fn receive(decoder: &mut Decoder, block: &SentBlock, with_settings: bool) -> Vec<Field> {
    if with_settings {
        block
            .settings
            .iter()
            .for_each(|&size| decoder.settings_max_size(size));
    }
    let (fields, result) = try_decode(decoder, &block.bytes, NO_LIMITS);
    assert_eq!(result.map(|summary| summary.fields), Ok(block.fields.len()));
    fields
}

/// The fields are as sent where `known` says so, and unknown elsewhere.
fn check(fields: &[Field], block: &SentBlock, known: impl Fn(Needs) -> bool) {
    for (field, sent) in fields.iter().zip(&block.fields) {
        let expected = |text: &str, needs| known(needs).then(|| text.as_bytes().to_vec());
        let is = |part: &Option<bytes::Bytes>| part.as_ref().map(|part| part.to_vec());
        assert_eq!(is(&field.name), expected(&sent.name, sent.name_needs), "{sent:?}");
        assert_eq!(
            is(&field.value),
            expected(&sent.value, sent.value_needs),
            "{sent:?}"
        );
        assert_eq!(field.never_indexed, sent.never_indexed);
    }
}

/// The fields are as sent, or unknown; and as sent where `known` says so.
fn check_at_least(fields: &[Field], block: &SentBlock, known: impl Fn(Needs) -> bool) {
    for (field, sent) in fields.iter().zip(&block.fields) {
        for (part, text, needs) in [
            (&field.name, &sent.name, sent.name_needs),
            (&field.value, &sent.value, sent.value_needs),
        ] {
            match part {
                Some(part) => assert_eq!(part, text.as_bytes(), "{sent:?}"),
                None => assert!(!known(needs), "{sent:?}"),
            }
        }
    }
}

proptest! {
    /// What is sent is what is read, and the table has as many entries afterwards.
    #[test]
    fn round_trip(story in story()) {
        let blocks = send(&story);
        for last in 0..blocks.len() {
            let mut decoder = decoder(Start::Fresh);
            for block in &blocks[..=last] {
                check(&receive(&mut decoder, block, true), block, |_| true);
            }
            let end = 61 + blocks[last].entries as u32;
            let mut beyond = Vec::new();
            encoder::integer(0x80, 7, end + 1, &mut beyond);
            let (_, result) = try_decode(&mut decoder, &beyond, NO_LIMITS);
            prop_assert_eq!(result, Err(Error::IndexBeyondTable { index: end + 1, last: end }));
        }
    }

    /// Joined at any block: exactly what was inserted since is known, whether settings are seen or not.
    #[test]
    fn late_join(story in story(), with_settings: bool) {
        let blocks = send(&story);
        for join in 0..blocks.len() {
            let mut decoder = decoder(Start::Late);
            for block in &blocks[join..] {
                check(&receive(&mut decoder, block, with_settings), block, |needs| join <= needs.block);
            }
        }
    }

    /// Blocks missing at any place: the same as a late join behind them.
    #[test]
    fn forget(story in story(), missing in 0..3_usize) {
        let blocks = send(&story);
        for gap in 0..blocks.len() {
            let mut decoder = decoder(Start::Fresh);
            for block in &blocks[..gap] {
                check(&receive(&mut decoder, block, true), block, |_| true);
            }
            decoder.forget();
            let join = gap + missing;
            for block in blocks.iter().skip(join) {
                check(&receive(&mut decoder, block, true), block, |needs| join <= needs.block);
            }
        }
    }

    /// A table limit of our own: the newest entries within it are known.
    #[test]
    fn limited_table(story in story(), limit in prop::sample::select(vec![0, 32, 50, 100, 300, 1000])) {
        let blocks = send(&story);
        for (join, start) in [(0, Start::Fresh), (blocks.len() / 2, Start::Late)] {
            let mut decoder = Decoder::new(limit, start);
            for block in &blocks[join..] {
                let fields = receive(&mut decoder, block, true);
                check_at_least(&fields, block, |needs| join <= needs.block && needs.table_bytes <= limit);
            }
        }
    }

    /// A limited list is the begin of the whole one, and changes nothing for the blocks behind it.
    #[test]
    fn limited_list(story in story(), bytes in 0..2000_usize, count in 0..12_usize) {
        let list = ListLimits { bytes, fields: count };
        let mut decoder = decoder(Start::Fresh);
        for block in send(&story) {
            block.settings.iter().for_each(|&size| decoder.settings_max_size(size));
            let (fields, result) = try_decode(&mut decoder, &block.bytes, list);
            let summary = result.unwrap();
            check(&fields, &block, |_| true);
            prop_assert_eq!(summary.fields, fields.len());
            prop_assert_eq!(summary.fields + summary.left_out, block.fields.len());
            let cost = |field: &encoder::Sent| 32 + field.name.len() + field.value.len();
            let given = block.fields.iter().take(fields.len()).map(cost).sum::<usize>();
            prop_assert_eq!(summary.list_bytes, given);
            prop_assert!(given <= bytes && fields.len() <= count);
            if let Some(next) = block.fields.get(fields.len()) {
                prop_assert!(given + cost(next) > bytes || fields.len() == count);
            }
        }
    }

    /// Any bytes: no panic, the limits hold.
    #[test]
    fn any_bytes(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5), late: bool) {
        let start = if late { Start::Late } else { Start::Fresh };
        let mut decoder = Decoder::new(500, start);
        let list = ListLimits { bytes: 400, fields: 6 };
        for block in blocks {
            let (fields, _) = try_decode(&mut decoder, &block, list);
            let len = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
            let bytes: usize = fields.iter().map(|field| 32 + len(&field.name) + len(&field.value)).sum();
            prop_assert!(bytes <= 400 && fields.len() <= 6);
        }
    }

    #[test]
    fn huffman_round_trip(text in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut out = b"before".to_vec();
        huffman::decode(&encoder::huffman(&text), &mut out).unwrap();
        prop_assert_eq!(&out[6..], text);
    }

    /// Any bytes are read as the code says, one bit at a time.
    #[test]
    fn huffman_of_any_bytes(bytes in coded_bytes()) {
        let mut out = Vec::new();
        let result = huffman::decode(&bytes, &mut out).map(|()| out);
        prop_assert_eq!(result, slowly(&bytes));
    }
}

/// Bytes with many ones, since the long codes begin with them.
fn coded_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(0xff), 0xf0_u8..];
    prop::collection::vec(byte, 0..40)
}

fn slowly(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let (mut code, mut length) = (0_u32, 0_u8);
    for place in 0..bytes.len() * 8 {
        code = code << 1 | u32::from(bytes[place / 8] >> (7 - place % 8) & 1);
        length += 1;
        let found = (0..257)
            .find(|&symbol| huffman_code::LENGTHS[symbol] == length && huffman_code::CODES[symbol] == code);
        match found {
            Some(256) => return Err(Error::HuffmanEos),
            Some(symbol) => {
                out.push(symbol as u8);
                (code, length) = (0, 0);
            }
            None => {}
        }
    }
    if length > 7 || code != (1 << length) - 1 {
        return Err(Error::HuffmanPadding);
    }
    Ok(out)
}
