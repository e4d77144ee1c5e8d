//! An encoder that does as it is told, and says what an observer can know of each field.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::hpack::huffman_code::{CODES, LENGTHS};
use crate::hpack::static_table;

/// Names and values that fields are made of; some of them are in the static table.
const NAMES: [&str; 8] = [
    ":method",
    ":path",
    ":authority",
    "accept-encoding",
    "x-a",
    "x-request-id",
    "",
    "Ä",
];
const VALUES: [&str; 6] = [
    "GET",
    "/",
    "",
    "gzip, deflate",
    "5f0c2b1e-9f52-4f0e-9c0a-2c2f4f3c1b7d",
    "\u{0}\u{1}\u{7f}é",
];

/// How a field is to be sent.
#[derive(Clone, Debug)]
pub enum How {
    /// By an index of the whole field, if there is one.
    Indexed(Index),
    /// As a literal that goes into the table.
    Inserted,
    /// As a literal that does not.
    Plain,
    /// As a literal that never does.
    Never,
}

/// A field to send.
#[derive(Clone, Debug)]
pub struct Send {
    pub name: String,
    pub value: String,
    how: How,
    /// The name of a literal is to be given by one of the indices it has, if it has one.
    name_index: Option<Index>,
    huffman: [bool; 2],
}

/// A block to send.
#[derive(Clone, Debug)]
pub struct SendBlock {
    /// SETTINGS_HEADER_TABLE_SIZE acknowledged before it.
    pub settings: Vec<u32>,
    /// Table sizes to choose, cut to what is allowed.
    resize: Vec<u32>,
    pub fields: Vec<Send>,
}

fn size() -> impl Strategy<Value = u32> {
    select(vec![
        0, 31, 32, 33, 64, 100, 150, 250, 400, 1000, 4096, 5000, 70_000,
    ])
}

fn field() -> impl Strategy<Value = Send> {
    let how = prop_oneof![
        4 => any::<Index>().prop_map(How::Indexed),
        4 => Just(How::Inserted),
        1 => Just(How::Plain),
        1 => Just(How::Never),
    ];
    let value = prop_oneof![
        8 => select(&VALUES[..]).prop_map(str::to_owned),
        1 => (0..1500_usize).prop_map(|bytes| "v".repeat(bytes)),
    ];
    (
        select(&NAMES[..]),
        value,
        how,
        any::<Option<Index>>(),
        any::<[bool; 2]>(),
    )
        .prop_map(|(name, value, how, name_index, huffman)| Send {
            name: name.to_owned(),
            value,
            how,
            name_index,
            huffman,
        })
}

/// Blocks of a conversation.
pub fn story() -> impl Strategy<Value = Vec<SendBlock>> {
    let rarely = |most| prop_oneof![5 => Just(Vec::new()), 1 => prop::collection::vec(size(), 1..=most)];
    let block = (rarely(3), rarely(2), prop::collection::vec(field(), 0..12)).prop_map(
        |(settings, resize, fields)| SendBlock {
            settings,
            resize,
            fields,
        },
    );
    prop::collection::vec(block, 1..12)
}

/// What an observer needs to have seen for a part of a field.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Every block from this one on, 0-based; `usize::MAX`: none but the field's own.
    pub block: usize,
    /// Bytes of the newest entries of the table.
    pub table_bytes: usize,
}

impl Needs {
    const NOTHING: Self = Self {
        block: usize::MAX,
        table_bytes: 0,
    };

    fn both(self, other: Self) -> Self {
        Self {
            block: self.block.min(other.block),
            table_bytes: self.table_bytes.max(other.table_bytes),
        }
    }
}

/// A field as sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub name: String,
    pub value: String,
    pub never_indexed: bool,
    pub name_needs: Needs,
    pub value_needs: Needs,
}

/// A block as sent.
#[derive(Clone, Debug)]
pub struct SentBlock {
    pub settings: Vec<u32>,
    pub bytes: Vec<u8>,
    pub fields: Vec<Sent>,
    /// Entries of the table behind the block.
    pub entries: usize,
}

struct Inserted {
    name: String,
    value: String,
    block: usize,
    name_needs: Needs,
}

impl Inserted {
    fn size(&self) -> usize {
        32 + self.name.len() + self.value.len()
    }
}

/// Sends the blocks, by the rules of RFC 7541.
pub fn send(story: &[SendBlock]) -> Vec<SentBlock> {
    let mut encoder = Encoder {
        table: VecDeque::new(),
        max: 4096,
        settings: 4096,
        block: 0,
    };
    story.iter().map(|block| encoder.send(block)).collect()
}

struct Encoder {
    /// Newest first.
    table: VecDeque<Inserted>,
    max: usize,
    settings: usize,
    block: usize,
}

