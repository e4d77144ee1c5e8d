//! Parts of redacted lines that come again, found by what they are made of: to write a part takes longer than to look it up.
//!
//! What is shared (lists of header fields, paths, hosts) is known by its address, and held, so that the address is nobody else's.

use std::sync::Arc;

use catalog::Recorded;
use detect::{FieldList, RedactedCall};
use foldhash::{HashMap, HashMapExt};
use protocol::{Flags, Version};

use super::parts::{Kept, Parts};
use crate::source::har::End;

/// Requests and responses remembered. When there are more, all are forgotten.
const MESSAGES_MAX: usize = 2048;
/// Longest key of one that is remembered, bytes.
const KEY_BYTES_MAX: usize = 256;
/// Pairs of ends remembered; each has one place, and the latest of a place stays.
const ENDS: usize = 256;

/// See the module's description.
#[derive(Debug)]
pub struct Known {
    messages: HashMap<Box<[u8]>, Message>,
    key: Vec<u8>,
    ends: Vec<Option<Ends>>,
    /// What ended a line of HTTP alone.
    end: Option<(Version, Flags, Kept)>,
}

#[derive(Debug)]
struct Message {
    kept: Kept,
    _fields: FieldList,
    _place: Option<(Arc<str>, Arc<str>)>,
}

#[derive(Debug)]
struct Ends {
    file: u32,
    client: End,
    server: End,
    kept: Kept,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            messages: HashMap::new(),
            key: Vec::new(),
            ends: std::iter::repeat_with(|| None).take(ENDS).collect(),
            end: None,
        }
    }
}

impl Known {
    /// Adds the part that says which file and which ends: what `write` appends, which is the same for the same of these.
    pub fn ends(
        &mut self,
        parts: &mut Parts<'_>,
        file: u32,
        (client, server): (End, End),
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let port = |end: End| usize::from(end.port.unwrap_or(0));
        let Some(place) = self.ends.get_mut((port(client) ^ port(server)) % ENDS) else {
            return;
        };
        match place {
            Some(known) if (known.file, known.client, known.server) == (file, client, server) => {
                parts.kept(known.kept);
            }
            _ => {
                if let Some(kept) = parts.common(write) {
                    *place = Some(Ends {
                        file,
                        client,
                        server,
                        kept,
                    });
                }
            }
        }
    }

    /// Adds the end of a line, likewise.
    pub fn end(
        &mut self,
        parts: &mut Parts<'_>,
        (version, flags): (Version, Flags),
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        match self.end {
            Some((known, of, kept)) if (known, of) == (version, flags) => parts.kept(kept),
            _ => {
                if let Some(kept) = parts.common(write) {
                    self.end = Some((version, flags, kept));
                }
            }
        }
    }

    /// Adds the part of a request, likewise.
    pub fn request(
        &mut self,
        parts: &mut Parts<'_>,
        call: &RedactedCall,
        recorded: Option<&Recorded>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.key.clear();
        self.key.push(b'>');
        self.push(Arc::as_ptr(&call.request_headers).addr());
        self.push(recorded.map_or(0, |recorded| recorded.path.as_ptr().addr()));
        self.push(recorded.map_or(0, |recorded| recorded.host.as_ptr().addr()));
        self.key.extend_from_slice(call.method.as_bytes());
        for name in &call.query_names {
            // In no method and in no name.
            self.key.push(b'\n');
            self.key.extend_from_slice(name.as_bytes());
        }
        self.message(parts, &call.request_headers, recorded, write);
    }

    /// Adds the part of a response, likewise.
    pub fn response(
        &mut self,
        parts: &mut Parts<'_>,
        call: &RedactedCall,
        status: u16,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.key.clear();
        self.key.push(b'<');
        self.push(Arc::as_ptr(&call.response_headers).addr());
        self.key.extend_from_slice(&status.to_le_bytes());
        self.message(parts, &call.response_headers, None, write);
    }

    fn push(&mut self, address: usize) {
        self.key.extend_from_slice(&address.to_le_bytes());
    }

