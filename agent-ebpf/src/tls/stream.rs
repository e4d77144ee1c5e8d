//! The plaintext of a session as a stream that is captured.

use agent_common::{Direction, Kind, TlsSessionRecord};

use super::session::{State, totals};
use crate::{
    connection::{Connection, flags},
    emit::{self, NO_WAKEUP},
    filter::Verdict,
    maps::EVENTS,
    transfer::Stream,
    unix,
};

/// A session.
#[derive(Clone, Copy)]
pub struct Session(pub *mut State);

impl Stream for Session {
    /// The connection below was judged: else there would be no session.
    #[inline(always)]
    fn judge(self, _: &Connection, _: u32) -> u32 {
        Verdict::Wanted as u32
    }

    #[inline(always)]
    fn is_tls_of_kernel(self, _: &Connection) -> bool {
        false
    }

    #[inline(always)]
    fn end(self, connection: &mut Connection, direction: Direction) -> Option<u32> {
        Some(unix::end(connection, direction))
    }

    #[inline(always)]
    fn rest_on(self, _: &mut Connection, _: Direction) {}

    #[inline(always)]
    fn report(self, connection: &mut Connection) {
        if connection.flags & flags::ANNOUNCED != 0
            && emit::close(
                connection,
                &totals(connection),
                agent_common::close_flags::GOES_ON,
            )
        {
            connection.rested = 0;
        }
    }

    #[inline(always)]
    fn open(self, connection: &mut Connection) -> bool {
        let Some(mut record) = EVENTS.reserve_bytes(size_of::<TlsSessionRecord>(), 0) else {
            return false;
        };
        let session = record.as_mut_ptr().cast::<TlsSessionRecord>();
        // SAFETY: the reservation is as large as the record and eight-byte aligned; the state is a live map value.
        unsafe {
            (*session).open.kind = Kind::TlsSession as u8;
            emit::announce(&raw mut (*session).open, connection);
            (*session).open.tuple = (*self.0).tuple;
            (*session).socket = (*self.0).socket;
            (*session).family = (*self.0).family as u8;
            (*session).reserved = [0; 7];
        }
        record.submit(NO_WAKEUP);
        connection.flags |= flags::ANNOUNCED;
        true
    }
}
