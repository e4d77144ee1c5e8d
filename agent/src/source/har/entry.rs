//! The parts of an entry that are used, as the format writes them. Unknown keys are passed over.

use std::fmt;

use protocol::Messages;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::text::{Bounded, Number, Text};
use super::{HEADERS_MAX, PARAMS_MAX};

#[derive(Debug, Deserialize)]
pub(super) struct RawEntry<'a> {
    #[serde(borrow, default, rename = "startedDateTime")]
    pub(super) started: Option<Text<'a>>,
    #[serde(default, rename = "_ts")]
    pub(super) ts: Number,
    #[serde(default)]
    pub(super) time: Number,
    #[serde(borrow, default)]
    pub(super) request: Option<RawRequest<'a>>,
    #[serde(borrow, default)]
    pub(super) response: Option<RawResponse<'a>>,
    #[serde(default)]
    pub(super) timings: Option<RawTimings>,
    #[serde(borrow, default, rename = "serverIPAddress")]
    pub(super) server: Option<Text<'a>>,
    #[serde(borrow, default, rename = "_client")]
    pub(super) client: Option<Text<'a>>,
    #[serde(default, rename = "_webSocketMessages")]
    pub(super) web_socket: Option<RawMessages>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawRequest<'a> {
    #[serde(borrow, default)]
    pub(super) method: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) url: Option<Text<'a>>,
    #[serde(borrow, default, rename = "httpVersion")]
    pub(super) version: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Bounded<RawPair<'a>, HEADERS_MAX>,
    #[serde(borrow, default, rename = "postData")]
    pub(super) body: Option<RawPostData<'a>>,
    #[serde(default, rename = "headersSize")]
    pub(super) head_bytes: Number,
    #[serde(default, rename = "bodySize")]
    pub(super) body_bytes: Number,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawResponse<'a> {
    #[serde(default)]
    pub(super) status: Number,
    #[serde(borrow, default, rename = "httpVersion")]
    pub(super) version: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Bounded<RawPair<'a>, HEADERS_MAX>,
    #[serde(borrow, default)]
    pub(super) content: Option<RawContent<'a>>,
    #[serde(borrow, default, rename = "statusText")]
    pub(super) reason: Option<Text<'a>>,
    #[serde(default, rename = "headersSize")]
    pub(super) head_bytes: Number,
    #[serde(default, rename = "bodySize")]
    pub(super) body_bytes: Number,
}

/// A header field, or a field of a form.
#[derive(Debug, Deserialize)]
pub(super) struct RawPair<'a> {
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) value: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawPostData<'a> {
    #[serde(borrow, default, rename = "mimeType")]
    pub(super) mime_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default, alias = "_encoding")]
    pub(super) encoding: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) params: Bounded<RawPair<'a>, PARAMS_MAX>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawContent<'a> {
    #[serde(default)]
    pub(super) size: Number,
    #[serde(default)]
    pub(super) compression: Number,
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default, alias = "_encoding")]
    pub(super) encoding: Option<Text<'a>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct RawTimings {
    #[serde(default)]
    pub(super) blocked: Number,
    #[serde(default)]
    pub(super) dns: Number,
    /// Includes `ssl`.
    #[serde(default)]
    pub(super) connect: Number,
    #[serde(default)]
    pub(super) send: Number,
    #[serde(default)]
    pub(super) wait: Number,
}

/// Messages of a WebSocket as Chrome archives them, counted while they are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RawMessages {
    pub(super) sent: Messages,
    pub(super) received: Messages,
}

#[derive(Debug, Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(default)]
    opcode: Number,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
}

impl RawMessages {
    fn add(&mut self, message: &RawMessage<'_>) {
        let is_sent = message.kind.as_ref().is_some_and(|kind| &*kind.0 == b"send");
        let side = if is_sent {
            &mut self.sent
        } else {
            &mut self.received
        };
        let data = message.data.as_ref().map_or(&b""[..], |data| &data.0);
        // RFC 6455 section 11.8; Chrome has -1 for a message about an error.
        match message.opcode.0.unwrap_or(1.0) as i64 {
            1 => {
                side.text += 1;
                count(side, data.len() as u64);
            }
            2 => count(side, base64_bytes(data)),
            8..=10 => side.control += 1,
            _ => {}
        }
    }
}

fn count(side: &mut Messages, bytes: u64) {
    side.count += 1;
    side.bytes += bytes;
    side.bytes_max = side.bytes_max.max(bytes);
}

/// Bytes behind Base64 text (RFC 4648 section 4).
fn base64_bytes(text: &[u8]) -> u64 {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    ((text.len() - padding) as u64) * 3 / 4
}

impl<'de> Deserialize<'de> for RawMessages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = RawMessages;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut messages = RawMessages::default();
                while let Some(message) = array.next_element::<RawMessage<'_>>()? {
                    messages.add(&message);
                }
                Ok(messages)
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}
