//! What a caller tells a connection, kept until it is known who reads it.

use bytes::Bytes;

use crate::{Boundary, Direction, Limits, Nanos};

/// One call of a connection's method, for one direction.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Segment {
        offset: u64,
        time: Nanos,
        boundary: Boundary,
        data: Bytes,
    },
    LeftOut {
        until: u64,
    },
    Passed {
        until: u64,
        time: Nanos,
    },
    Finish {
        final_offset: Option<u64>,
        time: Nanos,
    },
}

impl Input {
    /// What it costs to keep it, as `Limits::held_bytes` counts.
    pub(crate) fn cost(&self) -> usize {
        let data = match self {
            Self::Segment { data, .. } => data.len(),
            _ => 0,
        };
        data + Limits::HELD_SEGMENT_COST
    }
}

/// Something that reads both directions of a connection.
pub(crate) trait Read {
    fn segment(&mut self, direction: Direction, offset: u64, time: Nanos, data: &[u8], boundary: Boundary);
    fn left_out(&mut self, direction: Direction, until: u64);
    fn passed(&mut self, direction: Direction, until: u64, time: Nanos);
    fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos);
    fn close(&mut self, time: Nanos);

    /// Takes what was kept.
    fn take(&mut self, direction: Direction, input: &Input) {
        match input {
            Input::Segment {
                offset,
                time,
                boundary,
                data,
            } => self.segment(direction, *offset, *time, data, *boundary),
            Input::LeftOut { until } => self.left_out(direction, *until),
            Input::Passed { until, time } => self.passed(direction, *until, *time),
            Input::Finish { final_offset, time } => self.finish(direction, *final_offset, *time),
        }
    }
}

macro_rules! read {
    ($($reader:ty),*) => {
        $(impl Read for $reader {
            fn segment(
                &mut self,
                direction: Direction,
                offset: u64,
                time: Nanos,
                data: &[u8],
                boundary: Boundary,
            ) {
                Self::segment(self, direction, offset, time, data, boundary);
            }

            fn left_out(&mut self, direction: Direction, until: u64) {
                Self::left_out(self, direction, until);
            }

            fn passed(&mut self, direction: Direction, until: u64, time: Nanos) {
                Self::passed(self, direction, until, time);
            }

            fn finish(&mut self, direction: Direction, final_offset: Option<u64>, time: Nanos) {
                Self::finish(self, direction, final_offset, time);
            }

            fn close(&mut self, time: Nanos) {
                Self::close(self, time);
            }
        })*
    };
}

read!(
    crate::http1::Connection,
    crate::http2::Connection,
    crate::websocket::Session
);
