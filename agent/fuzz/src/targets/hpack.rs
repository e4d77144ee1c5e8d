//! HPACK: whoever joins late knows less, and nothing else.

use protocol::Start;
use protocol::hpack::{Decoder, Field, ListLimits};

use crate::input::Input;

const LIST: ListLimits = ListLimits {
    bytes: 16 << 10,
    fields: 64,
};

/// Blocks of a direction, each with its length before it; the first byte says how many of them the late reader misses.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let missed = usize::from(input.byte() % 8);
    let limit = input.one_of(&[65_536, 4096, 128, 0], 4096);
    // Has room for any table that these inputs can fill: it knows all.
    let mut fresh = Decoder::new(64 << 10, Start::Fresh);
    let mut small = Decoder::new(limit, Start::Fresh);
    let mut late = Decoder::new(limit, Start::Late);
    let mut index = 0;
    while !input.is_empty() {
        let len = usize::from(input.byte());
        let block = input.bytes(len);
        let Some(known) = fields(&mut fresh, block) else {
            // The peers give up the connection; the readers must survive what else comes.
            let _ = fields(&mut fresh, input.rest());
            let _ = fields(&mut late, block);
            return;
        };
        agree(fields(&mut small, block), &known);
        if index >= missed {
            agree(fields(&mut late, block), &known);
        }
        index += 1;
    }
}

fn fields(decoder: &mut Decoder, block: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let summary = decoder
        .decode(block, LIST, &mut |field| fields.push(field))
        .ok()?;
    assert_eq!(summary.fields, fields.len());
    assert!(summary.fields <= LIST.fields && summary.list_bytes <= LIST.bytes);
    let unknown = |field: &&Field| field.name.is_none() || field.value.is_none();
    assert_eq!(summary.unknown, fields.iter().filter(unknown).count());
    Some(fields)
}

/// What a reader that knows less says is true.
fn agree(said: Option<Vec<Field>>, known: &[Field]) {
    let said = said.expect("a block that is whole to one is whole to all");
    for (said, known) in said.iter().zip(known) {
        assert!(known.name.is_some() || said.name.is_none());
        assert!(said.name.is_none() || known.name.is_none() || said.name == known.name);
        assert!(said.value.is_none() || known.value.is_none() || said.value == known.value);
        assert_eq!(said.never_indexed, known.never_indexed);
    }
}
