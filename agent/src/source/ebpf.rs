//! Records of the ring buffer, read without trust: a record that is too short or of an unknown kind is none.

use std::mem::offset_of;

use agent_common::{
    ChunkHeader, CloseRecord, Counter, Direction, EXEC_ARGS_BYTES, EXEC_FILE_BYTES, ExecRecord, ExitRecord,
    Kind, OpenRecord, Owner, Role, TlsFamily, TlsSessionRecord, Tuple, UNIX_NAME_ROOM, UnixOpenRecord,
    close_flags, open_flags,
};

use super::{Chunk, Close, Event, Open, Session, Unix};
use crate::attribution::{ExecFacts, ProcessHint};

/// Little-endian fields of a record (eBPF runs in the byte order of the host; all supported ones are little-endian).
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk::<N>().copied()
    }

    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn bytes(self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    fn owner(self, at: usize) -> Option<ProcessHint> {
        Some(ProcessHint {
            pid: self.u32(at + offset_of!(Owner, pid))?,
            start_ns: self.u64(at + offset_of!(Owner, start_ns))?,
            ppid: self.u32(at + offset_of!(Owner, parent_pid))?,
            uid: self.u32(at + offset_of!(Owner, uid))?,
            cgroup_id: self.u64(at + offset_of!(Owner, cgroup))?,
            netns: self.u32(at + offset_of!(Owner, netns))?,
            comm: self.array(at + offset_of!(Owner, comm))?,
        })
    }

    fn tuple(self, at: usize) -> Option<Tuple> {
        Some(Tuple {
            local: self.array(at + offset_of!(Tuple, local))?,
            remote: self.array(at + offset_of!(Tuple, remote))?,
            local_port: self.u16(at + offset_of!(Tuple, local_port))?,
            remote_port: self.u16(at + offset_of!(Tuple, remote_port))?,
        })
    }
}

/// The event in a record. `None` for one that this program does not understand.
#[must_use]
pub fn parse(record: &[u8]) -> Option<Event<'_>> {
    let fields = Fields(record);
    match Kind::from_u8(fields.u8(0)?)? {
        Kind::Chunk => chunk(fields).map(Event::Chunk),
        Kind::Open => open(fields).map(Event::Open),
        Kind::UnixOpen => unix_open(fields).map(Event::Open),
        Kind::TlsSession => tls_session(fields).map(Event::Open),
        Kind::TlsOpen => open(fields).map(Event::TlsOpen),
        Kind::TlsHello => chunk(fields).map(Event::TlsHello),
        Kind::Close if fields.u8(offset_of!(CloseRecord, flags))? & close_flags::GOES_ON != 0 => {
            close(fields).map(Event::Report)
        }
        Kind::Close => close(fields).map(Event::Close),
        Kind::Exec => exec(fields).map(Event::Exec),
        Kind::Exit => Some(Event::Exit {
            pid: fields.u32(offset_of!(ExitRecord, pid))?,
            start_ns: fields.u64(offset_of!(ExitRecord, start_ns))?,
        }),
    }
}

