//! A look into JSON (RFC 8259) that may be cut off anywhere and may be none at all. Values are told apart by their ends
//! alone; nothing recurses, nothing is copied, and each byte is looked at once for every level that is entered.

use std::borrow::Cow;

/// A value, as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    raw: &'a [u8],
    /// Its end was seen.
    whole: bool,
}

impl<'a> Value<'a> {
    /// The value that `text` is; `whole`: nothing of it is missing.
    pub(super) fn of(text: &'a [u8], whole: bool) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut scanner = Scanner { text, at: 0 };
        let value = scanner.value()?;
        Some(Self {
            whole: value.whole || whole && value.is_scalar(),
            ..value
        })
    }

    /// The text of the value.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether its end was seen.
    pub(super) fn whole(&self) -> bool {
        self.whole
    }

    fn is_scalar(&self) -> bool {
        !matches!(self.raw.first(), Some(b'{' | b'[' | b'"'))
    }

    pub(super) fn is_null(&self) -> bool {
        self.raw == b"null"
    }

    pub(super) fn is_object(&self) -> bool {
        self.raw.first() == Some(&b'{')
    }

    pub(super) fn is_array(&self) -> bool {
        self.raw.first() == Some(&b'[')
    }

    /// Members of an object; of anything else none.
    pub(super) fn members(&self) -> Members<'a> {
        Members(self.is_object().then_some(Scanner {
            text: self.raw,
            at: 1,
        }))
    }

    /// Elements of an array; of anything else none.
    pub(super) fn elements(&self) -> Elements<'a> {
        Elements(self.is_array().then_some(Scanner {
            text: self.raw,
            at: 1,
        }))
    }

    /// Content of a string, without escapes; of one that is cut off, as far as it goes.
    pub(super) fn string(&self) -> Option<Cow<'a, [u8]>> {
        let inside = self.raw.strip_prefix(b"\"")?;
        let inside = if self.whole {
            inside.strip_suffix(b"\"").unwrap_or(inside)
        } else {
            inside
        };
        Some(unescape(inside))
    }

    /// A whole number.
    pub(super) fn integer(&self) -> Option<i64> {
        std::str::from_utf8(self.raw).ok()?.parse().ok()
    }
}

/// Iterates over the members of an object.
pub(super) struct Members<'a>(Option<Scanner<'a>>);

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, [u8]>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let member = self.0.as_mut()?.member();
        if member.is_none() {
            self.0 = None;
        }
        member
    }
}

/// Iterates over the elements of an array.
pub(super) struct Elements<'a>(Option<Scanner<'a>>);

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let scanner = self.0.as_mut()?;
        scanner.skip_separator();
        let element = scanner.value();
        if element.is_none() {
            self.0 = None;
        }
        element
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn skip_separator(&mut self) {
        self.skip_space();
        if self.peek() == Some(b',') {
            self.at += 1;
        }
    }

    fn member(&mut self) -> Option<(Cow<'a, [u8]>, Value<'a>)> {
        self.skip_separator();
        self.skip_space();
        if self.peek() != Some(b'"') {
            return None;
        }
        let name = self.value()?;
        self.skip_space();
        if !name.whole || self.peek() != Some(b':') {
            return None;
        }
        self.at += 1;
        Some((name.string()?, self.value()?))
    }

    /// The next value; `None`: there is none.
    fn value(&mut self) -> Option<Value<'a>> {
        self.skip_space();
        let from = self.at;
        let whole = match self.peek()? {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_nested(),
            b'}' | b']' | b',' | b':' => return None,
            _ => self.skip_scalar(),
        };
        Some(Value {
            raw: self.text.get(from..self.at)?,
            whole,
        })
    }

    /// Moves behind the string that begins here. False: it is cut off.
    fn skip_string(&mut self) -> bool {
        self.at += 1;
        while let Some(found) = self
            .text
            .get(self.at..)
            .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
        {
            self.at += found;
            if self.peek() == Some(b'"') {
                self.at += 1;
                return true;
            }
            self.at += 2;
        }
        self.at = self.text.len();
        false
    }

    /// Moves behind the object or array that begins here. False: it is cut off.
    fn skip_nested(&mut self) -> bool {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return true;
            }
        }
        false
    }

    /// Moves behind the number or word that begins here. False: it may go on.
    fn skip_scalar(&mut self) -> bool {
        while let Some(byte) = self.peek() {
            if matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                return true;
            }
            self.at += 1;
        }
        false
    }
}

/// Resolves escapes (RFC 8259 7); what is none stays as it is.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'n', rest @ ..] => push(&mut out, b'\n', rest),
            [_, b't', rest @ ..] => push(&mut out, b'\t', rest),
            [_, b'r', rest @ ..] => push(&mut out, b'\r', rest),
            [_, b'b', rest @ ..] => push(&mut out, 8, rest),
            [_, b'f', rest @ ..] => push(&mut out, 12, rest),
            [_, b'u', rest @ ..] => unescape_unit(&mut out, rest),
            [_, byte, rest @ ..] => push(&mut out, *byte, rest),
            // Cut off inside of it.
            _ => &[],
        };
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

fn push<'a>(out: &mut Vec<u8>, byte: u8, rest: &'a [u8]) -> &'a [u8] {
    out.push(byte);
    rest
}

