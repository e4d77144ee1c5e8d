//! What messages that wait cost. About: a buffer may have grown to twice of what is in it.

use bytes::Bytes;

use crate::body::{Found, Inspected};
use crate::{Body, Exchange, Request, Response};

/// What an allocation costs beside its bytes.
const ALLOCATION: usize = 16;

impl Exchange {
    /// Bytes of memory behind it.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.request.memory_bytes() + self.response.as_ref().map_or(0, Response::memory_bytes)
    }
}

impl Request {
    fn memory_bytes(&self) -> usize {
        let start = text(Some(&self.method)) + text(Some(&self.target)) + text(self.authority.as_ref());
        start + self.headers.memory_bytes() + self.body.memory_bytes()
    }
}

impl Response {
    fn memory_bytes(&self) -> usize {
        self.headers.memory_bytes() + self.body.memory_bytes()
    }
}

impl Body {
    fn memory_bytes(&self) -> usize {
        self.captured.len() + self.trailers.memory_bytes()
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

/// A text that may be missing.
pub(crate) fn text(text: Option<&Bytes>) -> usize {
    text.map_or(0, |text| text.len() + ALLOCATION)
}
