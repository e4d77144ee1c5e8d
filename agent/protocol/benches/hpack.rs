//! Header blocks per second of one core, fields dropped as they come.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::hpack::{Decoder, ListLimits};
use protocol::{Limits, Start};
use serde_json::Value;

/// A block and SETTINGS_HEADER_TABLE_SIZE acknowledged before it.
type Block = (Option<u32>, Vec<u8>);

fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    let (pairs, _) = digits.as_chunks::<2>();
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

/// Decodes blocks one after the other; returns the number of fields.
fn play(decoder: &mut Decoder, blocks: &[Block]) -> usize {
    let limits = Limits::default();
    let list = ListLimits {
        bytes: limits.header_list_bytes,
        fields: limits.headers,
    };
    let mut fields = 0;
    for (settings, block) in blocks {
        if let Some(size) = settings {
            decoder.settings_max_size(*size);
        }
        let summary = decoder.decode(black_box(block), list, &mut |field| drop(black_box(field)));
        fields += summary.unwrap().fields;
    }
    fields
}

fn fresh() -> Decoder {
    Decoder::new(Limits::default().hpack_table_bytes, Start::Fresh)
}

/// The stories of each encoder in `tests/fixtures/hpack`.
fn stories() -> BTreeMap<String, Vec<Vec<Block>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hpack/stories.jsonl.zst");
    let lines = zstd::decode_all(&std::fs::read(path).unwrap()[..]).unwrap();
    let mut stories = BTreeMap::<String, Vec<Vec<Block>>>::new();
    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let story: Value = serde_json::from_slice(line).unwrap();
        let blocks = story["cases"].as_array().unwrap().iter().map(|case| {
            let size = case.get("header_table_size").and_then(Value::as_u64);
            (
                size.map(|size| size as u32),
                unhex(case["wire"].as_str().unwrap()),
            )
        });
        let encoder = story["encoder"].as_str().unwrap().to_owned();
        stories.entry(encoder).or_default().push(blocks.collect());
    }
    stories
}

fn hpack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack");
    for (encoder, stories) in stories() {
        let blocks = stories.iter().map(Vec::len).sum::<usize>();
        group.throughput(Throughput::Elements(blocks as u64));
        group.bench_function(format!("stories, {encoder}"), |bencher| {
            bencher.iter(|| {
                stories
                    .iter()
                    .map(|story| play(&mut fresh(), story))
                    .sum::<usize>()
            });
        });
    }

    // A client that says the same over and over: ten fields, eight of them put into the table once.
    let first =
        "8286 440d2f6170692f76312f7573657273 410973686f703a38303830 5f106170706c69636174696f6e2f6a736f6e
        7a086375726c2f382e30 53032a2f2a 5004677a6970 400c782d726571756573742d69640461626364 4001610162";
    let again = "82 86 c5 c4 c3 c2 c1 c0 bf be";
    let path = "04 9b 60d48e62a1849eb611589825353141e63ad52160b206c4f2f5d537";
    let cookie =
        "0f28 ad 94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007";
    let plain = "00 0c 782d726571756573742d6964 24 35663063326231652d396635322d346630652d396330612d326332663466336331623764";
    for (name, block) in [
        ("ten fields of the table", again.to_owned()),
        (
            "nine fields of the table, a path in Huffman code",
            format!("{} {path}", &again[3..]),
        ),
        ("ten cookies of 56 bytes in Huffman code", [cookie; 10].concat()),
        ("ten literals of 48 bytes", [plain; 10].concat()),
    ] {
        let mut decoder = fresh();
        play(&mut decoder, &[(None, unhex(first))]);
        let blocks = vec![(None, unhex(&block)); 100];
        assert_eq!(play(&mut decoder, &blocks), 1000);
        group.throughput(Throughput::Elements(100));
        group.bench_function(name, |bencher| bencher.iter(|| play(&mut decoder, &blocks)));
    }

    // Every byte a reference to 4,000 bytes: what is beyond the limit must cost next to nothing.
    let mut decoder = fresh();
    let large = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    play(&mut decoder, &[(None, large)]);
    let bomb = vec![(None, vec![0xbe; 64 << 10])];
    group.throughput(Throughput::Bytes(64 << 10));
    group.bench_function("a bomb of references", |bencher| {
        bencher.iter(|| play(&mut decoder, &bomb))
    });
    group.finish();
}

criterion_group!(benches, hpack);
criterion_main!(benches);
