//! A connection: segments of its two byte streams in, exchanges out.

use std::collections::VecDeque;

use super::reader::{Place, Reader, State};
use super::resync::Unproven;
use super::stream::HalfState;
use super::streams::Streams;
use crate::{Boundary, Counters, Direction, Exchange, Flags, Limits, Nanos, Start, Want};

/// Pushed requests are numbered from here, as they do not come in the request direction.
const PUSHED: u64 = 1 << 32;

/// One HTTP/2 connection.
///
/// Segments of one direction come in order; the two directions may be delivered in any interleaving: exchanges pair
/// by their stream, and a response that comes before its request waits for it.
///
/// An exchange is out as soon as both directions of its stream have ended. One that was reset comes out when what was
/// on its way has come: with the first segment of the other direction a second later, when `Limits::pending_requests`
/// more were reset, or with the end of the connection. A stream that is silent since its direction lost its place
/// comes out after so many more requests, because its end may be lost.
///
/// `Exchange::index` counts the requests in the order of their first bytes; pushed ones are counted by themselves,
/// from 2^32.
///
/// `GAP` is set on an exchange if bytes are missing inside it, and on all that were open when their direction lost
/// its place. `LATE_JOIN` is set on exchanges of a connection joined late of which anything is unknown (a field that
/// refers to the HPACK table from before), and on the first. An exchange without both is whole.
///
/// Nothing comes out of a connection that is not HTTP/2: see [`Self::is_believed`].
#[derive(Debug)]
pub struct Connection {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) request: Reader,
    pub(super) response: Reader,
    pub(super) streams: Streams,
    pub(super) out: VecDeque<Exchange>,
    pub(super) start: Start,
    /// Index of the first request, and of the next.
    pub(super) first_index: u64,
    pub(super) next_index: u64,
    pub(super) next_pushed: u64,
    pub(super) belief: Belief,
    /// Segments in which no begin of a frame was found, or one that was none.
    pub(super) tries: u32,
    /// Frames in a row that any bytes may look like, and their payloads.
    pub(super) unproven: Unproven,
    /// Highest stream that the server will answer, once it has said so; how often it did.
    pub(super) answered_max: Option<u32>,
    pub(super) goaways: u32,
    /// Index at which streams are looked through for those whose end was lost.
    pub(super) sweep_at: Option<u64>,
    /// Bytes of responses that wait for their requests.
    pub(super) held: usize,
}

/// Whether it is HTTP/2 at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// No header block was read yet.
    Open,
    Believed,
    Refuted,
}

impl Connection {
    /// A connection of which nothing was seen yet. `Fresh`: the request direction begins with the client's preface.
    #[must_use]
    pub fn new(limits: Limits, start: Start) -> Self {
        Self::with_readers(
            limits,
            start,
            Reader::new(start, 0, true, &limits),
            Reader::new(start, 0, false, &limits),
        )
    }

    /// A connection whose request direction is HTTP/2 from stream offset `request` on (there: the client's preface),
    /// and whose response direction from `response` on.
    #[must_use]
    pub fn begin_at(limits: Limits, request: u64, response: u64) -> Self {
        Self::with_readers(
            limits,
            Start::Fresh,
            Reader::new(Start::Fresh, request, true, &limits),
            Reader::new(Start::Fresh, response, false, &limits),
        )
    }

    /// A connection that began as HTTP/1.1 and was upgraded (h2c, RFC 7540 3.2): `upgrade` is the exchange that did
    /// it, whose request is now answered on stream 1; `settings` is what its `HTTP2-Settings` field holds, decoded.
    /// `request` and `response` are the stream offsets from which on the two directions are HTTP/2.
    #[must_use]
    pub fn from_upgrade(
        limits: Limits,
        upgrade: Exchange,
        settings: &[u8],
        request: u64,
        response: u64,
    ) -> Self {
        let mut connection = Self::begin_at(limits, request, response);
        connection.belief = Belief::Believed;
        connection.first_index = upgrade.index;
        connection.next_index = upgrade.index + 1;
        for setting in settings.chunks_exact(6) {
            connection.setting(Direction::Request, setting);
        }
        connection.streams.requested = 1;
        let stream = connection.streams.open(1, [0, 0]);
        stream.index = upgrade.index;
        stream.request_offset = upgrade.request_offset;
        stream.flags = upgrade.flags;
        stream.flags.0 &= !Flags::UNPAIRED.0;
        stream.request = Some(upgrade.request);
        stream.sending.state = HalfState::Ended;
        connection
    }

