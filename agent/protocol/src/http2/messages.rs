//! What header blocks and DATA mean for their streams (RFC 9113 8.1).

use super::connection::{Belief, Connection};
use super::content::Content;
use super::fields::{Answer, Fields, RequestHead, list_limits};
use super::frame::{FrameHeader, Kind as FrameKind};
use super::reader::{Block, Place};
use super::stream::{HalfState, Kind};
use crate::body::BodyReader;
use crate::websocket::{self, Extensions};
use crate::{Body, Direction, Flags, Nanos, Request, Response, Start, Version};

impl Connection {
    /// A whole header block.
    pub(super) fn header_block(&mut self, direction: Direction, block: Block, fragment: &[u8], place: Place) {
        let mut fields = Fields::default();
        let list = list_limits(&self.limits);
        let decoded = self
            .reader(direction)
            .decoder
            .decode(fragment, list, &mut |field| fields.add(field));
        let Ok(summary) = decoded else {
            self.counters.header_blocks_malformed += 1;
            if self.reader(direction).tentative {
                self.retract(direction);
            } else if self.belief == Belief::Open {
                self.refute();
            } else {
                self.header_block_lost(direction, block, place);
            }
            return;
        };
        if summary.left_out > 0 {
            self.counters.headers_too_many += u64::from(summary.fields >= list.fields);
            self.counters.header_lists_too_large += u64::from(summary.fields < list.fields);
        }
        fields.list_bytes = summary.list_bytes;
        self.counters.hpack_entries_given_up += summary.entries_given_up;
        self.counters.headers_unknown += u64::from(fields.unknown);
        self.counters.lenient_heads += u64::from(fields.is_odd());
        match (direction, block.opener.kind) {
            (_, FrameKind::PushPromise) => self.promise(&block, fields, place),
            (Direction::Request, _) => self.request_block(&block, fields, place),
            (Direction::Response, _) => self.response_block(&block, fields, place),
        }
        self.bound_heads();
        if self.belief == Belief::Open {
            // Few header blocks have no pseudo-header fields: trailers.
            self.tries += 1;
            self.tire();
        }
    }

    /// A header list with valid pseudo-header fields: these are frames.
    fn believe(&mut self, direction: Direction) {
        self.belief = Belief::Believed;
        self.reader(direction).tentative = false;
    }

    fn request_block(&mut self, block: &Block, fields: Fields, place: Place) {
        let id = block.opener.stream;
        if id > self.streams.requested {
            self.request_head(block, fields, place);
            return;
        }
        let losses = self.request.losses;
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        if stream.sending.state != HalfState::Open {
            return;
        }
        stream.seen(Direction::Request, losses, place.time);
        let unknown = if fields.unknown > 0 {
            self.request.unknown
        } else {
            Flags(0)
        };
        stream.flags.insert(unknown);
        if !fields.is_trailers() || !block.opener.ends_stream() {
            self.counters.malformed_requests += 1;
        } else {
            if let Some(request) = &mut stream.request {
                request.headers_unknown += fields.unknown;
            }
            stream.sending.trailers = fields.headers;
            self.streams.keep_head(id, fields.list_bytes);
            self.request.tentative = false;
        }
        self.end_stream(Direction::Request, block.opener, place.time);
    }