/// Behind `\u`: a code unit, or the first of a pair. Half a pair becomes the replacement character.
fn unescape_unit<'a>(out: &mut Vec<u8>, rest: &'a [u8]) -> &'a [u8] {
    let Some((unit, rest)) = code_unit(rest) else {
        return &[];
    };
    let second = rest.strip_prefix(b"\\u").and_then(code_unit);
    let (character, rest) = match (unit, second) {
        (0xd800..=0xdbff, Some((low @ 0xdc00..=0xdfff, behind))) => {
            let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code), behind)
        }
        _ => (char::from_u32(unit), rest),
    };
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn code_unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(text: &str) -> Vec<String> {
        Value::of(text.as_bytes(), false)
            .map(|value| value.members().map(|(name, value)| show(&name, &value)).collect())
            .unwrap_or_default()
    }

    fn show(name: &[u8], value: &Value<'_>) -> String {
        let end = if value.whole { "" } else { "…" };
        format!(
            "{}={}{end}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value.raw)
        )
    }

    #[test]
    fn members_of_objects() {
        let cases: &[(&str, &[&str])] = &[
            ("{}", &[]),
            ("[1]", &[]),
            (
                "  {\"a\" : 1 , \"b\":[{}],\"c\":{\"d\":\"}\"}}",
                &["a=1", "b=[{}]", "c={\"d\":\"}\"}"],
            ),
            ("{\"a\":\"x\\\"y\",\"\\u0062\":null}", &["a=\"x\\\"y\"", "b=null"]),
            ("{\"a\":tru", &["a=tru…"]),
            ("{\"a\":\"tru", &["a=\"tru…"]),
            ("{\"a\":\"tru\\", &["a=\"tru\\…"]),
            ("{\"a\":{\"b\":[", &["a={\"b\":[…"]),
            ("{\"a\":1,\"b", &["a=1"]),
            ("{\"a\":1,\"b\":", &["a=1"]),
            ("{\"a\":1 \"b\":2", &["a=1", "b=2…"]),
            ("{a:1}", &[]),
            ("{\"a\"}", &[]),
            ("\u{feff}{\"a\":1}", &["a=1"]),
            ("{\"a\":}", &[]),
        ];
        for (text, want) in cases {
            assert_eq!(members(text), *want, "{text}");
        }
    }

    #[test]
    fn strings_lose_their_escapes() {
        let cases: &[(&str, &str)] = &[
            ("\"plain\"", "plain"),
            ("\"a\\n\\t\\r\\b\\f\\\\\\/\\\"z\"", "a\n\t\r\u{8}\u{c}\\/\"z"),
            ("\"\\u00e9\\u20AC\\ud83d\\ude00\"", "é€😀"),
            ("\"\\ud83dx\"", "\u{fffd}x"),
            ("\"cut\\u00", "cut"),
            ("\"cut\\", "cut"),
            ("\"cut", "cut"),
        ];
        for (text, want) in cases {
            let value = Value::of(text.as_bytes(), true).unwrap();
            assert_eq!(String::from_utf8_lossy(&value.string().unwrap()), *want, "{text}");
        }
        assert_eq!(Value::of(b"12", true).unwrap().string(), None);
    }

    #[test]
    fn numbers_that_may_go_on() {
        assert!(Value::of(b"12", true).unwrap().whole());
        assert!(!Value::of(b"12", false).unwrap().whole());
        assert_eq!(Value::of(b"-32601", true).unwrap().integer(), Some(-32_601));
        assert_eq!(Value::of(b"1.5", true).unwrap().integer(), None);
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = "[".repeat(1 << 20) + &"{\"a\":".repeat(1 << 18);
        let value = Value::of(deep.as_bytes(), true).unwrap();
        assert!(!value.whole());
        assert_eq!(value.elements().count(), 1);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            ".{0,8}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                prop::collection::btree_map(".{0,5}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_parser(json in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
            let value = Value::of(text.as_bytes(), true).unwrap();
            prop_assert!(value.whole());
            prop_assert_eq!(value.raw(), text.as_bytes());
            if let Some(object) = json.as_object() {
                let names: Vec<_> = value.members().map(|(name, _)| name.into_owned()).collect();
                let want: Vec<_> = object.keys().map(|name| name.as_bytes().to_vec()).collect();
                prop_assert_eq!(names, want);
                for (_, value) in value.members() {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(value.raw()).is_ok());
                }
            }
            if let Some(string) = json.as_str() {
                let value = value.string().unwrap();
                prop_assert_eq!(&*value, string.as_bytes());
            }
            for cut in 0..text.len() {
                if let Some(value) = Value::of(&text.as_bytes()[..cut], false) {
                    value.members().for_each(drop);
                    value.elements().for_each(drop);
                }
            }
        }

        #[test]
        fn garbage_ends(text in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'{'), Just(b'['), Just(b'}'), Just(b','), Just(b':'), Just(b'\\'), any::<u8>()], 0..200)) {
            if let Some(value) = Value::of(&text, false) {
                value.members().for_each(|(_, value)| drop(value.string()));
                value.elements().for_each(|value| drop(value.string()));
            }
        }
    }
}