    fn with_readers(limits: Limits, start: Start, request: Reader, response: Reader) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            request,
            response,
            streams: Streams::default(),
            out: VecDeque::new(),
            start,
            first_index: 0,
            next_index: 0,
            next_pushed: PUSHED,
            belief: Belief::Open,
            tries: 0,
            unproven: Unproven::default(),
            answered_max: None,
            goaways: 0,
            sweep_at: None,
            held: 0,
        }
    }

    /// Takes the bytes of `direction` that begin at stream offset `offset`. Bytes before what was seen are ignored;
    /// bytes between are missing. `boundary` is not needed: any segment may begin with a frame.
    pub fn segment(
        &mut self,
        direction: Direction,
        offset: u64,
        time: Nanos,
        data: &[u8],
        _boundary: Boundary,
    ) {
        if self.reader(direction).is_over() || offset.checked_add(data.len() as u64).is_none() {
            return;
        }
        let next = *self.reader(direction).next.get_or_insert(offset);
        let repeated = usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(data) = data.get(repeated..).filter(|data| !data.is_empty()) else {
            return;
        };
        let offset = offset.max(next);
        if offset > next {
            self.miss(direction, next, offset, time);
        }
        self.read(direction, data, Place { offset, time });
        let reader = self.reader(direction);
        reader.next = Some(offset + data.len() as u64);
        self.end_lingering(direction, time);
    }

    /// The bytes of `direction` before stream offset `until` that were not given yet will not come because they were
    /// left out on purpose. Call it before the segment behind them.
    pub fn left_out(&mut self, direction: Direction, until: u64) {
        let reader = self.reader(direction);
        reader.left_out_until = reader.left_out_until.max(until);
    }

    /// Bytes of `direction` up to stream offset `until` went by at `time` and were left out on purpose. Unless they
    /// lie inside of a DATA frame this loses the place as missing bytes do.
    pub fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
        if self.reader(direction).is_over() {
            return;
        }
        self.left_out(direction, until);
        let next = *self.reader(direction).next.get_or_insert(until);
        if until > next {
            self.miss(direction, next, until, time);
            self.end_lingering(direction, time);
        }
    }

    /// `direction` ended (FIN). `final_offset`: the length of its stream, if known.
    pub fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos) {
        if self.reader(direction).is_over() {
            return;
        }
        if let (Some(next), Some(end)) = (self.reader(direction).next, final_offset)
            && end > next
        {
            self.miss(direction, next, end, time);
        }
        self.end(direction, time);
    }

    /// The connection is gone; what is unfinished comes out marked.
    pub fn close(&mut self, time: Nanos) {
        self.finish(Direction::Request, None, time);
        self.finish(Direction::Response, None, time);
        self.end_all();
    }

    /// The next exchange, in the order of their ends.
    pub fn poll(&mut self) -> Option<Exchange> {
        self.out.pop_front()
    }

    /// What the caller need not deliver of `direction`. The place of every frame is known from the one before, so all
    /// is needed.
    #[must_use]
    pub fn wants(&self, direction: Direction) -> Want {
        let reader = match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        };
        if reader.is_over() {
            Want::Nothing
        } else {
            Want::All
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was counted since the last call.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Whether it is certain that this is HTTP/2: frames were consistent up to a header block with valid
    /// pseudo-header fields.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.belief == Belief::Believed
    }

    /// Whether it is certain that this is not HTTP/2: before it was believed, the preface, a frame or a header block
    /// was none; or nothing that came on a connection joined late was. It wants nothing then.
    #[must_use]
    pub fn not_http2(&self) -> bool {
        self.belief == Belief::Refuted
    }

    /// It is not HTTP/2.
    pub(super) fn refute(&mut self) {
        self.belief = Belief::Refuted;
        self.request.state = State::Over;
        self.response.state = State::Over;
        self.streams.clear();
    }

    /// About what is kept, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let readers =
            [&self.request, &self.response].map(|reader| reader.kept() + reader.decoder.memory_bytes());
        let out = self.out.capacity() * size_of::<Exchange>();
        size_of::<Self>() + readers[0] + readers[1] + self.held + self.streams.memory_bytes() + out
    }

    pub(super) fn reader(&mut self, direction: Direction) -> &mut Reader {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// How often each direction has lost its place.
    pub(super) fn losses(&self) -> [u32; 2] {
        [self.request.losses, self.response.losses]
    }

    /// Streams, and bytes that are kept beside them.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        let bytes = self.request.kept() + self.response.kept() + self.held;
        (self.streams.len(), bytes)
    }
}
