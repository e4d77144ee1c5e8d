//! Finds the elements of `log.entries` in a stream of JSON text, without keeping more than one of them.
//!
//! Only the outline is read here: objects, keys, where a value ends. An element's own text is judged by whoever parses it; of what is
//! skipped only strings and the balance of brackets are looked at.

use std::io::{ErrorKind, Read};

use bytes::{Bytes, BytesMut};

use super::{ENTRY_BYTES_MAX, ENTRY_DEPTH_MAX, HarError, Position};

/// Bytes asked of the reader at a time.
const READ_BYTES: usize = 64 << 10;
/// Longest key of the outline that is told from others.
const KEY_BYTES_MAX: usize = 256;
/// UTF-8's byte order mark, which some tools write (RFC 8259 section 8.1 lets readers ignore it).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An element of `log.entries`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Its text.
    Text(Bytes),
    /// It has more than [`ENTRY_BYTES_MAX`].
    TooLarge,
    /// It is nested deeper than [`ENTRY_DEPTH_MAX`].
    TooDeep,
}

/// Where the reader is in the outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// In an object of the outline.
    Object {
        log: bool,
        first: bool,
    },
    Entries {
        first: bool,
    },
    End,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Splitter<R> {
    reader: R,
    buffer: BytesMut,
    /// Bytes of the buffer that are done with.
    at: usize,
    /// Place of the buffer's first byte.
    base: Position,
    place: Place,
    found_log: bool,
    found_entries: bool,
}

