//! What follows a `101 Switching Protocols`: it belongs to another protocol, and none of it may be lost on the way there.

use std::collections::VecDeque;

use super::connection::Connection;
use super::reader::{Held, Reader};
use crate::input::Input;
use crate::{Direction, Exchange};

/// The exchange that switched, and everything behind it that came already.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) exchange: Exchange,
    pub(crate) request: Rest,
    pub(crate) response: Rest,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Stream offset behind the message.
    pub(crate) begin: u64,
    /// Stream offset before which nothing more will come: above `begin` if too much had to be held.
    pub(crate) lost_until: u64,
    /// What came, in order.
    pub(crate) inputs: VecDeque<Input>,
}

impl Behind {
    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let inputs = self.request.inputs.iter().chain(&self.response.inputs);
        size_of::<Self>() + self.exchange.memory_bytes() + inputs.map(Input::cost).sum::<usize>()
    }
}

impl Rest {
    fn of(reader: &mut Reader, begin: u64) -> Self {
        let left_out = Input::LeftOut {
            until: reader.left_out_until,
        };
        let lost_until = reader.next.unwrap_or_default().max(begin);
        let held = std::iter::from_fn(|| reader.release()).map(Input::from);
        Self {
            begin,
            lost_until,
            inputs: std::iter::once(left_out).chain(held).collect(),
        }
    }
}

impl Connection {
    /// Keeps what is behind `exchange`, whose answer ends at stream offset `response_end`.
    pub(super) fn keep_behind(&mut self, exchange: Exchange, response_end: u64) {
        let request = &exchange.request;
        let request_end = exchange
            .request_offset
            .saturating_add(request.head_bytes)
            .saturating_add(request.body.wire_bytes);
        self.behind = Some(Box::new(Behind {
            request: Rest::of(&mut self.request, request_end),
            response: Rest::of(&mut self.response, response_end),
            exchange,
        }));
    }

    /// The segment that held the end of the answer goes on.
    pub(super) fn more_behind(&mut self, direction: Direction, item: Held) {
        if let Some(behind) = &mut self.behind {
            let rest = match direction {
                Direction::Request => &mut behind.request,
                Direction::Response => &mut behind.response,
            };
            rest.inputs.push_front(item.into());
        }
    }

    /// What is behind the exchange that ended HTTP/1 by switching to another protocol. Where the pair is not certain there is nothing.
    pub(crate) fn take_behind(&mut self) -> Option<Box<Behind>> {
        self.behind.take()
    }
}

impl From<Held> for Input {
    fn from(held: Held) -> Self {
        match held {
            Held::Segment {
                offset,
                time,
                boundary,
                data,
            } => Self::Segment {
                offset,
                time,
                boundary,
                data,
            },
            Held::Passed { until, time } => Self::Passed { until, time },
            Held::Finish { final_offset, time } => Self::Finish { final_offset, time },
        }
    }
}