    fn request_head(&mut self, block: &Block, fields: Fields, place: Place) {
        let id = block.opener.stream;
        self.streams.requested = id;
        self.drop_waiting_below(id);
        let (trailers, list_bytes) = (fields.is_trailers(), fields.list_bytes);
        let Ok(head) = fields.request() else {
            // Trailers of a request from before.
            let before = trailers && self.request.found;
            self.counters.requests_without_head += u64::from(before);
            self.counters.malformed_requests += u64::from(!before);
            self.drop_waiting_below(id + 1);
            return;
        };
        self.believe(Direction::Request);
        self.counters.requests += 1;
        let index = self.next_index;
        self.next_index += 1;
        self.sweep_if_due();
        if !self.streams.has(id) && !self.make_room() {
            self.evict_oldest();
        }
        let losses = self.losses();
        let refused = self.answered_max.is_some_and(|max| id > max);
        let unknown = self.request.unknown;
        let limits = self.limits;
        let stream = self.streams.open(id, losses);
        stream.index = index;
        stream.request_offset = block.begin.offset;
        if self.start == Start::Late && index == self.first_index {
            stream.flags.insert(Flags::LATE_JOIN);
        }
        if head.unknown > 0 {
            stream.flags.insert(unknown);
        }
        stream.kind = Kind::of(&head);
        self.counters.tunnels += u64::from(stream.kind == Kind::Tunnel);
        self.counters.upgraded_websocket += u64::from(stream.kind == Kind::WebSocket);
        if refused && stream.answering.state == HalfState::Open {
            stream.answering.state = HalfState::Cut;
        }
        if !block.opener.ends_stream() {
            stream.sending.content = match stream.kind {
                Kind::Plain => Content::Body(BodyReader::request(&head.method, &head.headers, &limits)),
                Kind::Tunnel => Content::Counted(0),
                Kind::WebSocket => Content::Held(Vec::new()),
            };
        }
        stream.request = Some(request(head, block, place));
        self.streams.keep_head(id, list_bytes);
        self.streams.waits_no_more(id);
        self.release_held(id);
        self.end_stream(Direction::Request, block.opener, place.time);
        self.settle(id, place.time);
    }

    /// RFC 9113 8.4: the server asks itself.
    fn promise(&mut self, block: &Block, fields: Fields, place: Place) {
        let id = block.promised;
        if id == 0 || id % 2 == 1 || id <= self.streams.promised {
            self.counters.malformed_frames += 1;
            return;
        }
        let list_bytes = fields.list_bytes;
        let Ok(head) = fields.request() else {
            self.counters.malformed_requests += 1;
            return;
        };
        self.believe(Direction::Response);
        self.streams.promised = id;
        self.streams.highest = self.streams.highest.max(id);
        self.counters.pushes += 1;
        let index = self.next_pushed;
        self.next_pushed += 1;
        if !self.make_room() {
            self.counters.streams_beyond_limit += 1;
            return;
        }
        let losses = self.losses();
        let unknown = self.response.unknown;
        let stream = self.streams.open(id, losses);
        stream.index = index;
        stream.request_offset = block.begin.offset;
        if head.unknown > 0 {
            stream.flags.insert(unknown);
        }
        stream.sending.state = HalfState::Ended;
        stream.request = Some(request(head, block, place));
        self.streams.keep_head(id, list_bytes);
    }

    /// Whether the stream of a frame of the response direction is followed. Its request may be still to come.
    pub(super) fn follows_answer(&mut self, id: u32) -> bool {
        if self.streams.has(id) {
            return true;
        }
        if id.is_multiple_of(2) || id <= self.streams.requested || self.request.is_over() {
            return false;
        }
        let room = self.make_room();
        if room {
            let losses = self.losses();
            self.streams.open_waiting(id, losses);
        } else {
            self.counters.streams_beyond_limit += 1;
        }
        room
    }

