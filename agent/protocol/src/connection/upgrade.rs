//! What follows a `101 Switching Protocols`.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::{Connection, Over, Phase};
use crate::http1::Behind;
use crate::http2;
use crate::websocket::Session;
use crate::{Direction, Headers};

/// `HTTP2-Settings` is sent without padding (RFC 7540 3.2.1); some pad nevertheless.
const SETTINGS: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Connection {
    /// Goes on behind an exchange that switched to the protocol `to`.
    pub(super) fn upgrade(&mut self, to: Bytes, behind: Behind) {
        let Behind {
            exchange,
            request,
            response,
        } = behind;
        if to.eq_ignore_ascii_case(b"websocket") {
            let mut session = Session::new(exchange, request.begin, response.begin, &self.limits);
            session.lost(Direction::Request, request.lost_until);
            self.phase = Phase::WebSocket(Box::new(session));
        } else if to.eq_ignore_ascii_case(b"h2c") {
            let upgrade = Some(Box::new(exchange.clone()));
            let settings = settings(&exchange.request.headers);
            let http = http2::Connection::from_upgrade(
                self.limits,
                exchange,
                &settings,
                request.begin,
                response.begin,
            );
            self.phase = Phase::Http2 {
                http: Box::new(http),
                upgrade,
            };
        } else {
            self.ready.push_back(exchange);
            self.over = Some(Over::Upgraded(to));
        }
        let both = [(Direction::Request, request), (Direction::Response, response)];
        for (direction, rest) in both {
            for input in rest.inputs {
                self.take(direction, input);
            }
        }
    }
}

/// Payload of the SETTINGS frame that the request stands for (RFC 7540 3.2.1); empty if there is none.
fn settings(headers: &Headers) -> Vec<u8> {
    headers
        .get(b"http2-settings")
        .and_then(|value| SETTINGS.decode(value).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_request() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"AAMAAABk", b"\0\x03\0\0\0\x64"),
            (b"AAMAAABkAARAAAAA", b"\0\x03\0\0\0\x64\0\x04\x40\0\0\0"),
            (b"AAM", b"\0\x03"),
            (b"AAM=", b"\0\x03"),
            (b"-_8", b"\xfb\xff"),
            (b"", b""),
            (b"+/8", b""),
            (b"a b", b""),
        ];
        for (value, want) in cases {
            let headers = Headers::from([("http2-settings", value)]);
            assert_eq!(settings(&headers), *want, "{}", value.escape_ascii());
        }
        assert_eq!(settings(&Headers::new()), b"");
    }
}
