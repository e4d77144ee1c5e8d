//! Lines until the end of a replay, in few bytes: what many lines have in common is kept once, and what is not text becomes text when
//! the line is written out.
//!
//! A line is a sequence of parts. Each begins with an integer (LEB128) whose lowest two bits say which kind it is; the others are the
//! length of the text that follows, the index of a text that is kept, a number, or a time.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use xxhash_rust::xxh3::xxh3_64;

use super::json;

/// Bytes of all texts that are kept, with what it takes to find them. When there are more, the others stay in their lines.
pub const KEPT_BYTES_MAX: usize = 4 << 20;
/// Longest text that is kept, bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// What a kept text takes beside its bytes, at most.
const OVERHEAD_BYTES: usize = 128;
/// Texts that are recognised when they come again.
const SEEN: usize = 4096;

/// Kinds of parts.
const TEXT: u64 = 0;
const KEPT: u64 = 1;
const NUMBER: u64 = 2;
const SECONDS: u64 = 3;
/// Bits of the kind.
const KIND_BITS: u32 = 2;
/// What does not fit beside the kind is written as text.
const VALUE_MAX: u64 = u64::MAX >> KIND_BITS;

/// Texts of nearly every line, which are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// From the end of the response to the time.
    Ts,
    /// To the duration.
    DurationUs,
    /// To the time to the first byte.
    TtfbUs,
}

/// In the order of [`Fixed`].
const FIXED: [&str; 3] = ["},\"ts\":", ",\"duration_us\":", ",\"ttfb_us\":"];

/// A text that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept(u32);

/// Texts that are kept. Only what comes again is: what comes once costs no memory.
#[derive(Debug)]
pub struct Texts {
    kept: Vec<Arc<[u8]>>,
    index: HashMap<Arc<[u8]>, Kept>,
    bytes: usize,
    /// Hashes of texts that came once or more; each has one place, and the latest of a place stays.
    seen: Vec<u64>,
    scratch: Vec<u8>,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            kept: FIXED.iter().map(|text| text.as_bytes().into()).collect(),
            index: HashMap::new(),
            bytes: 0,
            seen: vec![0; SEEN],
            scratch: Vec::new(),
        }
    }
}

impl Texts {
    /// A text that is kept, or is from now on.
    fn keep(&mut self, text: &[u8]) -> Option<Kept> {
        if let Some(kept) = self.index.get(text) {
            return Some(*kept);
        }
        let bytes = text.len() + OVERHEAD_BYTES;
        if text.len() > TEXT_BYTES_MAX || self.bytes + bytes > KEPT_BYTES_MAX {
            return None;
        }
        let hash = xxh3_64(text);
        let seen = self.seen.get_mut(hash as usize % SEEN)?;
        if std::mem::replace(seen, hash) != hash {
            return None;
        }
        let kept = Kept(u32::try_from(self.kept.len()).ok()?);
        let text: Arc<[u8]> = text.into();
        self.kept.push(Arc::clone(&text));
        self.index.insert(text, kept);
        self.bytes += bytes;
        Some(kept)
    }

    /// Appends the text of a line.
    ///
    /// # Errors
    /// It is none that [`Parts`] wrote with these texts.
    pub fn write(&self, mut line: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !line.is_empty() {
            let (value, rest) = integer(line).ok_or_else(changed)?;
            line = rest;
            let (kind, value) = (value & 3, value >> KIND_BITS);
            let at = usize::try_from(value).map_err(io::Error::other);
            match kind {
                TEXT => {
                    let (text, rest) = line.split_at_checked(at?).ok_or_else(changed)?;
                    out.extend_from_slice(text);
                    line = rest;
                }
                KEPT => out.extend_from_slice(self.kept.get(at?).ok_or_else(changed)?),
                NUMBER => json::number(out, value),
                _ => json::seconds(out, i64::try_from(value).map_err(io::Error::other)?),
            }
        }
        Ok(())
    }
}

fn changed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a temporary file was changed")
}

fn integer(from: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in from.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Some((value, from.get(at + 1..)?));
        }
    }
    None
}

/// A line that is being made.
#[derive(Debug)]
pub struct Parts<'a> {
    out: &'a mut Vec<u8>,
    texts: &'a mut Texts,
}

