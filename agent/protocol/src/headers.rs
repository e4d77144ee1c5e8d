//! Header fields of a message: one text and the places of the fields in it, so that a list costs two allocations whatever
//! its length, and none of its fields is counted by itself.

use std::fmt;

/// Header fields in order, as received: names in their original case, values without surrounding white space.
///
/// Two lists are equal if their fields are, wherever these lie.
#[derive(Clone, Default)]
pub struct Headers {
    /// Names and values. What of it no span covers is no part of the list.
    text: Vec<u8>,
    spans: Vec<Span>,
}

/// Where in the text a field is. Parsers bound heads far below 4 GiB; text behind that would be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    name: u32,
    name_end: u32,
    value: u32,
    value_end: u32,
}

impl Headers {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            text: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// No fields, and room for so many with so many bytes in all.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            spans: Vec::with_capacity(fields),
        }
    }

    /// The fields that lie in `block`, which is copied from the first name to the last value. Of a field that does not lie in
    /// it, what lies outside is empty.
    pub(crate) fn within<'a>(
        block: &'a [u8],
        fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Self {
        let begin = block.as_ptr() as usize;
        let place = |part: &[u8]| {
            let from = (part.as_ptr() as usize).wrapping_sub(begin);
            (from, from.wrapping_add(part.len()))
        };
        let Some((first, _)) = fields.clone().next() else {
            return Self::new();
        };
        let (skipped, _) = place(first);
        let mut spans = Vec::with_capacity(fields.len());
        let mut end = skipped;
        for (name, value) in fields {
            let (name, name_end) = place(name);
            // An empty value may point anywhere.
            let (value, value_end) = if value.is_empty() {
                (name_end, name_end)
            } else {
                place(value)
            };
            end = value_end;
            spans.push(Span {
                name: offset(name.wrapping_sub(skipped)),
                name_end: offset(name_end.wrapping_sub(skipped)),
                value: offset(value.wrapping_sub(skipped)),
                value_end: offset(value_end.wrapping_sub(skipped)),
            });
        }
        Self {
            text: block.get(skipped..end).unwrap_or_default().to_vec(),
            spans,
        }
    }

    /// Appends a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let begin = self.text.len();
        self.text.extend_from_slice(name);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        self.spans.push(Span {
            name: offset(begin),
            name_end: offset(middle),
            value: offset(middle),
            value_end: offset(self.text.len()),
        });
    }

    /// Appends a field with the name of the last one, which is not kept again; none without a last one.
    pub fn push_again(&mut self, value: &[u8]) {
        if let Some(&last) = self.spans.last() {
            let begin = self.text.len();
            self.text.extend_from_slice(value);
            self.spans.push(Span {
                value: offset(begin),
                value_end: offset(self.text.len()),
                ..last
            });
        }
    }

    /// The fields, each its name and its value.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            text: &self.text,
            spans: self.spans.iter(),
        }
    }

    /// Value of the first field of this name, in whatever case.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.spans
            .iter()
            .find(|span| span.is_named(&self.text, name))
            .map(|span| span.value(&self.text))
    }

    /// Values of the fields of this name, in whatever case.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.spans
            .iter()
            .filter(move |span| span.is_named(&self.text, name))
            .map(|span| span.value(&self.text))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    /// What the fields lie in. It may be more than they, and says nothing of where they begin: to tell lists apart quickly.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether both are made of the same text in the same way: equal then, and found so without a look at each field.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.text == other.text && self.spans == other.spans
    }

    /// Bytes of memory that the list keeps.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl Span {
    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.name as usize..self.name_end as usize)
            .unwrap_or_default()
    }

    fn value<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.value as usize..self.value_end as usize)
            .unwrap_or_default()
    }

    /// Most names are told apart by their lengths.
    fn is_named(&self, text: &[u8], name: &[u8]) -> bool {
        self.name_end.wrapping_sub(self.name) as usize == name.len()
            && self.name(text).eq_ignore_ascii_case(name)
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// See [`Headers::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    text: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.spans.next()?;
        Some((span.name(self.text), span.value(self.text)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Self::new();
        headers.extend(fields);
        headers
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const LEN: usize> From<[(N, V); LEN]> for Headers {
    fn from(fields: [(N, V); LEN]) -> Self {
        fields.into_iter().collect()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |part: &[u8]| part.escape_ascii().to_string();
        formatter
            .debug_list()
            .entries(self.iter().map(|(name, value)| (text(name), text(value))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(headers: &Headers) -> Vec<(&[u8], &[u8])> {
        headers.iter().collect()
    }

    #[test]
    fn fields_within_a_block() {
        let block = b"GET / HTTP/1.1\r\nHost: a\r\nX:  \r\nB:c \r\n\r\nbody";
        let at = |from: usize, to: usize| &block[from..to];
        let fields = [
            (at(16, 20), at(22, 23)),
            // An empty value that points elsewhere.
            (at(25, 26), &[][..]),
            (at(31, 32), at(33, 34)),
        ];
        let headers = Headers::within(block, fields.into_iter());
        assert_eq!(
            pairs(&headers),
            [(&b"Host"[..], &b"a"[..]), (b"X", b""), (b"B", b"c")]
        );
        assert_eq!(headers, Headers::from([("Host", "a"), ("X", ""), ("B", "c")]));
        // Neither the start line nor the end of the head.
        assert_eq!(headers.text, b"Host: a\r\nX:  \r\nB:c");
        assert_eq!(Headers::within(block, [].into_iter()), Headers::new());
    }

    #[test]
    fn names_in_whatever_case() {
        let headers = Headers::from([("Accept", "a"), ("accept", "b"), ("Accept-x", "c"), ("", "d")]);
        assert_eq!(headers.get(b"ACCEPT"), Some(&b"a"[..]));
        assert_eq!(headers.get(b""), Some(&b"d"[..]));
        assert_eq!(headers.get(b"accep"), None);
        assert_eq!(headers.all(b"aCCept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn same_by_what_they_are_made_of() {
        let one = Headers::from([("ab", "c")]);
        assert!(one.is_same(&Headers::from([("ab", "c")])));
        for other in [
            Headers::from([("a", "bc")]),
            Headers::from([("ab", "C")]),
            Headers::from([("ab", "c"), ("", "")]),
            Headers::new(),
        ] {
            assert!(!one.is_same(&other) && one != other, "{other:?}");
        }
        assert_eq!(one.text(), b"abc");
    }

    #[test]
    fn equal_by_what_they_say() {
        let one = Headers::from([("ab", "c")]);
        assert_ne!(one, Headers::from([("a", "bc")]));
        assert_ne!(one, Headers::new());
        assert_ne!(one, Headers::from([("AB", "c")]));
        let mut again = Headers::from([("x", "y")]);
        again.clear();
        assert!(again.is_empty());
        again.push(b"ab", b"c");
        assert_eq!(one, again);
        assert_eq!(format!("{one:?}"), r#"[("ab", "c")]"#);
    }

    #[test]
    fn fields_of_one_name_keep_it_once() {
        let mut headers = Headers::new();
        headers.push_again(b"x");
        assert!(headers.is_empty());
        headers.push(b"name", b"a");
        headers.push_again(b"");
        headers.push_again(b"bc");
        assert_eq!(
            headers,
            Headers::from([("name", "a"), ("name", ""), ("name", "bc")])
        );
        assert_eq!(headers.text, b"nameabc");
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(fields: Vec<(Vec<u8>, Vec<u8>)>) {
            let headers: Headers = fields.iter().map(|(name, value)| (name, value)).collect();
            let out: Vec<_> = headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(headers.len(), fields.len());
            let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
            prop_assert!(headers.memory_bytes() >= bytes);
            prop_assert_eq!(out, fields);
        }
    }
}
