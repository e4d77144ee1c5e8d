//! What messages that wait cost. About: a buffer may have grown to twice of what is in it.

use bytes::Bytes;

use crate::body::{Found, Inspected};
use crate::{Body, Exchange, Header, Request, Response};

/// What an allocation costs beside its bytes.
const ALLOCATION: usize = 16;

impl Exchange {
    /// Bytes of memory behind it. The header fields share one copy of the head, so this does not look at each.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.request.memory_bytes() + self.response.as_ref().map_or(0, Response::memory_bytes)
    }
}

impl Request {
    fn memory_bytes(&self) -> usize {
        head(self.head_bytes, &self.headers) + self.body.memory_bytes()
    }
}

impl Response {
    fn memory_bytes(&self) -> usize {
        head(self.head_bytes, &self.headers) + self.body.memory_bytes()
    }
}

impl Body {
    fn memory_bytes(&self) -> usize {
        self.captured.len() + headers(&self.trailers)
    }
}

impl Inspected {
    /// Bytes of memory behind it.
    pub(crate) fn memory_bytes(&self) -> usize {
        let found = match self.found.as_deref() {
            None => return 0,
            Some(Found::GraphQl(asked)) => asked.memory_bytes(),
            Some(Found::JsonRpc(calls)) => calls.memory_bytes(),
            Some(Found::JsonRpcAnswer(answers)) => answers.memory_bytes(),
            Some(Found::Xml(message) | Found::XmlAnswer(message)) => message.memory_bytes(),
        };
        size_of::<Found>() + found
    }
}

/// A head of `bytes` on the wire.
pub(crate) fn head(bytes: u64, headers: &[Header]) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) + size_of_val(headers)
}

/// Header fields without a head around them.
pub(crate) fn headers(headers: &[Header]) -> usize {
    let text = |header: &Header| header.name.len() + header.value.len();
    size_of_val(headers) + headers.iter().map(text).sum::<usize>()
}

/// A text that may be missing.
pub(crate) fn text(text: Option<&Bytes>) -> usize {
    text.map_or(0, |text| text.len() + ALLOCATION)
}