    fn response_block(&mut self, block: &Block, fields: Fields, place: Place) {
        let id = block.opener.stream;
        let answer = fields.answer();
        if let Answer::Head(_) = answer {
            self.believe(Direction::Response);
        }
        let losses = self.response.losses;
        let unknown = if fields.unknown > 0 {
            self.response.unknown
        } else {
            Flags(0)
        };
        if !self.follows_answer(id) {
            self.counters.responses_without_request += u64::from(matches!(answer, Answer::Head(200..)));
            return;
        }
        let Some(stream) = self
            .streams
            .get(id)
            .filter(|stream| stream.answering.state == HalfState::Open)
        else {
            return;
        };
        let missed = stream.answering.losses != losses;
        stream.seen(Direction::Response, losses, place.time);
        stream.flags.insert(unknown);
        let ends = block.opener.ends_stream();
        let status_known = stream.response.as_ref().map(|response| response.status != 0);
        match (answer, status_known) {
            (Answer::Head(100..=199), None | Some(false)) if !ends => {
                stream.interim += 1;
                stream.interim_first_byte.get_or_insert(block.begin.time);
                self.counters.interim_responses += 1;
            }
            (Answer::Head(status @ 200..), None | Some(false)) => {
                if let Some(unclear) = stream.response.take() {
                    // It was not the last, and counted as such.
                    stream.interim += 1;
                    stream.interim_first_byte.get_or_insert(unclear.first_byte);
                    self.counters.interim_responses += 1;
                } else {
                    self.counters.responses += 1;
                }
                self.response_head(block, status, fields, place);
            }
            (Answer::NoStatus, None) if fields.unknown > 0 && !missed => {
                self.counters.responses += 1;
                self.response_head(block, 0, fields, place);
            }
            (Answer::NoStatus, Some(_)) if ends => {
                if let Some(response) = &mut stream.response {
                    response.headers_unknown += fields.unknown;
                }
                stream.answering.trailers = fields.headers;
                self.streams.keep_head(id, fields.list_bytes);
                self.response.tentative = false;
            }
            // Trailers of a response whose head is missing.
            (Answer::NoStatus, None) if missed => self.counters.responses_without_head += 1,
            _ => self.counters.malformed_responses += 1,
        }
        self.end_stream(Direction::Response, block.opener, place.time);
    }

    fn response_head(&mut self, block: &Block, status: u16, fields: Fields, place: Place) {
        let id = block.opener.stream;
        self.streams.keep_head(id, fields.list_bytes);
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        stream.response = Some(Response {
            status,
            version: Version::Http2,
            headers: fields.headers,
            headers_unknown: fields.unknown,
            head_bytes: block.wire,
            body: Body::default(),
            interim: 0,
            first_byte: block.begin.time,
            last_byte: place.time,
        });
        // Of a head whose status was unclear.
        self.held -= stream.answering.content.held();
        stream.answering.content = if block.opener.ends_stream() {
            Content::None
        } else {
            Content::Held(Vec::new())
        };
        self.release_held(id);
    }

    /// Both heads are known: content that waited for one can be read.
    fn release_held(&mut self, id: u32) {
        let limits = self.limits;
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (Some(request), Some(response)) = (&stream.request, &stream.response) else {
            return;
        };
        let accepted = matches!(response.status, 200..=299);
        let (sending, answering) = (&mut stream.sending.content, &mut stream.answering.content);
        if let Content::Held(held) = sending {
            let held = std::mem::take(held);
            self.held -= held.len();
            *sending = if accepted {
                let extensions = Extensions::accepted(&response.headers);
                let reader = websocket::Reader::new(Direction::Request, extensions, limits.body_bytes);
                Content::WebSocket(Box::new(reader))
            } else {
                Content::Counted(0)
            };
            sending.data(&held, &mut self.counters);
            stream.sending.note_close(request.last_byte);
        }
        if let Content::Held(held) = answering {
            let held = std::mem::take(held);
            self.held -= held.len();
            *answering = match stream.kind {
                Kind::Tunnel if accepted => Content::Counted(0),
                Kind::WebSocket if accepted => {
                    let extensions = Extensions::accepted(&response.headers);
                    let reader = websocket::Reader::new(Direction::Response, extensions, limits.body_bytes);
                    Content::WebSocket(Box::new(reader))
                }
                _ => Content::Body(BodyReader::response(request, None, &response.headers, &limits)),
            };
            answering.data(&held, &mut self.counters);
            stream.answering.note_close(response.last_byte);
            self.bound_body(id, Direction::Response);
        }
    }

    /// Keeps the memory for bodies within its limit, after one was read on: the largest gives its decoder back, so
    /// that nobody blinds others with a large one; if that is not enough, the one that grew grows no more.
    fn bound_body(&mut self, id: u32, direction: Direction) {
        let grew = self.streams.keep_body(id, direction);
        if grew && self.streams.bodies_bytes > self.limits.open_bodies_bytes {
            if let Some((id, direction)) = self.streams.largest_body() {
                self.give_up_body(id, direction);
            }
            if self.streams.bodies_bytes > self.limits.open_bodies_bytes {
                self.give_up_body(id, direction);
            }
        }
    }

