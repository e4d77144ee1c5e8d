//! Header blocks in, fields out (RFC 7541 3, 6).

use bytes::Bytes;

use super::table::{self, ENTRY_OVERHEAD, Entry, Table};
use super::{Error, huffman, integer, static_table};
use crate::Start;

/// Room for decoded strings that is kept between blocks.
const SCRATCH_BYTES: usize = 4 << 10;

/// A header field of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, as sent; `None`: it is that of a table entry that is not known.
    pub name: Option<Bytes>,
    /// Value, as sent; `None`: as for the name, which is `None` too then.
    pub value: Option<Bytes>,
    /// The sender asked every hop to keep it out of tables (RFC 7541 7.1.3).
    pub never_indexed: bool,
}

/// How much of a block is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// Bytes of names and values, and 32 for each field (RFC 9113 6.5.2).
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// What a block held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Fields given.
    pub fields: usize,
    /// Bytes of them, counted as [`ListLimits::bytes`].
    pub list_bytes: usize,
    /// Fields given whose name, or value too, is unknown.
    pub unknown: usize,
    /// Fields not given: the first that exceeds [`ListLimits`], and all behind it.
    pub left_out: usize,
    /// Entries, used by the encoder perhaps, that were given up because the table is limited.
    pub entries_given_up: u64,
}

