//! What was negotiated in `Sec-WebSocket-Extensions` (RFC 6455 9.1).

use crate::Headers;

/// Extensions that both sides agreed on, as far as they change how frames are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// permessage-deflate (RFC 7692): RSV1 of a message's first frame says that it is compressed.
    pub deflate: bool,
    /// Others, or nobody knows which: reserved bits and opcodes may mean anything.
    pub unknown: bool,
}

impl Extensions {
    /// Nobody knows what was negotiated.
    pub const UNKNOWN: Self = Self {
        deflate: true,
        unknown: true,
    };

    /// Those that the header fields of the server's answer accept.
    #[must_use]
    pub fn accepted(answer: &Headers) -> Self {
        let mut accepted = Self::default();
        let fields = answer.all(b"sec-websocket-extensions");
        for extension in fields.flat_map(|value| value.split(|&byte| byte == b',')) {
            let name = extension
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            if name.eq_ignore_ascii_case(b"permessage-deflate") {
                accepted.deflate = true;
            } else if !name.is_empty() {
                accepted.unknown = true;
            }
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases: &[(&[&str], bool, bool)] = &[
            (&[], false, false),
            (&[""], false, false),
            (&["permessage-deflate"], true, false),
            (
                &["Permessage-Deflate; server_no_context_takeover; client_max_window_bits=10"],
                true,
                false,
            ),
            (&["x-webkit-deflate-frame"], false, true),
            (&["permessage-deflate , mux; max-channels=4"], true, true),
            (&["mux", "permessage-deflate"], true, true),
        ];
        for (values, deflate, unknown) in cases {
            let mut headers = Headers::from([("Sec-WebSocket-Protocol", "mux")]);
            headers.extend(values.iter().map(|value| ("sec-WebSocket-extensions", value)));
            let want = Extensions {
                deflate: *deflate,
                unknown: *unknown,
            };
            assert_eq!(Extensions::accepted(&headers), want, "{values:?}");
        }
    }
}