impl<'a> Parts<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, texts: &'a mut Texts) -> Self {
        Self { out, texts }
    }

    fn part(&mut self, kind: u64, value: u64) {
        let mut rest = value << KIND_BITS | kind;
        while rest >= 0x80 {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    fn text(&mut self, text: &[u8]) {
        self.part(TEXT, text.len() as u64);
        self.out.extend_from_slice(text);
    }

    /// A text that is always kept.
    pub fn fixed(&mut self, fixed: Fixed) {
        self.part(KEPT, fixed as u64);
    }

    /// A text that is kept.
    pub fn kept(&mut self, kept: Kept) {
        self.part(KEPT, kept.0.into());
    }

    /// A text that other lines may have as well. Tells whether it is kept now.
    pub fn common(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Option<Kept> {
        let mut scratch = std::mem::take(&mut self.texts.scratch);
        scratch.clear();
        write(&mut scratch);
        let kept = self.common_text(&scratch);
        self.texts.scratch = scratch;
        kept
    }

    /// As [`Parts::common`].
    pub fn common_text(&mut self, text: &[u8]) -> Option<Kept> {
        let kept = self.texts.keep(text);
        match kept {
            Some(kept) => self.kept(kept),
            None => self.text(text),
        }
        kept
    }

    /// A number.
    pub fn number(&mut self, value: u64) {
        if value <= VALUE_MAX {
            return self.part(NUMBER, value);
        }
        let mut digits = Vec::with_capacity(20);
        json::number(&mut digits, value);
        self.text(&digits);
    }

    /// A number, or `null`.
    pub fn number_or_null(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.number(value),
            None => self.text(b"null"),
        }
    }

    /// Microseconds as seconds with six decimals.
    pub fn seconds(&mut self, us: i64) {
        match u64::try_from(us) {
            Ok(us) if us <= VALUE_MAX => self.part(SECONDS, us),
            _ => {
                let mut digits = Vec::with_capacity(24);
                json::seconds(&mut digits, us);
                self.text(&digits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Part {
        Common(Vec<u8>),
        Number(Option<u64>),
        Seconds(i64),
    }

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            prop::collection::vec(0u8..3, 0..4).prop_map(Part::Common),
            prop_oneof![
                Just(None),
                any::<u64>().prop_map(Some),
                (0u64..300).prop_map(Some)
            ]
            .prop_map(Part::Number),
            prop_oneof![any::<i64>(), 0i64..300].prop_map(Part::Seconds),
        ]
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(lines in prop::collection::vec(prop::collection::vec(part(), 0..8), 0..20)) {
            let mut texts = Texts::default();
            let mut kept = Vec::new();
            let mut expect = Vec::new();
            for line in &lines {
                let (mut parts, mut text) = (Vec::new(), Vec::new());
                let mut writer = Parts::new(&mut parts, &mut texts);
                for part in line {
                    match part {
                        Part::Common(bytes) => {
                            writer.common(|out| out.extend_from_slice(bytes));
                            text.extend_from_slice(bytes);
                        }
                        Part::Number(value) => {
                            writer.number_or_null(*value);
                            json::number_or_null(&mut text, *value);
                        }
                        Part::Seconds(us) => {
                            writer.seconds(*us);
                            json::seconds(&mut text, *us);
                        }
                    }
                }
                kept.push(parts);
                expect.push(text);
            }
            for (line, expect) in kept.iter().zip(&expect) {
                let mut out = Vec::new();
                texts.write(line, &mut out).unwrap();
                prop_assert_eq!(&out, expect);
            }
        }

        #[test]
        fn any_bytes_are_a_line_or_an_error(line in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            let _ = Texts::default().write(&line, &mut out);
            prop_assert!(out.len() <= 24 * line.len());
        }
    }

    fn length(texts: &mut Texts, text: &str) -> usize {
        let mut line = Vec::new();
        Parts::new(&mut line, texts).common_text(text.as_bytes());
        let mut out = Vec::new();
        texts.write(&line, &mut out).unwrap();
        assert_eq!(out, text.as_bytes());
        line.len()
    }

    #[test]
    fn what_comes_again_is_kept_once() {
        let mut texts = Texts::default();
        let text = "x".repeat(TEXT_BYTES_MAX);
        assert!(length(&mut texts, &text) > TEXT_BYTES_MAX);
        assert_eq!(length(&mut texts, &text), 1);
        assert_eq!(length(&mut texts, &text), 1);
        let longer = "x".repeat(TEXT_BYTES_MAX + 1);
        for _ in 0..3 {
            assert!(length(&mut texts, &longer) > TEXT_BYTES_MAX);
        }
        assert_eq!(texts.kept.len(), FIXED.len() + 1);
    }

    #[test]
    fn bounded() {
        let mut texts = Texts::default();
        let fit = KEPT_BYTES_MAX / (TEXT_BYTES_MAX + OVERHEAD_BYTES);
        let text = |number: usize| format!("{number:0width$}", width = TEXT_BYTES_MAX);
        for number in 0..fit + 2 {
            length(&mut texts, &text(number));
            let again = length(&mut texts, &text(number));
            assert_eq!(again < 8, number < fit, "{number}");
        }
        assert_eq!(texts.kept.len(), FIXED.len() + fit);
        assert!(texts.bytes <= KEPT_BYTES_MAX);
        assert!(length(&mut texts, &text(0)) < 8);
    }
}