/// The decoder of one direction.
///
/// Costs at most a small multiple of its limit in memory, whatever the blocks say; the time of a block is linear in its
/// bytes, plus what [`ListLimits`] allow.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The table size is known exactly, for every update of it was seen.
    size_known: bool,
    /// SETTINGS_HEADER_TABLE_SIZE as last acknowledged, if known.
    settings: Option<u32>,
    /// The smallest acknowledged since the last block, if any was.
    lowered_to: Option<u32>,
    /// Decoded strings of a field.
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder that keeps at most `limit_bytes` of the dynamic table, as RFC 7541 4.1 counts them. The older entries of
    /// a larger table are unknown.
    ///
    /// With [`Start::Late`], what the table holds, how large it may be, and what the settings allow is unknown at first.
    #[must_use]
    pub fn new(limit_bytes: usize, start: Start) -> Self {
        let mut decoder = Self {
            table: Table::empty(limit_bytes),
            size_known: true,
            settings: Some(table::DEFAULT_SIZE),
            lowered_to: None,
            scratch: Vec::new(),
        };
        if start == Start::Late {
            decoder.forget();
        }
        decoder
    }

    /// The encoder acknowledged this SETTINGS_HEADER_TABLE_SIZE of its reader: call it where the acknowledgement lies
    /// between the blocks.
    pub fn settings_max_size(&mut self, bytes: u32) {
        self.settings = Some(bytes);
        self.lowered_to = Some(self.lowered_to.map_or(bytes, |lowest| lowest.min(bytes)));
    }

    /// The encoder acknowledged settings that were not seen: from now on every table size is taken.
    pub fn settings_unknown(&mut self) {
        self.settings = None;
        self.lowered_to = None;
    }

    /// Blocks are missing from here on: as a late join.
    pub fn forget(&mut self) {
        self.table.forget();
        self.size_known = false;
        self.settings_unknown();
    }

    /// Decodes a whole header block and gives its fields in order, as far as `list` allows. Beyond that the block is read
    /// for the table's sake alone, and nothing is copied but what goes into the table.
    ///
    /// # Errors
    ///
    /// When the block is malformed. The fields before the fault have been given; the peers give up the connection, so the
    /// decoder is as after [`Decoder::forget`].
    pub fn decode(
        &mut self,
        block: &[u8],
        list: ListLimits,
        sink: &mut impl FnMut(Field),
    ) -> Result<Summary, Error> {
        let mut output = Output {
            list,
            summary: Summary::default(),
            sink,
        };
        let result = self.read(block, &mut output);
        if result.is_err() {
            self.forget();
        }
        if self.scratch.capacity() > SCRATCH_BYTES {
            self.scratch = Vec::new();
        }
        output.summary.entries_given_up = self.table.take_given_up();
        result.map(|()| output.summary)
    }

    /// About what the table and what else is kept cost, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.scratch.capacity()
    }

    #[cfg(test)]
    pub(super) fn scratch_bytes(&self) -> usize {
        self.scratch.capacity()
    }

    fn read(&mut self, block: &[u8], output: &mut Output<'_, impl FnMut(Field)>) -> Result<(), Error> {
        let mut rest = self.size_updates(block)?;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            match first {
                0x80.. => self.indexed(integer::read(first, 0x7f, &mut rest)?, output)?,
                0x40.. => self.literal_indexed(first, &mut rest, output)?,
                // Belongs to the begin of a block (4.2). Go's encoder sends it between two fields when the settings come while it
                // makes a block, and decoders take it.
                0x20.. => {
                    let size = self.size_update(first, &mut rest)?;
                    self.resize(size);
                }
                _ => self.literal(first, &mut rest, output)?,
            }
        }
        Ok(())
    }

    /// Reads the updates at the begin of a block; returns what is behind them.
    fn size_updates<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], Error> {
        let mut rest = block;
        let mut updates = 0_usize;
        while let Some((&first, after)) = rest.split_first()
            && first & 0xe0 == 0x20
        {
            rest = after;
            let size = self.size_update(first, &mut rest)?;
            if updates == 0 {
                self.settings_lowered(Some(size))?;
            }
            self.resize(size);
            updates += 1;
        }
        if updates == 0 {
            self.settings_lowered(None)?;
        }
        Ok(rest)
    }

    /// 6.3: the size, not yet in force.
    fn size_update(&self, first: u8, rest: &mut &[u8]) -> Result<u32, Error> {
        let size = integer::read(first, 0x1f, rest)?;
        if let Some(allowed) = self.settings
            && size > allowed
        {
            return Err(Error::SizeAboveSettings { size, allowed });
        }
        Ok(size)
    }

    fn resize(&mut self, size: u32) {
        self.table.resize(size);
        self.size_known = true;
    }

    /// An encoder whose settings were lowered below what its table holds must begin its next block with an update to
    /// that or less (RFC 9113 4.3.1). If there is room without, not every encoder does.
    fn settings_lowered(&mut self, first_update: Option<u32>) -> Result<(), Error> {
        let Some(allowed) = self.lowered_to.take() else {
            return Ok(());
        };
        if first_update.is_some_and(|size| size <= allowed) {
            return Ok(());
        }
        if !self.size_known {
            // The size was not above it, or there would be an update.
            if self.table.max().is_none_or(|max| max > allowed) {
                self.table.resize(allowed);
            }
            return Ok(());
        }
        let held = u32::try_from(self.table.size()).unwrap_or(u32::MAX);
        if held > allowed {
            return Err(Error::SizeUpdateMissing { held, allowed });
        }
        Ok(())
    }

    /// 6.1.
    fn indexed(&mut self, index: u32, output: &mut Output<'_, impl FnMut(Field)>) -> Result<(), Error> {
        match self.look_up(index)? {
            Known::Static((name, value)) => {
                if output.room(name.len() + value.len()) {
                    output.give(Some(fixed(name)), Some(fixed(value)), false);
                }
            }
            Known::Entry(entry) => {
                let name_bytes = entry.name.as_ref().map_or(0, Bytes::len);
                if output.room(name_bytes + entry.value.len()) {
                    output.give(entry.name.clone(), Some(entry.value.clone()), false);
                }
            }
            Known::Nothing => {
                if output.room(0) {
                    output.give(None, None, false);
                }
            }
        }
        Ok(())
    }

    /// 6.2.1: given, and inserted into the table.
    fn literal_indexed(
        &mut self,
        first: u8,
        rest: &mut &[u8],
        output: &mut Output<'_, impl FnMut(Field)>,
    ) -> Result<(), Error> {
        let index = integer::read(first, 0x3f, rest)?;
        self.scratch.clear();
        let name = match index {
            0 => Some(Bytes::copy_from_slice(
                Text::read(rest)?.decode(&mut self.scratch)?,
            )),
            _ => self.look_up(index)?.name(),
        };
        self.scratch.clear();
        let value = Bytes::copy_from_slice(Text::read(rest)?.decode(&mut self.scratch)?);
        if output.room(name.as_ref().map_or(0, Bytes::len) + value.len()) {
            output.give(name.clone(), Some(value.clone()), false);
        }
        self.table.insert(Entry { name, value });
        Ok(())
    }

    /// 6.2.2, 6.2.3: given only.
    fn literal(
        &mut self,
        first: u8,
        rest: &mut &[u8],
        output: &mut Output<'_, impl FnMut(Field)>,
    ) -> Result<(), Error> {
        let index = integer::read(first, 0x0f, rest)?;
        let never_indexed = first & 0x10 != 0;
        let name = match index {
            0 => Name::Text(Text::read(rest)?),
            _ => Name::Known(self.look_up(index)?.name()),
        };
        let value = Text::read(rest)?;
        if output.is_full() {
            output.summary.left_out += 1;
            return Ok(());
        }
        self.scratch.clear();
        let name = match name {
            Name::Text(text) => Some(Bytes::copy_from_slice(text.decode(&mut self.scratch)?)),
            Name::Known(name) => name,
        };
        self.scratch.clear();
        let value = value.decode(&mut self.scratch)?;
        if output.room(name.as_ref().map_or(0, Bytes::len) + value.len()) {
            output.give(name, Some(Bytes::copy_from_slice(value)), never_indexed);
        }
        Ok(())
    }

    /// What an index stands for (RFC 7541 2.3.3).
    #[inline]
    fn look_up(&self, index: u32) -> Result<Known<'_>, Error> {
        if let Some(field) = static_table::get(index) {
            return Ok(Known::Static(field));
        }
        if let Some(entry) = self.table.get(index) {
            return Ok(Known::Entry(entry));
        }
        if index == 0 {
            return Err(Error::IndexZero);
        }
        let last = self.table.last_index();
        if index > last {
            return Err(Error::IndexBeyondTable { index, last });
        }
        Ok(Known::Nothing)
    }
}