fn chunk(fields: Fields<'_>) -> Option<Chunk<'_>> {
    let captured = fields.u32(offset_of!(ChunkHeader, captured))?;
    Some(Chunk {
        connection: fields.u64(offset_of!(ChunkHeader, connection))?,
        time_ns: fields.u64(offset_of!(ChunkHeader, time_ns))?,
        direction: match fields.u8(offset_of!(ChunkHeader, direction))? {
            0 => Direction::In,
            1 => Direction::Out,
            _ => return None,
        },
        flags: fields.u8(offset_of!(ChunkHeader, flags))?,
        reason: match fields.u8(offset_of!(ChunkHeader, reason))? {
            0 => None,
            above => Counter::from_u8(above - 1),
        },
        pid: fields.u32(offset_of!(ChunkHeader, pid))?,
        offset: fields.u32(offset_of!(ChunkHeader, offset))?,
        length: fields.u32(offset_of!(ChunkHeader, length))?.max(captured),
        stands_for: fields.u32(offset_of!(ChunkHeader, stands_for))?,
        data: fields.bytes(size_of::<ChunkHeader>(), captured as usize)?,
    })
}

fn open(fields: Fields<'_>) -> Option<Open> {
    let flags = fields.u8(offset_of!(OpenRecord, flags))?;
    let fresh = flags & open_flags::FRESH != 0;
    let base = [
        fields.u32(offset_of!(OpenRecord, receive_base))?,
        fields.u32(offset_of!(OpenRecord, send_base))?,
    ];
    Some(Open {
        connection: fields.u64(offset_of!(OpenRecord, connection))?,
        time_ns: fields.u64(offset_of!(OpenRecord, time_ns))?,
        role: match fields.u8(offset_of!(OpenRecord, role))? {
            1 => Role::Client,
            2 => Role::Server,
            _ => Role::Unknown,
        },
        base: fresh.then_some(base),
        tuple: fields.tuple(offset_of!(OpenRecord, tuple))?,
        unix: None,
        session: None,
        owner: fields.owner(offset_of!(OpenRecord, owner))?,
        weight: u32::from(fields.u8(offset_of!(OpenRecord, weight))?.max(1)),
        left_out: flags & open_flags::LEFT_OUT != 0,
    })
}

fn unix_open(fields: Fields<'_>) -> Option<Open> {
    let bytes = fields.u32(offset_of!(UnixOpenRecord, name_bytes))? as usize;
    if bytes > UNIX_NAME_ROOM {
        return None;
    }
    let unix = Unix {
        name: fields.bytes(offset_of!(UnixOpenRecord, name), bytes)?.to_vec(),
        peer_pid: fields.u32(offset_of!(UnixOpenRecord, peer_pid))?,
    };
    Some(Open {
        unix: Some(unix),
        ..open(fields)?
    })
}

fn tls_session(fields: Fields<'_>) -> Option<Open> {
    let session = Session {
        socket: fields.u64(offset_of!(TlsSessionRecord, socket))?,
        family: TlsFamily::from_u8(fields.u8(offset_of!(TlsSessionRecord, family))?)?,
    };
    Some(Open {
        session: Some(session),
        ..open(fields)?
    })
}

fn close(fields: Fields<'_>) -> Option<Close> {
    let unread = fields.u32(offset_of!(CloseRecord, unread))?;
    let received = fields.u64(offset_of!(CloseRecord, bytes_received))?;
    let lost = offset_of!(CloseRecord, lost);
    let rested = offset_of!(CloseRecord, rested_bytes);
    Some(Close {
        connection: fields.u64(offset_of!(CloseRecord, connection))?,
        time_ns: fields.u64(offset_of!(CloseRecord, time_ns))?,
        end: [
            fields.u32(offset_of!(CloseRecord, receive_end))?,
            fields.u32(offset_of!(CloseRecord, send_end))?,
        ],
        unread,
        moved: [
            received.saturating_sub(u64::from(unread)),
            fields.u64(offset_of!(CloseRecord, bytes_acked))?,
        ],
        lost: [fields.u32(lost)?, fields.u32(lost + 4)?],
        rested_bytes: [fields.u64(rested)?, fields.u64(rested + 8)?],
        rested: fields.u32(offset_of!(CloseRecord, rested))?,
        rests: fields.u8(offset_of!(CloseRecord, flags))? & close_flags::RESTED != 0,
    })
}

fn exec(fields: Fields<'_>) -> Option<ExecFacts> {
    let file = usize::from(fields.u16(offset_of!(ExecRecord, file_bytes))?);
    let args = usize::from(fields.u16(offset_of!(ExecRecord, args_bytes))?);
    if file > EXEC_FILE_BYTES || args > EXEC_ARGS_BYTES {
        return None;
    }
    Some(ExecFacts {
        hint: fields.owner(offset_of!(ExecRecord, owner))?,
        filename: fields.bytes(offset_of!(ExecRecord, file), file)?.to_vec(),
        args: fields.bytes(offset_of!(ExecRecord, args), args)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(header: &[(usize, &[u8])], size: usize, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; size];
        for (at, field) in header {
            bytes[*at..at + field.len()].copy_from_slice(field);
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn an_exec_that_says_more_than_its_fields_hold_is_none() {
        for (at, limit) in [
            (offset_of!(ExecRecord, file_bytes), EXEC_FILE_BYTES),
            (offset_of!(ExecRecord, args_bytes), EXEC_ARGS_BYTES),
        ] {
            for (bytes, known) in [(limit, true), (limit + 1, false)] {
                let length = u16::try_from(bytes).unwrap().to_le_bytes();
                let header: [(usize, &[u8]); 2] = [(0, &[Kind::Exec as u8]), (at, &length)];
                let bytes = record(&header, size_of::<ExecRecord>() + 64, &[]);
                assert_eq!(matches!(parse(&bytes), Some(Event::Exec(_))), known);
            }
        }
    }

    #[test]
    fn a_unix_connection_has_a_name_within_its_field() {
        for (bytes, name) in [
            (0, Some("")),
            (4, Some("/sck")),
            (UNIX_NAME_ROOM + 1, None),
            (usize::MAX, None),
        ] {
            let length = (bytes as u32).to_le_bytes();
            let header: [(usize, &[u8]); 4] = [
                (0, &[Kind::UnixOpen as u8, Role::Server as u8, open_flags::FRESH]),
                (offset_of!(UnixOpenRecord, peer_pid), &77_u32.to_le_bytes()),
                (offset_of!(UnixOpenRecord, name_bytes), &length),
                (offset_of!(UnixOpenRecord, name), b"/sck"),
            ];
            let bytes = record(&header, size_of::<UnixOpenRecord>() + 64, &[]);
            let open = match parse(&bytes) {
                Some(Event::Open(open)) => Some(open),
                _ => None,
            };
            let unix = open.as_ref().and_then(|open| open.unix.as_ref());
            assert_eq!(unix.map(|unix| unix.name.as_slice()), name.map(str::as_bytes));
            if let Some(open) = &open {
                assert_eq!((open.role, open.base), (Role::Server, Some([0; 2])));
                assert_eq!(unix.unwrap().peer_pid, 77);
            }
        }
    }

    #[test]
    fn a_tls_session_names_its_socket_and_its_family() {
        for (family, known) in [(1, true), (4, true), (0, false), (5, false)] {
            let header: [(usize, &[u8]); 3] = [
                (0, &[Kind::TlsSession as u8, Role::Client as u8]),
                (offset_of!(TlsSessionRecord, socket), &77_u64.to_le_bytes()),
                (offset_of!(TlsSessionRecord, family), &[family]),
            ];
            let bytes = record(&header, size_of::<TlsSessionRecord>(), &[]);
            let session = match parse(&bytes) {
                Some(Event::Open(open)) => open.session,
                _ => None,
            };
            let expected = Session {
                socket: 77,
                family: TlsFamily::from_u8(family).unwrap_or(TlsFamily::OpenSsl),
            };
            assert_eq!(session, known.then_some(expected), "{family}");
        }
    }

    #[test]
    fn a_chunk() {
        let bytes = record(
            &[
                (0, &[Kind::Chunk as u8, 1, 3]),
                (offset_of!(ChunkHeader, captured), &5_u32.to_le_bytes()),
                (offset_of!(ChunkHeader, connection), &77_u64.to_le_bytes()),
                (offset_of!(ChunkHeader, offset), &9_u32.to_le_bytes()),
                (offset_of!(ChunkHeader, length), &8_u32.to_le_bytes()),
            ],
            size_of::<ChunkHeader>(),
            b"helloPADDING",
        );
        let Some(Event::Chunk(chunk)) = parse(&bytes) else {
            panic!("not a chunk")
        };
        assert_eq!(
            (chunk.connection, chunk.offset, chunk.length, chunk.data),
            (77, 9, 8, &b"hello"[..])
        );
        assert_eq!((chunk.direction, chunk.flags), (Direction::Out, 3));
    }

    #[test]
    fn what_is_cut_or_unknown_is_none() {
        let whole = record(
            &[
                (0, &[Kind::Chunk as u8, 0]),
                (offset_of!(ChunkHeader, captured), &4_u32.to_le_bytes()),
            ],
            size_of::<ChunkHeader>(),
            b"abcd",
        );
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none(), "{length}");
        }
        assert!(parse(&whole).is_some());
        assert!(parse(&[10; 200]).is_none());
        for kind in 0..=10 {
            let _ = parse(&[kind; 1000]);
        }
    }
}