    fn give_up_body(&mut self, id: u32, direction: Direction) {
        if let Some(stream) = self.streams.get(id) {
            let half = stream.half(direction);
            half.content.give_up(&mut self.counters);
            let again = std::mem::replace(&mut half.given_up, true);
            self.counters.bodies_beyond_limit += u64::from(!again);
            self.streams.keep_body(id, direction);
        }
    }

    /// Bytes of a DATA frame: `wire` with its header and padding, `content` of the body. `done`: its last.
    pub(super) fn data(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        wire: u64,
        content: &[u8],
        done: bool,
        place: Place,
    ) {
        let losses = self.reader(direction).losses;
        let Some(stream) = self.streams.get(header.stream) else {
            return;
        };
        if stream.half(direction).state != HalfState::Open {
            return;
        }
        let missed = stream.seen(direction, losses, place.time);
        let half = stream.half(direction);
        if missed {
            // Bytes before these may be missing.
            self.held -= half.content.held();
            half.content.missing(None, &mut self.counters);
        }
        half.wire += wire;
        if matches!(half.content, Content::Held(_)) {
            if self.held + content.len() > self.limits.held_bytes {
                self.counters.held_overflow += 1;
                self.held -= half.content.held();
                half.content = Content::Counted(half.content.held() as u64);
                stream.flags.insert(Flags::TRUNCATED);
            } else {
                self.held += content.len();
            }
        }
        let half = stream.half(direction);
        half.content.data(content, &mut self.counters);
        half.note_close(place.time);
        self.bound_body(header.stream, direction);
        if done {
            self.end_stream(direction, header, place.time);
        }
    }

    /// Bytes of a DATA frame are missing, in the same terms as of [`Self::data`].
    pub(super) fn data_missing(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        wire: u64,
        content: u64,
        flags: Flags,
    ) {
        if let Some(stream) = self.streams.get(header.stream)
            && stream.half(direction).state == HalfState::Open
        {
            stream.flags.insert(flags);
            let half = stream.half(direction);
            half.wire += wire;
            self.held -= half.content.held();
            half.content.missing(Some(content), &mut self.counters);
        }
    }

    /// A frame of a stream was read to its end.
    pub(super) fn end_stream(&mut self, direction: Direction, header: FrameHeader, time: Nanos) {
        if !header.ends_stream() {
            return;
        }
        if let Some(stream) = self.streams.get(header.stream) {
            let half = stream.half(direction);
            if half.state == HalfState::Open {
                half.state = HalfState::Ended;
            }
            self.settle(header.stream, time);
        }
    }

    /// A header block cannot be read.
    pub(super) fn message_lost(&mut self, direction: Direction, block: &Block, place: Place) {
        let id = block.opener.stream;
        let losses = self.reader(direction).losses;
        match (direction, block.opener.kind) {
            (_, FrameKind::PushPromise) => {
                self.counters.requests_without_head += 1;
                return;
            }
            (Direction::Request, _) if id > self.streams.requested => {
                self.streams.requested = id;
                self.counters.requests_without_head += 1;
                self.drop_waiting_below(id + 1);
                return;
            }
            (Direction::Request, _) => {}
            (Direction::Response, _) if !self.follows_answer(id) => return,
            (Direction::Response, _) => {}
        }
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        if stream.half(direction).state != HalfState::Open {
            return;
        }
        stream.seen(direction, losses, place.time);
        stream.flags.insert(Flags::GAP);
        let headless = direction == Direction::Response && stream.response.is_none();
        self.counters.responses_without_head += u64::from(headless);
        self.end_stream(direction, block.opener, place.time);
    }
}

fn request(head: RequestHead, block: &Block, place: Place) -> Request {
    Request {
        method: head.method,
        target: head.target,
        authority: head.authority,
        version: Version::Http2,
        headers: head.headers,
        headers_unknown: head.unknown,
        head_bytes: block.wire,
        body: Body::default(),
        first_byte: block.begin.time,
        last_byte: place.time,
    }
}