/// What is known of an index.
enum Known<'a> {
    Static(static_table::StaticField),
    Entry(&'a Entry),
    Nothing,
}

impl Known<'_> {
    fn name(self) -> Option<Bytes> {
        match self {
            Self::Static((name, _)) => Some(fixed(name)),
            Self::Entry(entry) => entry.name.clone(),
            Self::Nothing => None,
        }
    }
}

/// The name of a literal field.
enum Name<'a> {
    Text(Text<'a>),
    Known(Option<Bytes>),
}

/// A string as it is coded (RFC 7541 5.2).
struct Text<'a> {
    huffman: bool,
    coded: &'a [u8],
}

impl<'a> Text<'a> {
    fn read(rest: &mut &'a [u8]) -> Result<Self, Error> {
        let (&first, after) = rest.split_first().ok_or(Error::Truncated)?;
        *rest = after;
        let length = integer::read(first, 0x7f, rest)?;
        let (coded, behind) = rest.split_at_checked(length as usize).ok_or(Error::Truncated)?;
        *rest = behind;
        Ok(Self {
            huffman: first & 0x80 != 0,
            coded,
        })
    }

    /// The string itself; `scratch`, empty, is where it may lie.
    fn decode<'b>(&self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], Error>
    where
        'a: 'b,
    {
        if !self.huffman {
            return Ok(self.coded);
        }
        huffman::decode(self.coded, scratch)?;
        Ok(scratch)
    }
}

/// Where fields go, within the limits.
struct Output<'a, S> {
    list: ListLimits,
    summary: Summary,
    sink: &'a mut S,
}

impl<S: FnMut(Field)> Output<'_, S> {
    fn is_full(&self) -> bool {
        self.summary.left_out > 0
    }

    /// Counts a field of that many bytes; says whether it may be given.
    #[inline]
    fn room(&mut self, bytes: usize) -> bool {
        let list_bytes = self.summary.list_bytes.saturating_add(bytes + ENTRY_OVERHEAD);
        if self.is_full() || list_bytes > self.list.bytes || self.summary.fields >= self.list.fields {
            self.summary.left_out += 1;
            return false;
        }
        self.summary.list_bytes = list_bytes;
        self.summary.fields += 1;
        true
    }

    #[inline]
    fn give(&mut self, name: Option<Bytes>, value: Option<Bytes>, never_indexed: bool) {
        self.summary.unknown += usize::from(name.is_none());
        (self.sink)(Field {
            name,
            value,
            never_indexed,
        });
    }
}

#[inline]
fn fixed(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