impl Encoder {
    fn send(&mut self, block: &SendBlock) -> SentBlock {
        let mut bytes = Vec::new();
        if let (Some(&lowest), Some(&last)) = (block.settings.iter().min(), block.settings.last()) {
            self.settings = last as usize;
            if (lowest as usize) < self.max {
                self.resize(lowest, &mut bytes);
            }
        }
        for &size in &block.resize {
            self.resize(size.min(self.settings as u32), &mut bytes);
        }
        let fields = block
            .fields
            .iter()
            .map(|field| self.field(field, &mut bytes))
            .collect();
        self.block += 1;
        SentBlock {
            settings: block.settings.clone(),
            bytes,
            fields,
            entries: self.table.len(),
        }
    }

    fn resize(&mut self, size: u32, bytes: &mut Vec<u8>) {
        integer(0x20, 5, size, bytes);
        self.max = size as usize;
        self.evict();
    }

    fn evict(&mut self) {
        while self.table.iter().map(Inserted::size).sum::<usize>() > self.max {
            self.table.pop_back();
        }
    }

    /// Indices of the fields that fit.
    fn indices(&self, fits: impl Fn(&str, &str) -> bool) -> Vec<u32> {
        let fixed = (1..=static_table::LEN).filter(|&index| {
            let (name, value) = static_table::get(index).unwrap();
            fits(name, value)
        });
        let entries = (0_u32..).zip(&self.table);
        let entries = entries
            .filter(|(_, entry)| fits(&entry.name, &entry.value))
            .map(|(place, _)| static_table::LEN + 1 + place);
        fixed.chain(entries).collect()
    }

    /// What is needed for name and value of an index.
    fn needs(&self, index: u32) -> [Needs; 2] {
        let Some(place) = index.checked_sub(static_table::LEN + 1) else {
            return [Needs::NOTHING; 2];
        };
        let place = place as usize;
        let entry = &self.table[place];
        let needs = Needs {
            block: entry.block,
            table_bytes: self.table.iter().take(place + 1).map(Inserted::size).sum(),
        };
        [needs.both(entry.name_needs), needs]
    }

    fn field(&mut self, field: &Send, bytes: &mut Vec<u8>) -> Sent {
        let mut sent = Sent {
            name: field.name.clone(),
            value: field.value.clone(),
            never_indexed: matches!(field.how, How::Never),
            name_needs: Needs::NOTHING,
            value_needs: Needs::NOTHING,
        };
        if let How::Indexed(choice) = &field.how {
            let indices = self.indices(|name, value| name == field.name && value == field.value);
            if !indices.is_empty() {
                let index = *choice.get(&indices);
                integer(0x80, 7, index, bytes);
                [sent.name_needs, sent.value_needs] = self.needs(index);
                return sent;
            }
        }
        let (pattern, bits) = match field.how {
            How::Indexed(_) | How::Plain => (0, 4),
            How::Never => (0x10, 4),
            How::Inserted => (0x40, 6),
        };
        let indices = self.indices(|name, _| name == field.name);
        match &field.name_index {
            Some(choice) if !indices.is_empty() => {
                let index = *choice.get(&indices);
                integer(pattern, bits, index, bytes);
                [sent.name_needs, _] = self.needs(index);
            }
            _ => {
                integer(pattern, bits, 0, bytes);
                text(&field.name, field.huffman[0], bytes);
            }
        }
        text(&field.value, field.huffman[1], bytes);
        if let How::Inserted = field.how {
            self.table.push_front(Inserted {
                name: field.name.clone(),
                value: field.value.clone(),
                block: self.block,
                name_needs: sent.name_needs,
            });
            self.evict();
        }
        sent
    }
}

/// An integer with a prefix of that many bits (RFC 7541 5.1).
pub fn integer(pattern: u8, prefix_bits: u32, value: u32, bytes: &mut Vec<u8>) {
    let most = (1 << prefix_bits) - 1;
    if value < most {
        bytes.push(pattern | value as u8);
        return;
    }
    bytes.push(pattern | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        bytes.push(0x80 | rest as u8);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// A string (RFC 7541 5.2).
pub fn text(text: &str, in_huffman: bool, bytes: &mut Vec<u8>) {
    if in_huffman {
        let coded = huffman(text.as_bytes());
        integer(0x80, 7, coded.len() as u32, bytes);
        bytes.extend(coded);
    } else {
        integer(0, 7, text.len() as u32, bytes);
        bytes.extend(text.as_bytes());
    }
}

/// Bit by bit, as appendix B lists them.
pub fn huffman(text: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    for &byte in text {
        let (code, length) = (CODES[usize::from(byte)], LENGTHS[usize::from(byte)]);
        bits.extend((0..length).rev().map(|place| code >> place & 1 == 1));
    }
    bits.resize(bits.len().next_multiple_of(8), true);
    bits.chunks(8)
        .map(|byte| byte.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit)))
        .collect()
}
