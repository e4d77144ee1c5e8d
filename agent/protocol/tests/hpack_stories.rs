//! Header blocks of other implementations' encoders (`tests/fixtures/hpack`): all decode exactly, and of a part of a story
//! whatever is known is right.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use protocol::hpack::{Decoder, Field, ListLimits};
use protocol::{Limits, Start};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    encoder: String,
    story: String,
    #[serde(rename = "description")]
    _description: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    seqno: usize,
    /// Acknowledged before the block.
    header_table_size: Option<u32>,
    wire: String,
    /// One name and value in each.
    headers: Vec<BTreeMap<String, String>>,
}

/// A story as it is used here.
struct Conversation {
    encoder: String,
    story: String,
    blocks: Vec<Block>,
}

struct Block {
    settings: Option<u32>,
    bytes: Vec<u8>,
    fields: Vec<(String, String)>,
}

static STORIES: LazyLock<Vec<Conversation>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hpack/stories.jsonl.zst");
    let packed = std::fs::read(path).unwrap();
    let lines = zstd::decode_all(&packed[..]).unwrap();
    let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let stories: Vec<Conversation> = lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .map(conversation)
        .collect();
    assert_eq!(stories.len(), 158);
    stories
});

fn conversation(story: Story) -> Conversation {
    let blocks = story.cases.into_iter().enumerate();
    let blocks = blocks
        .map(|(place, case)| {
            assert_eq!(case.seqno, place);
            Block {
                settings: case.header_table_size,
                bytes: unhex(&case.wire),
                fields: case.headers.into_iter().flatten().collect(),
            }
        })
        .collect();
    Conversation {
        encoder: story.encoder,
        story: story.story,
        blocks,
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert_eq!(rest, b"");
    pairs
        .iter()
        .map(|&[high, low]| digit(high) << 4 | digit(low))
        .collect()
}

fn decode(decoder: &mut Decoder, block: &Block) -> Vec<Field> {
    if let Some(size) = block.settings {
        decoder.settings_max_size(size);
    }
    let list = ListLimits {
        bytes: usize::MAX,
        fields: usize::MAX,
    };
    let mut fields = Vec::with_capacity(block.fields.len());
    decoder
        .decode(&block.bytes, list, &mut |field| fields.push(field))
        .unwrap();
    assert_eq!(fields.len(), block.fields.len());
    fields
}

/// Counts what is known; all of it is right.
fn known(fields: &[Field], block: &Block) -> usize {
    let mut known = 0;
    for (field, (name, value)) in fields.iter().zip(&block.fields) {
        for (part, text) in [(&field.name, name), (&field.value, value)] {
            if let Some(part) = part {
                assert_eq!(part, text.as_bytes());
                known += 1;
            }
        }
    }
    known
}

#[test]
fn stories_of_five_encoders_decode_exactly() {
    let mut blocks_of = BTreeMap::<String, usize>::new();
    for story in &*STORIES {
        let mut decoder = Decoder::new(Limits::default().hpack_table_bytes, Start::Fresh);
        for (place, block) in story.blocks.iter().enumerate() {
            let fields = decode(&mut decoder, block);
            let expected = 2 * block.fields.len();
            assert_eq!(
                known(&fields, block),
                expected,
                "{} {} {place}",
                story.encoder,
                story.story
            );
            *blocks_of.entry(story.encoder.clone()).or_default() += 1;
        }
    }
    let expected = [
        ("haskell-http2-linear-huffman", 3384),
        ("haskell-http2-naive", 3384),
        ("nghttp2", 3384),
        ("nghttp2-16384-4096", 3267),
        ("nghttp2-change-table-size", 3267),
    ];
    assert_eq!(
        blocks_of,
        expected
            .map(|(encoder, blocks)| (encoder.to_owned(), blocks))
            .into()
    );
}

/// Most blocks of a story that are joined at; of a longer one they are spread.
const JOINS: usize = 20;

#[test]
fn a_part_of_a_story_is_right_as_far_as_it_is_known() {
    // Parts that are known, and all: of the first block that is seen, and of the last.
    let (mut first, mut last) = ([0, 0], [0, 0]);
    for story in &*STORIES {
        let blocks = &story.blocks;
        for join in (0..blocks.len()).step_by(blocks.len().div_ceil(JOINS)) {
            let mut late = Decoder::new(Limits::default().hpack_table_bytes, Start::Late);
            // The same after a gap, whatever was known before it.
            let mut after_gap = Decoder::new(Limits::default().hpack_table_bytes, Start::Fresh);
            blocks[..join.min(3)]
                .iter()
                .for_each(|block| drop(decode(&mut after_gap, block)));
            after_gap.forget();
            for (place, block) in blocks.iter().enumerate().skip(join) {
                let fields = decode(&mut late, block);
                assert_eq!(decode(&mut after_gap, block), fields);
                let parts = [known(&fields, block), 2 * block.fields.len()];
                for (end, sum) in [(join, &mut first), (blocks.len() - 1, &mut last)] {
                    if place == end {
                        *sum = [sum[0] + parts[0], sum[1] + parts[1]];
                    }
                }
            }
        }
    }
    // Much is unknown at first, less of it later: what is sent over and over stays in the table unseen.
    assert!(first[0] * last[1] < last[0] * first[1], "{first:?} {last:?}");
    assert!(
        first[0] * 4 < first[1] * 3 && last[0] * 5 > last[1] * 4,
        "{first:?} {last:?}"
    );
}

/// A table that we keep less of than the encoder does.
#[test]
fn a_limited_table_is_right_as_far_as_it_is_known() {
    let mut known_before = 0;
    for limit in [0, 200, 1000] {
        let (mut given, mut all) = (0, 0);
        for story in &*STORIES {
            let mut decoder = Decoder::new(limit, Start::Fresh);
            for block in &story.blocks {
                given += known(&decode(&mut decoder, block), block);
                all += 2 * block.fields.len();
            }
        }
        assert!(known_before < given && given < all, "{limit}: {given} of {all}");
        known_before = given;
    }
}
