//! Header fields that may leave. Most of them are the same from call to call, so what became of them is remembered.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use policy::HeaderList;
use protocol::Headers;
use xxhash_rust::xxh3::xxh3_64;

use crate::mask::{Audience, MASK, cut, mask};
use crate::redact::{HEADERS_MAX, RedactCounters, VALUE_BYTES_MAX};

/// Longest name of a header field kept.
pub(crate) const NAME_BYTES_MAX: usize = 64;
/// Names remembered, and fields. When there are more, all are forgotten.
const REMEMBERED_MAX: usize = 1024;
/// Longest value that is remembered.
const REMEMBERED_BYTES_MAX: usize = 512;
/// Lists remembered. When there are more, all are forgotten.
const LISTS_MAX: usize = 256;
/// Longest list that is remembered, bytes of its names and values as sent.
const LIST_BYTES_MAX: usize = 2048;
/// Lists that are recognised when they come again.
const SEEN: usize = 512;
/// Messages that are found without a look at each of their fields.
const MESSAGES: usize = 128;
/// Most memory of the headers of one that is remembered, bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Names that are found without a search.
const LATEST: usize = 128;

/// Fields whose value is a reference, maybe relative: only its origin is kept.
const REFERENCES: [&str; 9] = [
    "content-location",
    "destination",
    "location",
    "referer",
    "refresh",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// A header field that may leave: name in lower case and masked value.
pub type Field = Arc<(String, String)>;

/// Those of a message, at most [`HEADERS_MAX`]. Messages that say the same share them.
pub type FieldList = Arc<[Field]>;

/// What a list of allowed fields makes of messages.
#[derive(Debug)]
pub(crate) struct Fields {
    list: HeaderList,
    /// Names as sent that came last, by their [`place_of`].
    latest: [Option<Name>; LATEST],
    /// By name as sent: in lower case, if it is allowed.
    names: HashMap<Box<[u8]>, Option<Arc<str>>>,
    /// By name as sent, its length first, and value.
    values: HashMap<Box<[u8]>, Shown<Field>>,
    /// Messages that came again, by the hash of what their headers are made of; each has one place, and the latest of a place stays.
    messages: Vec<Option<Message>>,
    /// Hashes of messages that came once or more, likewise.
    messages_seen: [u64; MESSAGES],
    /// By all allowed names and values of a message.
    lists: HashMap<Box<[u8]>, Shown<FieldList>>,
    /// Hashes of what messages had that came once or more; each has one place, and the latest of a place stays.
    seen: [u64; SEEN],
    key: Vec<u8>,
    /// The allowed fields at hand within `key`.
    places: Vec<Place>,
}

#[derive(Debug)]
struct Message {
    hash: u64,
    headers: Headers,
    shown: Shown<FieldList>,
}

/// A field within a key: length of its name in one byte, name, value.
#[derive(Clone, Copy, Debug)]
struct Place {
    begin: usize,
    middle: usize,
    end: usize,
}

#[derive(Debug)]
struct Name {
    text: Box<[u8]>,
    allowed: bool,
}

/// What is shown, and what limits cut off of it.
#[derive(Clone, Debug)]
struct Shown<T> {
    what: T,
    values_cut: u64,
    headers_dropped: u64,
}

impl<T> Shown<T> {
    fn count(&self, counters: &mut RedactCounters) {
        counters.values_cut += self.values_cut;
        counters.headers_dropped += self.headers_dropped;
    }
}

impl Fields {
    pub(crate) fn new(list: &HeaderList) -> Self {
        Self {
            list: list.clone(),
            latest: [const { None }; LATEST],
            names: HashMap::new(),
            values: HashMap::new(),
            messages: std::iter::repeat_with(|| None).take(MESSAGES).collect(),
            messages_seen: [0; MESSAGES],
            lists: HashMap::new(),
            seen: [0; SEEN],
            key: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Those of a message.
    pub(crate) fn of(&mut self, headers: &Headers, counters: &mut RedactCounters) -> FieldList {
        let hash = xxh3_64(headers.text());
        let at = hash as usize % MESSAGES;
        if let Some(Some(message)) = self.messages.get(at)
            && message.hash == hash
            && message.headers.is_same(headers)
        {
            message.shown.count(counters);
            return message.shown.what.clone();
        }
        let shown = self.filtered(headers);
        shown.count(counters);
        let again = self
            .messages_seen
            .get_mut(at)
            .is_some_and(|seen| std::mem::replace(seen, hash) == hash);
        if again
            && headers.memory_bytes() <= MESSAGE_BYTES_MAX
            && let Some(place) = self.messages.get_mut(at)
        {
            *place = Some(Message {
                hash,
                headers: headers.clone(),
                shown: shown.clone(),
            });
        }
        shown.what
    }

    fn filtered(&mut self, headers: &Headers) -> Shown<FieldList> {
        let mut key = std::mem::take(&mut self.key);
        let mut places = std::mem::take(&mut self.places);
        key.clear();
        places.clear();
        for (name, value) in headers {
            if self.allows(name) {
                // The lengths tell the parts from each other, whatever is in them.
                key.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                let begin = key.len();
                key.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                key.extend_from_slice(name);
                let middle = key.len();
                key.extend_from_slice(value);
                places.push(Place {
                    begin,
                    middle,
                    end: key.len(),
                });
            }
        }
        let shown = match self.lists.get(key.as_slice()) {
            Some(known) => known.clone(),
            None => self.remembered_list(&key, &places),
        };
        (self.key, self.places) = (key, places);
        shown
    }

    fn allows(&mut self, name: &[u8]) -> bool {
        if name.len() > NAME_BYTES_MAX {
            return false;
        }
        let at = place_of(name);
        match self.latest.get(at) {
            Some(Some(latest)) if *latest.text == *name => latest.allowed,
            _ => {
                let allowed = self.is_allowed(name);
                if let Some(latest) = self.latest.get_mut(at) {
                    let text = name.into();
                    *latest = Some(Name { text, allowed });
                }
                allowed
            }
        }
    }

    fn is_allowed(&mut self, name: &[u8]) -> bool {
        if let Some(known) = self.names.get(name) {
            return known.is_some();
        }
        if self.names.len() >= REMEMBERED_MAX {
            self.names.clear();
        }
        let allowed = name_of(name).filter(|name| self.list.allows(name));
        let found = allowed.is_some();
        self.names.insert(name.into(), allowed.map(Arc::from));
        found
    }

    /// A list that is made, and remembered when it was made before: what comes once costs no memory.
    fn remembered_list(&mut self, key: &[u8], places: &[Place]) -> Shown<FieldList> {
        let made = self.list(key, places);
        if key.len() > LIST_BYTES_MAX {
            return made;
        }
        let hash = xxh3_64(key);
        let again = self
            .seen
            .get_mut(hash as usize % SEEN)
            .is_some_and(|seen| std::mem::replace(seen, hash) == hash);
        if again {
            if self.lists.len() >= LISTS_MAX {
                self.lists.clear();
            }
            self.lists.insert(key.into(), made.clone());
        }
        made
    }

    fn list(&mut self, key: &[u8], places: &[Place]) -> Shown<FieldList> {
        let mut out = Vec::with_capacity(places.len().min(HEADERS_MAX));
        let (mut values_cut, mut headers_dropped) = (0, 0);
        for place in places {
            if out.len() >= HEADERS_MAX {
                headers_dropped += 1;
            } else if let Some(shown) = self.shown(key, place) {
                values_cut += shown.values_cut;
                out.push(shown.what);
            }
        }
        Shown {
            what: out.into(),
            values_cut,
            headers_dropped,
        }
    }

    fn shown(&mut self, key: &[u8], place: &Place) -> Option<Shown<Field>> {
        let field = key.get(place.begin..place.end)?;
        let name = key.get(place.begin + 1..place.middle)?;
        let value = key.get(place.middle..place.end)?;
        if value.len() > REMEMBERED_BYTES_MAX {
            return Some(shown(&self.lower(name)?, value));
        }
        if let Some(known) = self.values.get(field) {
            return Some(known.clone());
        }
        let made = shown(&self.lower(name)?, value);
        if self.values.len() >= REMEMBERED_MAX {
            self.values.clear();
        }
        self.values.insert(field.into(), made.clone());
        Some(made)
    }

    /// In lower case, if it is allowed.
    fn lower(&mut self, name: &[u8]) -> Option<Arc<str>> {
        // It may have been forgotten meanwhile.
        self.is_allowed(name);
        self.names.get(name)?.clone()
    }
}

/// Where a name is remembered: common ones have places of their own.
fn place_of(name: &[u8]) -> usize {
    let (first, last) = match name {
        [first, .., last] => (*first, *last),
        [only] => (*only, *only),
        [] => (0, 0),
    };
    (name.len() + 5 * usize::from(first) + 17 * usize::from(last)) % LATEST
}

fn shown(name: &str, raw: &[u8]) -> Shown<Field> {
    let value = if REFERENCES.contains(&name) && !has_origin(raw) {
        MASK.to_owned()
    } else {
        mask(raw, Audience::Remote)
    };
    Shown {
        values_cut: u64::from(value.len() > VALUE_BYTES_MAX),
        headers_dropped: 0,
        what: Arc::new((name.to_owned(), cut(value.chars(), VALUE_BYTES_MAX))),
    }
}

/// In lower case, where it is a name (RFC 9110 section 5.1: a token).
pub(crate) fn name_of(raw: &[u8]) -> Option<String> {
    let plain = (1..=NAME_BYTES_MAX).contains(&raw.len())
        && raw
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b));
    plain.then(|| raw.iter().map(|b| char::from(b.to_ascii_lowercase())).collect())
}

fn has_origin(value: &[u8]) -> bool {
    value.windows(3).any(|window| window == b"://")
}

#[cfg(test)]
mod tests {
    use policy::CapturePolicy;

    use super::*;

    fn of(fields: &mut Fields, sent: &Headers, counters: &mut RedactCounters) -> FieldList {
        fields.of(sent, counters)
    }

    #[test]
    fn remembered_or_not_makes_no_difference() {
        let list = CapturePolicy::default().headers.request;
        let mut fields = Fields::new(&list);
        let mut counters = RedactCounters::default();
        let long = "a ".repeat(VALUE_BYTES_MAX);
        for (name, value) in [
            ("User-Agent", "curl/8".to_owned()),
            ("user-agent", "curl/8".to_owned()),
            ("USER-AGENT", "Bearer abc".to_owned()),
            ("referer", "/a?token=1".to_owned()),
            ("user-agent", long.clone()),
            ("user-agent", long.repeat(2)),
            ("x-api-key", "k".to_owned()),
            ("authorization", "Bearer abc".to_owned()),
        ] {
            let sent = Headers::from([(name, value)]);
            let first = of(&mut fields, &sent, &mut counters);
            // What comes the second time is remembered, and found the third time.
            of(&mut fields, &sent, &mut counters);
            let again = of(&mut fields, &sent, &mut counters);
            let fresh = of(&mut Fields::new(&list), &sent, &mut RedactCounters::default());
            assert_eq!(first, fresh, "{name}");
            assert_eq!(again, fresh, "{name}");
        }
        assert_eq!(counters.values_cut, 6);
    }

    #[test]
    fn bounded_whatever_comes() {
        let mut fields = Fields::new(&CapturePolicy::default().headers.request);
        let mut counters = RedactCounters::default();
        for number in 0..=REMEMBERED_MAX {
            let sent = Headers::from([
                ("user-agent", number.to_string()),
                (&format!("x-{number}"), String::new()),
            ]);
            let shown = of(&mut fields, &sent, &mut counters);
            assert_eq!(
                shown.first().map(|field| field.1.clone()),
                Some(number.to_string())
            );
        }
        assert!(fields.lists.is_empty(), "none came again");
        // One more than fit: all others are forgotten.
        assert_eq!(fields.values.len(), 1);
        assert!(fields.names.len() <= REMEMBERED_MAX);
    }

    #[test]
    fn lists_that_come_again() {
        let mut fields = Fields::new(&CapturePolicy::default().headers.request);
        let of = |fields: &mut Fields, value: String| {
            let sent = Headers::from([("user-agent", value)]);
            [0; 3].map(|_| fields.filtered(&sent).what)
        };
        for number in 0..=LISTS_MAX {
            let [_, second, third] = of(&mut fields, number.to_string());
            assert!(Arc::ptr_eq(&second, &third), "{number}");
        }
        assert_eq!(fields.lists.len(), 1);
        // Lengths of value and name, and the name, are part of it.
        let around = 4 + 1 + "user-agent".len();
        for (bytes, remembered) in [
            (LIST_BYTES_MAX - around, true),
            (LIST_BYTES_MAX - around + 1, false),
        ] {
            let [_, second, third] = of(&mut fields, "a".repeat(bytes));
            assert_eq!(Arc::ptr_eq(&second, &third), remembered, "{bytes}");
            assert_eq!(second, third);
        }
    }

    #[test]
    fn messages_that_come_again() {
        let list = CapturePolicy::default().headers.request;
        let mut fields = Fields::new(&list);
        for number in 0..4 * MESSAGES {
            // The second time the same text, of which another part is the name.
            for name in ["user-agent", "user-agen"] {
                let value = format!("{}{number}", "t".repeat(11 - name.len()));
                let sent = Headers::from([(name, value)]);
                for _ in 0..3 {
                    let mut counters = RedactCounters::default();
                    let fresh = Fields::new(&list).filtered(&sent).what;
                    assert_eq!(of(&mut fields, &sent, &mut counters), fresh, "{sent:?}");
                }
            }
        }
        assert_eq!(fields.messages.len(), MESSAGES);
        let mut remembered = |bytes: usize| {
            let mut sent = Headers::with_capacity(1, bytes - 16);
            sent.push(b"accept", b"text/plain");
            assert_eq!(sent.memory_bytes(), bytes);
            for _ in 0..2 {
                of(&mut fields, &sent, &mut RedactCounters::default());
            }
            let mut messages = fields.messages.iter_mut();
            messages
                .find(|message| {
                    message
                        .as_ref()
                        .is_some_and(|message| message.headers.is_same(&sent))
                })
                .is_some_and(|message| message.take().is_some())
        };
        assert!(remembered(MESSAGE_BYTES_MAX));
        assert!(!remembered(MESSAGE_BYTES_MAX + 1));
    }

    #[test]
    fn names_that_share_a_place() {
        let list = CapturePolicy::default().headers.request;
        let mut fields = Fields::new(&list);
        let names = ["host", "hxxt", "hyyt"];
        assert!(
            names
                .iter()
                .all(|name| place_of(name.as_bytes()) == place_of(b"host"))
        );
        for _ in 0..2 {
            for name in names {
                let sent = Headers::from([(name, "a.test".to_owned())]);
                let shown = of(&mut fields, &sent, &mut RedactCounters::default());
                assert_eq!(shown.len(), usize::from(name == "host"), "{name}");
            }
        }
    }
}
