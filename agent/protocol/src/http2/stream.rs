//! A stream: a request and its response.

use super::content::Content;
use super::fields::RequestHead;
use crate::{Direction, Flags, Headers, Nanos, Request, Response};

/// RST_STREAM's NO_ERROR (RFC 9113 7).
pub(super) const NO_ERROR: u32 = 0;

/// What is known of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Position among the requests of the connection.
    pub(super) index: u64,
    /// Stream offset of the request's first byte.
    pub(super) request_offset: u64,
    /// `None`: it was not seen yet, and the response waits for it.
    pub(super) request: Option<Request>,
    /// The final response, as far as its head was seen.
    pub(super) response: Option<Response>,
    pub(super) kind: Kind,
    pub(super) sending: Half,
    pub(super) answering: Half,
    /// Interim responses so far, and the time of the first.
    pub(super) interim: u32,
    pub(super) interim_first_byte: Option<Nanos>,
    pub(super) flags: Flags,
    /// Bytes of its header lists.
    pub(super) heads_bytes: usize,
    /// Whether it waits for what may still be on its way after a reset.
    pub(super) lingers: bool,
}

/// What a stream is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request and a response.
    Plain,
    /// CONNECT (RFC 9113 8.5): DATA is another protocol's.
    Tunnel,
    /// Extended CONNECT to `websocket` (RFC 8441): DATA is its frames once the response accepts.
    WebSocket,
}

impl Kind {
    pub(super) fn of(head: &RequestHead) -> Self {
        match (&head.method[..], head.protocol.as_deref()) {
            (b"CONNECT", None) => Self::Tunnel,
            (_, Some(protocol)) if protocol.eq_ignore_ascii_case(b"websocket") => Self::WebSocket,
            // What another protocol sends looks like a body to HTTP.
            _ => Self::Plain,
        }
    }
}

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) state: HalfState,
    /// Error code of a RST_STREAM in this direction.
    pub(super) reset: Option<u32>,
    pub(super) content: Content,
    /// Memory of the content as last counted.
    pub(super) memory_bytes: usize,
    /// Whether it is read no further, for want of memory.
    pub(super) given_up: bool,
    /// Bytes of DATA frames.
    pub(super) wire: u64,
    pub(super) trailers: Headers,
    /// How often the direction had lost its place when a frame of this stream was last seen in it.
    pub(super) losses: u32,
    /// When a WebSocket's Close frame came.
    pub(super) closed: Option<Nanos>,
}

/// How far a direction of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HalfState {
    Open,
    /// END_STREAM.
    Ended,
    /// It will not be completed: reset, or refused by GOAWAY.
    Cut,
}

impl Half {
    pub(super) const fn new(losses: u32) -> Self {
        Self {
            state: HalfState::Open,
            reset: None,
            content: Content::None,
            memory_bytes: 0,
            given_up: false,
            wire: 0,
            trailers: Headers::new(),
            losses,
            closed: None,
        }
    }

    /// Whether it is complete, and a reset may follow it: the server asks the client to stop (RFC 9113 8.1).
    pub(super) fn awaits_reset(&self) -> bool {
        self.state == HalfState::Ended && self.reset.is_none()
    }

    pub(super) fn note_close(&mut self, time: Nanos) {
        if self.closed.is_none() && self.content.close_code().is_some() {
            self.closed = Some(time);
        }
    }
}

impl Stream {
    pub(super) const fn new(id: u32, losses: [u32; 2]) -> Self {
        let [request_losses, response_losses] = losses;
        Self {
            id,
            index: 0,
            request_offset: 0,
            request: None,
            response: None,
            kind: Kind::Plain,
            sending: Half::new(request_losses),
            answering: Half::new(response_losses),
            interim: 0,
            interim_first_byte: None,
            flags: Flags(0),
            heads_bytes: 0,
            lingers: false,
        }
    }

    pub(super) fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Request => &mut self.sending,
            Direction::Response => &mut self.answering,
        }
    }

    /// Something of `direction` was seen, at a time when that direction had lost its place `losses` times. Whether it
    /// had not so often before: something may be missing.
    pub(super) fn seen(&mut self, direction: Direction, losses: u32, time: Nanos) -> bool {
        let half = self.half(direction);
        let missed = half.losses != losses;
        if missed {
            half.losses = losses;
            self.flags.insert(Flags::GAP);
        }
        match direction {
            Direction::Request => {
                if let Some(request) = &mut self.request {
                    request.last_byte = time;
                }
            }
            Direction::Response => {
                if let Some(response) = &mut self.response {
                    response.last_byte = time;
                }
            }
        }
        missed
    }

    /// Whether the ends of both directions were seen or may have been among missing bytes, of one at least. `losses`:
    /// how often each direction lost its place.
    pub(super) fn is_doubtful(&self, losses: [u32; 2]) -> bool {
        let [request, response] = losses;
        let silent = |half: &Half, losses| half.state == HalfState::Open && half.losses != losses;
        let over = |half: &Half, losses| half.state != HalfState::Open || half.losses != losses;
        self.request.is_some()
            && (silent(&self.sending, request) || silent(&self.answering, response))
            && over(&self.sending, request)
            && over(&self.answering, response)
    }

    /// Whether it was reset, from either side, or refused.
    pub(super) fn is_cut(&self) -> bool {
        let cut = |half: &Half| half.state == HalfState::Cut || half.reset.is_some();
        cut(&self.sending) || cut(&self.answering)
    }
}