/// How far a value was read.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    depth_max: u32,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Reads on; gives the number of bytes up to the end of a container or string, if it is among these.
    fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if std::mem::take(&mut self.escaped) {
            at = 1.min(bytes.len());
            self.escaped = at == 0;
        }
        while let Some(&byte) = bytes.get(at) {
            if self.in_string {
                let rest = bytes.get(at..).unwrap_or_default();
                let found = memchr::memchr2(b'"', b'\\', rest)?;
                at += found + 1;
                if rest.get(found) == Some(&b'"') {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Some(at);
                    }
                } else if at < bytes.len() {
                    at += 1;
                } else {
                    self.escaped = true;
                }
                continue;
            }
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.depth_max = self.depth_max.max(self.depth);
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl<R: Read> Splitter<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            at: 0,
            base: Position {
                line: 1,
                column: 1,
                offset: 0,
            },
            place: Place::Start,
            found_log: false,
            found_entries: false,
        }
    }

    /// The next element and where it begins; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<(Item, Position)>, HarError> {
        loop {
            match self.place {
                Place::Start => self.start()?,
                Place::Object { log, first } => self.member(log, first)?,
                Place::Entries { first } => {
                    if let Some(found) = self.element(first)? {
                        return Ok(Some(found));
                    }
                }
                Place::End => return self.end().map(|()| None),
            }
        }
    }

    fn start(&mut self) -> Result<(), HarError> {
        while self.rest().len() < BYTE_ORDER_MARK.len() && self.fill()? {}
        if self.rest().starts_with(BYTE_ORDER_MARK) {
            self.at += BYTE_ORDER_MARK.len();
        }
        self.expect(b'{', "`{`")?;
        self.place = Place::Object {
            log: false,
            first: true,
        };
        Ok(())
    }

    /// A member of the outermost object, or of `log`.
    fn member(&mut self, log: bool, first: bool) -> Result<(), HarError> {
        self.place = Place::Object { log, first: false };
        match self.token()? {
            Some(b'}') => {
                self.at += 1;
                self.place = if log {
                    Place::Object {
                        log: false,
                        first: false,
                    }
                } else {
                    Place::End
                };
                return Ok(());
            }
            Some(b',') if !first => self.at += 1,
            _ if first => {}
            _ => return Err(self.syntax("expected `,` or `}`")),
        }
        let key = self.key()?;
        self.expect(b':', "`:`")?;
        match (log, key.as_slice()) {
            (false, b"log") => {
                self.expect(b'{', "`{`: `log` is an object")?;
                self.found_log = true;
                self.place = Place::Object {
                    log: true,
                    first: true,
                };
            }
            (true, b"entries") => {
                self.expect(b'[', "`[`: `log.entries` is an array")?;
                self.found_entries = true;
                self.place = Place::Entries { first: true };
            }
            _ => self.skip_value()?,
        }
        Ok(())
    }

    fn element(&mut self, first: bool) -> Result<Option<(Item, Position)>, HarError> {
        match self.token()? {
            Some(b']') => {
                self.at += 1;
                self.place = Place::Object {
                    log: true,
                    first: false,
                };
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.token()?;
            }
            _ if first => {}
            _ => return Err(self.syntax("expected `,` or `]`")),
        }
        self.place = Place::Entries { first: false };
        self.forget();
        let position = self.base;
        let (length, depth) = self.value(ENTRY_BYTES_MAX)?;
        let item = match length {
            None => Item::TooLarge,
            Some(length) if depth > ENTRY_DEPTH_MAX => {
                self.at += length;
                Item::TooDeep
            }
            Some(length) => Item::Text(self.take(length)),
        };
        Ok(Some((item, position)))
    }

    fn end(&mut self) -> Result<(), HarError> {
        if self.token()?.is_some() {
            return Err(self.syntax("text after the end of the archive"));
        }
        let missing = match (self.found_log, self.found_entries) {
            (_, true) => return Ok(()),
            (true, false) => "`log` has no `entries`",
            (false, false) => "there is no `log`",
        };
        Err(HarError::NoArchive { what: missing })
    }

    /// Reads to the end of the value that begins here. Gives its length where the text is still in the buffer, which it is up to
    /// `keep` bytes, and its depth.
    fn value(&mut self, keep: usize) -> Result<(Option<usize>, u32), HarError> {
        match self.token()? {
            Some(b'{' | b'[' | b'"') => {}
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => return self.scalar(),
            Some(_) => return Err(self.syntax("expected a value")),
            None => return Err(self.syntax("the file ends early")),
        }
        let (mut scan, mut scanned, mut kept) = (Scan::default(), 0, true);
        loop {
            if let Some(more) = scan.advance(self.rest().get(scanned..).unwrap_or_default()) {
                scanned += more;
                if kept && scanned <= keep {
                    return Ok((Some(scanned), scan.depth_max));
                }
                self.at += scanned;
                return Ok((None, scan.depth_max));
            }
            scanned = self.rest().len();
            if !kept || scanned > keep {
                kept = false;
                self.at += scanned;
                scanned = 0;
            }
            if !self.fill()? {
                return Err(self.syntax("the file ends early"));
            }
        }
    }

    /// A number, `true`, `false` or `null`; its text is not judged.
    fn scalar(&mut self) -> Result<(Option<usize>, u32), HarError> {
        let mut length = 0;
        loop {
            match self.rest().get(length).copied() {
                Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E') if length < KEY_BYTES_MAX => {
                    length += 1
                }
                Some(_) if length >= KEY_BYTES_MAX => return Err(self.syntax("a number or word without end")),
                Some(_) => return Ok((Some(length), 0)),
                None if self.fill()? => {}
                None => return Ok((Some(length), 0)),
            }
        }
    }

    fn skip_value(&mut self) -> Result<(), HarError> {
        if let (Some(length), _) = self.value(0)? {
            self.at += length;
        }
        Ok(())
    }

    /// A key of the outline; empty for one that is too long to be of interest.
    fn key(&mut self) -> Result<Vec<u8>, HarError> {
        if self.token()? != Some(b'"') {
            return Err(self.syntax("expected a key"));
        }
        let (Some(length), _) = self.value(KEY_BYTES_MAX)? else {
            return Ok(Vec::new());
        };
        let text = self.rest().get(..length).unwrap_or_default();
        let key = serde_json::from_slice::<String>(text)
            .map(String::into_bytes)
            .unwrap_or_default();
        self.at += length;
        Ok(key)
    }

    fn expect(&mut self, byte: u8, name: &str) -> Result<(), HarError> {
        match self.token()? {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.syntax(&format!("expected {name}"))),
            None => Err(self.syntax("the file ends early")),
        }
    }

    /// The next byte that is no white space, not taken; `None` at the end of the file.
    fn token(&mut self) -> Result<Option<u8>, HarError> {
        loop {
            let rest = self.rest();
            match rest
                .iter()
                .position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
            {
                Some(white) => {
                    let found = rest.get(white).copied();
                    self.at += white;
                    return Ok(found);
                }
                None => self.at = self.buffer.len(),
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Lets go of what is done with.
    fn forget(&mut self) {
        let done = self.buffer.split_to(self.at.min(self.buffer.len()));
        self.base = moved(self.base, &done);
        self.at = 0;
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.forget();
        let text = self.buffer.split_to(length.min(self.buffer.len())).freeze();
        self.base = moved(self.base, &text);
        text
    }

    /// False at the end of the file.
    fn fill(&mut self) -> Result<bool, HarError> {
        if self.at >= READ_BYTES || self.at == self.buffer.len() {
            self.forget();
        }
        let length = self.buffer.len();
        self.buffer.resize(length + READ_BYTES, 0);
        let read = loop {
            let room = self.buffer.get_mut(length..).unwrap_or_default();
            match self.reader.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let count = read.as_ref().copied().unwrap_or(0);
        self.buffer.truncate(length + count.min(READ_BYTES));
        match read {
            Ok(count) => Ok(count > 0),
            Err(source) => Err(HarError::Read {
                offset: self.base.offset + length as u64,
                source,
            }),
        }
    }

    /// What the buffer takes.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn syntax(&self, what: &str) -> HarError {
        let done = self.buffer.get(..self.at).unwrap_or(&self.buffer);
        HarError::Syntax {
            position: moved(self.base, done),
            what: what.to_owned(),
        }
    }
}

fn moved(from: Position, over: &[u8]) -> Position {
    let lines = memchr::memchr_iter(b'\n', over).count() as u64;
    let after = memchr::memrchr(b'\n', over).map(|at| over.len() - at - 1);
    Position {
        line: from.line + lines,
        column: after.map_or(from.column + over.len() as u64, |after| after as u64 + 1),
        offset: from.offset + over.len() as u64,
    }
}