    fn message(
        &mut self,
        parts: &mut Parts<'_>,
        fields: &FieldList,
        recorded: Option<&Recorded>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if let Some(known) = self.messages.get(self.key.as_slice()) {
            return parts.kept(known.kept);
        }
        let kept = parts.common(write);
        if let Some(kept) = kept.filter(|_| self.key.len() <= KEY_BYTES_MAX) {
            if self.messages.len() >= MESSAGES_MAX {
                self.messages.clear();
            }
            let message = Message {
                kept,
                _fields: Arc::clone(fields),
                _place: recorded.map(|recorded| (Arc::clone(&recorded.path), Arc::clone(&recorded.host))),
            };
            self.messages.insert(self.key.as_slice().into(), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use catalog::LeafId;

    use super::*;
    use crate::replay::parts::Texts;

    fn fields(value: &str) -> FieldList {
        [Arc::new(("host".to_owned(), value.to_owned()))].into()
    }

    fn recorded(path: &str, host: &str) -> Recorded {
        Recorded {
            leaf: LeafId([0; 16]),
            path: path.into(),
            host: host.into(),
            rare: false,
        }
    }

    /// What comes out of a part, and the bytes it took.
    fn part(texts: &mut Texts, add: impl FnOnce(&mut Parts<'_>)) -> (String, usize) {
        let mut line = Vec::new();
        add(&mut Parts::new(&mut line, texts));
        let mut out = Vec::new();
        texts.write(&line, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), line.len())
    }

    #[test]
    fn whatever_makes_a_request_another() {
        let (mut known, mut texts) = (Known::default(), Texts::default());
        let call = RedactedCall {
            method: "GET".into(),
            query_names: vec!["a".to_owned(), "b".to_owned()],
            request_headers: fields("a.test"),
            ..RedactedCall::default()
        };
        let here = recorded("/a", "a.test");
        let requests = [
            (call.clone(), Some(&here)),
            (call.clone(), None),
            (call.clone(), Some(&recorded("/b", "a.test"))),
            (call.clone(), Some(&recorded("/a", "b.test"))),
            (
                RedactedCall {
                    method: "PUT".into(),
                    ..call.clone()
                },
                Some(&here),
            ),
            (
                RedactedCall {
                    query_names: vec!["ab".to_owned()],
                    ..call.clone()
                },
                Some(&here),
            ),
            (
                RedactedCall {
                    request_headers: fields("b.test"),
                    ..call
                },
                Some(&here),
            ),
        ];
        for round in 0..3 {
            for (number, (call, recorded)) in requests.iter().enumerate() {
                let text = format!("request {number}");
                let add = |parts: &mut Parts<'_>| {
                    known.request(parts, call, *recorded, |out| {
                        out.extend_from_slice(text.as_bytes())
                    });
                };
                let (found, bytes) = part(&mut texts, add);
                assert_eq!(found, text);
                assert_eq!(bytes < text.len(), round > 0, "{text} in round {round}");
            }
        }
        assert_eq!(known.messages.len(), requests.len());
    }

    #[test]
    fn whatever_makes_a_response_another() {
        let (mut known, mut texts) = (Known::default(), Texts::default());
        let call = |value: &str| RedactedCall {
            response_headers: fields(value),
            ..RedactedCall::default()
        };
        let responses = [(call("a"), 200), (call("b"), 200), (call("a"), 404)];
        for _ in 0..3 {
            for (number, (call, status)) in responses.iter().enumerate() {
                let text = format!("response {number}");
                let add = |parts: &mut Parts<'_>| {
                    known.response(parts, call, *status, |out| out.extend_from_slice(text.as_bytes()));
                };
                assert_eq!(part(&mut texts, add).0, text);
            }
        }
        assert_eq!(known.messages.len(), responses.len());
    }

    #[test]
    fn ends_that_share_a_place() {
        let (mut known, mut texts) = (Known::default(), Texts::default());
        let end = |address: &str, port| End {
            address: Some(address.parse().unwrap()),
            port: Some(port),
        };
        let client = end("10.0.0.1", 1000);
        let server = end("10.0.0.2", 80);
        let pairs = [
            (0, client, server),
            (1, client, server),
            (0, server, client),
            (0, end("10.0.0.3", 1000), server),
            (0, end("10.0.0.1", 1000 + ENDS as u16), server),
        ];
        for _ in 0..3 {
            for (number, (file, client, server)) in pairs.iter().enumerate() {
                let text = format!("ends {number}");
                for _ in 0..2 {
                    let add = |parts: &mut Parts<'_>| {
                        known.ends(parts, *file, (*client, *server), |out| {
                            out.extend_from_slice(text.as_bytes());
                        });
                    };
                    assert_eq!(part(&mut texts, add).0, text);
                }
            }
        }
        assert_eq!(known.ends.iter().flatten().count(), 1);
    }

    #[test]
    fn ends_of_lines_in_turn() {
        let (mut known, mut texts) = (Known::default(), Texts::default());
        let lines = [
            (Version::Http11, Flags::default()),
            (Version::Http11, Flags::GAP),
            (Version::Http10, Flags::default()),
        ];
        for _ in 0..3 {
            for (number, line) in lines.into_iter().enumerate() {
                let text = format!("end {number}");
                for _ in 0..2 {
                    let add = |parts: &mut Parts<'_>| {
                        known.end(parts, line, |out| out.extend_from_slice(text.as_bytes()));
                    };
                    assert_eq!(part(&mut texts, add).0, text);
                }
            }
        }
    }

    #[test]
    fn bounded() {
        let (mut known, mut texts) = (Known::default(), Texts::default());
        let here = recorded("/a", "a.test");
        let mut add = |name: String| {
            let call = RedactedCall {
                query_names: vec![name.clone()],
                ..RedactedCall::default()
            };
            for _ in 0..2 {
                let add = |parts: &mut Parts<'_>| {
                    known.request(parts, &call, Some(&here), |out| {
                        out.extend_from_slice(name.as_bytes())
                    });
                };
                assert_eq!(part(&mut texts, add).0, name);
            }
            known.messages.len()
        };
        // Beside the name: which kind, three addresses, an end of a name.
        let longest = KEY_BYTES_MAX - 1 - 3 * 8 - 1;
        assert_eq!(add("x".repeat(longest + 1)), 0);
        assert_eq!(add("x".repeat(longest)), 1);
        for number in 1..MESSAGES_MAX {
            add(number.to_string());
        }
        assert_eq!(add("0".to_owned()), 1);
    }
}
