//! Header fields that may leave. Most of them are the same from call to call, so what became of them is remembered.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use policy::HeaderList;
use protocol::Header;

use crate::mask::{Audience, MASK, cut, mask};
use crate::redact::{HEADERS_MAX, RedactCounters, VALUE_BYTES_MAX};

/// Longest name of a header field kept.
pub(crate) const NAME_BYTES_MAX: usize = 64;
/// Names remembered, and fields. When there are more, all are forgotten.
const REMEMBERED_MAX: usize = 1024;
/// Longest value that is remembered.
const REMEMBERED_BYTES_MAX: usize = 512;

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

/// What a list of allowed fields makes of messages.
#[derive(Debug)]
pub(crate) struct Fields {
    list: HeaderList,
    /// By name as sent: in lower case, if it is allowed.
    names: HashMap<Box<[u8]>, Option<Arc<str>>>,
    /// By name as sent, its length first, and value.
    values: HashMap<Box<[u8]>, Shown>,
    key: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Shown {
    field: Field,
    was_cut: bool,
}

impl Fields {
    pub(crate) fn new(list: &HeaderList) -> Self {
        Self {
            list: list.clone(),
            names: HashMap::new(),
            values: HashMap::new(),
            key: Vec::new(),
        }
    }

    /// Those of a message, at most [`HEADERS_MAX`].
    pub(crate) fn of(&mut self, headers: &[Header], counters: &mut RedactCounters) -> Vec<Field> {
        let mut out = Vec::new();
        for header in headers {
            if !self.allows(&header.name) {
                continue;
            }
            if out.len() >= HEADERS_MAX {
                counters.headers_dropped += 1;
                continue;
            }
            if let Some(shown) = self.shown(header) {
                counters.values_cut += u64::from(shown.was_cut);
                out.push(shown.field);
            }
        }
        out
    }

    fn allows(&mut self, name: &[u8]) -> bool {
        if name.len() > NAME_BYTES_MAX {
            return false;
        }
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

    fn shown(&mut self, header: &Header) -> Option<Shown> {
        if header.value.len() > REMEMBERED_BYTES_MAX {
            return Some(shown(self.names.get(&*header.name)?.as_deref()?, &header.value));
        }
        self.key.clear();
        self.key.push(u8::try_from(header.name.len()).ok()?);
        self.key.extend_from_slice(&header.name);
        self.key.extend_from_slice(&header.value);
        if let Some(known) = self.values.get(self.key.as_slice()) {
            return Some(known.clone());
        }
        let made = shown(self.names.get(&*header.name)?.as_deref()?, &header.value);
        if self.values.len() >= REMEMBERED_MAX {
            self.values.clear();
        }
        self.values.insert(self.key.as_slice().into(), made.clone());
        Some(made)
    }
}

fn shown(name: &str, raw: &[u8]) -> Shown {
    let value = if REFERENCES.contains(&name) && !has_origin(raw) {
        MASK.to_owned()
    } else {
        mask(raw, Audience::Remote)
    };
    Shown {
        was_cut: value.len() > VALUE_BYTES_MAX,
        field: Arc::new((name.to_owned(), cut(value.chars(), VALUE_BYTES_MAX))),
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
    use bytes::Bytes;
    use policy::CapturePolicy;

    use super::*;

    fn header(name: &str, value: String) -> Header {
        Header {
            name: Bytes::copy_from_slice(name.as_bytes()),
            value: value.into(),
        }
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
            let sent = [header(name, value)];
            let first = fields.of(&sent, &mut counters);
            let again = fields.of(&sent, &mut counters);
            let fresh = Fields::new(&list).of(&sent, &mut RedactCounters::default());
            assert_eq!(first, fresh, "{name}");
            assert_eq!(again, fresh, "{name}");
        }
        assert_eq!(counters.values_cut, 4);
    }

    #[test]
    fn bounded_whatever_comes() {
        let mut fields = Fields::new(&CapturePolicy::default().headers.request);
        let mut counters = RedactCounters::default();
        for number in 0..=REMEMBERED_MAX {
            let sent = [
                header("user-agent", number.to_string()),
                header(&format!("x-{number}"), String::new()),
            ];
            let shown = fields.of(&sent, &mut counters);
            assert_eq!(
                shown.first().map(|field| field.1.clone()),
                Some(number.to_string())
            );
        }
        // One more than fit: all others are forgotten.
        assert_eq!(fields.values.len(), 1);
        assert!(fields.names.len() <= REMEMBERED_MAX);
    }
}
