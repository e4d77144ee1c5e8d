//! The examples of RFC 7541 appendix C.

use super::{Decoder, Short, decode, decoder, dynamic_table, hex, known, try_decode};
use crate::Start;
use crate::hpack::{huffman_code, integer};

/// A block, its fields, and the dynamic table behind it.
struct Example {
    block: &'static str,
    fields: Vec<Short>,
    table: Vec<Short>,
}

fn fields(lines: &str) -> Vec<Short> {
    lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let colon = 1 + line[1..].find(": ").unwrap();
            known(&line[..colon], &line[colon + 2..])
        })
        .collect()
}

fn example(block: &'static str, given: &str, table: &str) -> Example {
    Example {
        block,
        fields: fields(given),
        table: fields(table),
    }
}

/// Every block of a conversation, and the table after each.
#[track_caller]
fn check(fresh: impl Fn() -> Decoder, examples: &[Example]) {
    for (last, example) in examples.iter().enumerate() {
        let mut decoder = fresh();
        for example in &examples[..=last] {
            assert_eq!(decode(&mut decoder, &hex(example.block)), example.fields);
        }
        assert_eq!(dynamic_table(decoder), example.table);
    }
}

fn default_size() -> Decoder {
    decoder(Start::Fresh)
}

/// The examples of responses have a table of 256 bytes, but do not show the update that makes it so.
fn size_256() -> Decoder {
    let mut decoder = default_size();
    decoder.settings_max_size(256);
    assert_eq!(decode(&mut decoder, &hex("3fe101")), []);
    decoder
}

#[test]
fn c1_integers() {
    for (first, mask, rest, value) in [
        (0b01010, 0x1f, &[][..], 10),
        (0b11111, 0x1f, &[0b1001_1010, 0b0000_1010], 1337),
        (42, 0xff, &[], 42),
    ] {
        let mut rest = rest;
        assert_eq!(integer::read(first, mask, &mut rest), Ok(value));
        assert!(rest.is_empty());
    }
}

#[test]
fn c2_representations() {
    let single = |block, field, table| check(default_size, &[example(block, field, table)]);
    single(
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        "custom-key: custom-header",
        "custom-key: custom-header",
    );
    single("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", "");
    single(
        "1008 7061 7373 776f 7264 0673 6563 7265 74",
        "password: secret",
        "",
    );
    single("82", ":method: GET", "");
}

#[test]
fn c2_3_is_the_only_one_never_indexed() {
    let never = |block| try_decode(&mut default_size(), &hex(block), super::NO_LIMITS).0[0].never_indexed;
    assert!(never("1008 7061 7373 776f 7264 0673 6563 7265 74"));
    assert!(!never("040c 2f73 616d 706c 652f 7061 7468"));
    assert!(!never(
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"
    ));
    assert!(!never("82"));
}

const REQUEST_1: &str = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com";
const REQUEST_2: &str =
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache";
const REQUEST_3: &str =
    ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value";
const REQUEST_TABLES: [&str; 3] = [
    ":authority: www.example.com",
    "cache-control: no-cache\n:authority: www.example.com",
    "custom-key: custom-value\ncache-control: no-cache\n:authority: www.example.com",
];

#[test]
fn c3_requests() {
    let blocks = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    requests(blocks);
}

#[test]
fn c4_requests_in_huffman_code() {
    let blocks = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    requests(blocks);
}

fn requests(blocks: [&'static str; 3]) {
    let given = [REQUEST_1, REQUEST_2, REQUEST_3];
    let examples: Vec<Example> = (0..3)
        .map(|at| example(blocks[at], given[at], REQUEST_TABLES[at]))
        .collect();
    check(default_size, &examples);
}

const DATE: &str = "date: Mon, 21 Oct 2013 20:13:21 GMT";
const LATER: &str = "date: Mon, 21 Oct 2013 20:13:22 GMT";
const LOCATION: &str = "location: https://www.example.com";
const COOKIE: &str = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

#[test]
fn c5_responses() {
    responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
         6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
         3d31",
    ]);
}

#[test]
fn c6_responses_in_huffman_code() {
    responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
         9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ]);
}

fn responses(blocks: [&'static str; 3]) {
    let given = [
        format!(":status: 302\ncache-control: private\n{DATE}\n{LOCATION}"),
        format!(":status: 307\ncache-control: private\n{DATE}\n{LOCATION}"),
        format!(
            ":status: 200\ncache-control: private\n{LATER}\n{LOCATION}\ncontent-encoding: gzip\n{COOKIE}"
        ),
    ];
    let tables = [
        format!("{LOCATION}\n{DATE}\ncache-control: private\n:status: 302"),
        format!(":status: 307\n{LOCATION}\n{DATE}\ncache-control: private"),
        format!("{COOKIE}\ncontent-encoding: gzip\n{LATER}"),
    ];
    let examples: Vec<Example> = (0..3)
        .map(|at| example(blocks[at], &given[at], &tables[at]))
        .collect();
    check(size_256, &examples);
}

#[test]
fn huffman_code_is_that_of_appendix_b() {
    // Codes of both ends of each group of equal length, as listed there.
    for (symbol, code) in [
        (b'0', 0x0),
        (b't', 0x9),
        (b' ', 0x14),
        (b'u', 0x2d),
        (b':', 0x5c),
        (b'z', 0x7b),
        (b'&', 0xf8),
        (b'Z', 0xfd),
        (b'!', 0x3f8),
        (b'?', 0x3fc),
        (b'\'', 0x7fa),
        (b'|', 0x7fc),
        (b'#', 0xffa),
        (b'>', 0xffb),
        (0, 0x1ff8),
        (b'~', 0x1ffd),
        (b'^', 0x3ffc),
        (b'}', 0x3ffd),
        (b'<', 0x7ffc),
        (b'{', 0x7ffe),
        (b'\\', 0x7fff0),
        (208, 0x7fff2),
        (128, 0xfffe6),
        (226, 0xfffed),
        (153, 0x1fffdc),
        (230, 0x1fffe8),
        (129, 0x3fffd2),
        (233, 0x3fffeb),
        (1, 0x7fffd8),
        (239, 0x7ffff4),
        (9, 0xffffea),
        (237, 0xfffff5),
        (199, 0x1ffffec),
        (235, 0x1ffffef),
        (192, 0x3ffffe0),
        (255, 0x3ffffee),
        (203, 0x7ffffde),
        (254, 0x7fffff0),
        (2, 0xfffffe2),
        (249, 0xffffffe),
        (10, 0x3ffffffc),
        (22, 0x3ffffffe),
    ] {
        assert_eq!(huffman_code::CODES[usize::from(symbol)], code, "{symbol}");
    }
    assert_eq!(huffman_code::CODES[256], 0x3fff_ffff);
}
