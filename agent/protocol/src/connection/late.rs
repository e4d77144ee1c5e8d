//! Finding HTTP/2 in a connection whose first bytes were not seen, while it is read as HTTP/1 and nothing of that was found.

use std::collections::VecDeque;

use super::frames::{FRAMES_MIN, HEADER_BYTES, Header};
use crate::input::Input;
use crate::{Direction, Limits};

/// Keeps the latest of what came, so that nothing is lost that HTTP/2 can use, and follows the frames of both directions.
#[derive(Debug, Default)]
pub(super) struct Search {
    kept: VecDeque<(Direction, Input)>,
    cost: usize,
    request: Chain,
    response: Chain,
}

impl Search {
    /// Takes what came. True: it is HTTP/2 by all appearances.
    pub(super) fn look(&mut self, direction: Direction, input: Input, limits: &Limits) -> bool {
        let chain = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let found = match &input {
            Input::Segment { offset, data, .. } => chain.segment(*offset, data),
            Input::LeftOut { .. } | Input::Passed { .. } | Input::Finish { .. } => false,
        };
        self.cost += input.cost();
        self.kept.push_back((direction, input));
        while self.cost > limits.held_bytes
            && let Some((_, input)) = self.kept.pop_front()
        {
            self.cost -= input.cost();
        }
        found
    }

    /// The latest of what came, in order.
    #[cfg(test)]
    pub(super) fn into_kept(self) -> VecDeque<(Direction, Input)> {
        self.kept
    }
}

/// Frame headers of one direction that follow each other.
#[derive(Debug, Default)]
struct Chain {
    /// Stream offset behind what was seen.
    seen: u64,
    /// Stream offset at which the next header begins; `None`: at the next segment, perhaps.
    header_at: Option<u64>,
    /// Its first bytes.
    partial: Vec<u8>,
    frames: u32,
}

impl Chain {
    /// Follows the frames through a segment, or begins a new row with it. True: there are enough of them.
    fn segment(&mut self, offset: u64, data: &[u8]) -> bool {
        let end = offset.saturating_add(data.len() as u64);
        if end <= self.seen {
            return false;
        }
        let continues = self.header_at.is_some_and(|header| {
            let missing = offset > self.seen && header + (self.partial.len() as u64) < offset;
            !missing && self.follow(header, offset, data)
        });
        if !continues {
            self.partial.clear();
            self.frames = 0;
            self.header_at = None;
            if !self.follow(offset, offset, data) {
                self.header_at = None;
            }
        }
        self.seen = end;
        self.frames >= FRAMES_MIN
    }

    /// Reads headers from stream offset `header` on. False: one does not fit.
    fn follow(&mut self, mut header: u64, offset: u64, data: &[u8]) -> bool {
        loop {
            let begin = (header + self.partial.len() as u64).saturating_sub(offset);
            let bytes = usize::try_from(begin)
                .ok()
                .and_then(|begin| data.get(begin..))
                .unwrap_or_default();
            let room = HEADER_BYTES - self.partial.len();
            self.partial.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            self.header_at = Some(header);
            let Some(&parsed) = self.partial.first_chunk::<HEADER_BYTES>() else {
                return true;
            };
            let parsed = Header::parse(parsed);
            if !parsed.fits() {
                return false;
            }
            self.partial.clear();
            self.frames += 1;
            header = header.saturating_add((HEADER_BYTES + parsed.len) as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Boundary;

    /// WINDOW_UPDATE, HEADERS of 3 bytes, PING.
    const FRAMES: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\0\0\xff\xff\0\0\x03\x01\x05\0\0\0\x07\x82\x86\xbe\
        \0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn found(pieces: &[(u64, &[u8])]) -> bool {
        let mut chain = Chain::default();
        pieces.iter().any(|(offset, data)| chain.segment(*offset, data))
    }

    #[test]
    fn frames_in_any_pieces() {
        assert!(found(&[(1000, FRAMES)]));
        for size in 1..FRAMES.len() {
            let mut chain = Chain::default();
            let mut offset = 1000;
            let found = FRAMES.chunks(size).any(|piece| {
                offset += piece.len() as u64;
                chain.segment(offset - piece.len() as u64, piece)
            });
            assert!(found, "pieces of {size}");
        }
    }

    #[test]
    fn behind_the_end_of_a_frame() {
        assert!(found(&[(5, b"rest of a payload"), (22, FRAMES)]));
        assert!(!found(&[(5, &[b"rest of a payload", FRAMES].concat())]));
    }

    #[test]
    fn payload_may_be_missing_and_headers_may_not() {
        // DATA of 100 bytes, of which 10 come, and then the next header or its second half.
        let data = b"\0\0\x64\0\0\0\0\0\x050123456789";
        assert!(found(&[(0, data), (109, &FRAMES[..9])]));
        assert!(found(&[(0, data), (60, &[0; 49]), (109, &FRAMES[..9])]));
        assert!(!found(&[(0, data), (110, &FRAMES[1..13])]));
    }

    #[test]
    fn repeated_bytes_count_once() {
        let window = &FRAMES[..13];
        assert!(!found(&[(0, window), (0, window), (0, window)]));
        assert!(found(&[(0, window), (0, FRAMES)]));
    }

    #[test]
    fn nothing_else_is_found() {
        let mut random = 7_u64;
        let mut noise = Vec::new();
        while noise.len() < 1 << 16 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((random >> 33) as u8);
        }
        for text in [&noise, &vec![0; 1 << 12], &b"HTTP/1.1 200 OK\r\n".repeat(99)] {
            let mut chain = Chain::default();
            for (at, piece) in text.chunks(40).enumerate() {
                assert!(!chain.segment(at as u64 * 40, piece));
            }
        }
    }

    #[test]
    fn keeps_at_most_the_limit() {
        let piece = |at: u64| Input::Segment {
            offset: at * 10,
            time: at,
            boundary: Boundary::TurnStart,
            data: bytes::Bytes::from_static(b"0123456789"),
        };
        let limits = Limits {
            held_bytes: 3 * (10 + Limits::HELD_SEGMENT_COST),
            ..Limits::default()
        };
        let mut search = Search::default();
        for at in 0..20 {
            assert!(!search.look(Direction::Response, piece(at), &limits));
        }
        assert_eq!(search.into_kept().len(), 3);
    }
}
