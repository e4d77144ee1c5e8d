//! A look into XML that may be cut off anywhere and may be none at all: tags and text, one pass, no recursion. Entities
//! stay as they are, declarations are passed over and never followed.

/// What comes next in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A start tag.
    Open(Tag<'a>),
    /// An end tag.
    Close,
    /// Characters between tags, or a CDATA section.
    Text(&'a [u8]),
}

/// A start tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// Its name, with prefix.
    name: &'a [u8],
    /// What stands behind the name.
    pub(super) attributes: &'a [u8],
    /// The element has no content.
    pub(super) empty: bool,
}

impl<'a> Tag<'a> {
    /// Its name without prefix.
    pub(super) fn local_name(&self) -> &'a [u8] {
        let from = memchr::memchr(b':', self.name).map_or(0, |colon| colon + 1);
        self.name.get(from..).unwrap_or_default()
    }
}

/// Reads the parts of a document, in order.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// The next start tag or end tag, text left out.
    pub(super) fn tag(&mut self) -> Option<Part<'a>> {
        self.find(|part| !matches!(part, Part::Text(_)))
    }

    /// Moves behind the end of the element whose start tag was read. `None`: it is cut off.
    pub(super) fn leave(&mut self, tag: &Tag<'a>) -> Option<()> {
        let mut depth = usize::from(!tag.empty);
        while depth > 0 {
            match self.tag()? {
                Part::Open(tag) => depth += usize::from(!tag.empty),
                Part::Close => depth -= 1,
                Part::Text(_) => {}
            }
        }
        Some(())
    }

    /// Moves behind `end`, which is looked for from `from` on.
    fn skip_past(&mut self, from: usize, end: &[u8]) -> Option<&'a [u8]> {
        let rest = self.rest.get(from..)?;
        let at = memchr::memmem::find(rest, end);
        let skipped = at.and_then(|at| rest.get(..at));
        self.rest = at.and_then(|at| rest.get(at + end.len()..)).unwrap_or_default();
        skipped
    }

    /// Reads what stands between `<` and `>`, which may stand in quotes too.
    fn markup(&mut self, from: usize) -> Option<&'a [u8]> {
        let rest = self.rest.get(from..)?;
        let mut at = 0;
        loop {
            at += memchr::memchr3(b'>', b'"', b'\'', rest.get(at..)?)?;
            match rest.get(at)? {
                b'>' => break,
                quote => at += 2 + memchr::memchr(*quote, rest.get(at + 1..)?)?,
            }
        }
        self.rest = rest.get(at + 1..)?;
        rest.get(..at)
    }

    /// Moves behind a document type, whose declarations may hold `>` in brackets.
    fn skip_document_type(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b'[' => depth += 1,
                b']' => depth = depth.saturating_sub(1),
                b'"' | b'\'' => at += 1 + memchr::memchr(*byte, self.rest.get(at + 1..)?)?,
                b'>' if depth == 0 => {
                    self.rest = self.rest.get(at + 1..)?;
                    return Some(());
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn part(&mut self) -> Option<Part<'a>> {
        loop {
            match self.rest {
                [] => return None,
                [b'<', b'!', b'-', b'-', ..] => {
                    self.skip_past(4, b"-->")?;
                }
                [b'<', b'!', b'[', b'C', b'D', b'A', b'T', b'A', b'[', ..] => {
                    return self.skip_past(9, b"]]>").map(Part::Text);
                }
                [b'<', b'?', ..] => {
                    self.skip_past(2, b"?>")?;
                }
                [b'<', b'!', ..] => self.skip_document_type()?,
                [b'<', b'/', ..] => {
                    self.skip_past(2, b">")?;
                    return Some(Part::Close);
                }
                [b'<', ..] => return self.markup(1).map(|markup| Part::Open(tag(markup))),
                text => {
                    let end = memchr::memchr(b'<', text)?;
                    let (text, rest) = text.split_at(end);
                    self.rest = rest;
                    return Some(Part::Text(text));
                }
            }
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let part = self.part();
        if part.is_none() {
            self.rest = &[];
        }
        part
    }
}

fn tag(markup: &[u8]) -> Tag<'_> {
    let (markup, empty) = match markup.strip_suffix(b"/") {
        Some(markup) => (markup, true),
        None => (markup, false),
    };
    let end = markup
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(markup.len());
    let (name, attributes) = markup.split_at(end);
    Tag {
        name,
        attributes,
        empty,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Vec<String> {
        Reader::new(text.as_bytes())
            .map(|part| match part {
                Part::Open(tag) => {
                    let end = if tag.empty { "/" } else { "" };
                    format!("<{}{end}", tag.local_name().escape_ascii())
                }
                Part::Close => ">".into(),
                Part::Text(text) => text.escape_ascii().to_string(),
            })
            .collect()
    }

    #[test]
    fn parts_of_documents() {
        let cases: &[(&str, &[&str])] = &[
            ("<a><b:c d='>'/>x</a>", &["<a", "<c/", "x", ">"]),
            (
                "<?xml version='1.0'?><!-- <x> --><a\n b=\"'\">t</a>",
                &["<a", "t", ">"],
            ),
            (
                "<!DOCTYPE a [<!ENTITY b \"]>\"> <!ELEMENT c (d)>]><a>&b;</a>",
                &["<a", "&b;", ">"],
            ),
            ("<a><![CDATA[<b>]]></a>", &["<a", "<b>", ">"]),
            ("<a", &[]),
            ("<a b='", &[]),
            ("<a>text", &["<a"]),
            ("<a><!-- ", &["<a"]),
            ("<a><![CDATA[x", &["<a"]),
            ("<!DOCTYPE a [", &[]),
            ("text", &[]),
            ("", &[]),
            ("<>", &["<"]),
        ];
        for (text, want) in cases {
            assert_eq!(parts(text), *want, "{text}");
        }
    }

    #[test]
    fn elements_are_left() {
        let mut reader = Reader::new(b"<a><b><c/><b></b>x</b></a><d/>");
        let Some(Part::Open(a)) = reader.tag() else {
            panic!()
        };
        assert_eq!(reader.leave(&a), Some(()));
        let Some(Part::Open(d)) = reader.tag() else {
            panic!()
        };
        assert_eq!(d.local_name(), b"d");
        assert_eq!(reader.leave(&d), Some(()));
        assert_eq!(reader.leave(&a), None, "cut off");
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "(<|>|/|!|\\?|--|\\[|\\]|CDATA|'|\"|a|:| ){0,80}") {
            let parts = Reader::new(text.as_bytes()).count();
            prop_assert!(parts <= text.len());
        }
    }
}
