//! Stream sockets of the UNIX domain.
//!
//! They have no sequence numbers: a stream's place is the number of bytes that went by, kept in the connection's state. They have no
//! addresses of two ends either: an end is known by the number of its inode, as `ss -x` shows it, a connection by that of its client
//! ([`pair`]), and both by the name that the server was bound to.
//!
//! No tracepoint tells of their begin. But a socket that was born since the programs were attached has moved nothing that they did not
//! see, so its first transfer begins the stream; that of an older one may be in the middle of it. The same is true of sockets that found
//! no room for a state, or lost it to others: so where there is no room, every socket there is counts as old from then on (`agent_common::births`).
//! Which end it is shows in who has a name. The state is kept by the socket's address in every kernel, so that of the other end can be
//! found, and that of a socket whose address another one has now: it is over. Functions with C linkage are global, as those of `turn`.

use agent_common::{
    Counter, Direction, Kind, LAST_BATCH, Role, UNIX_ADDRESS, UNIX_CONNECTION, UNIX_NAME_ROOM,
    UnixOpenRecord, batch_of, close_flags, is_born_since,
};
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_ktime_get_ns, bpf_probe_read_kernel},
};

use crate::{
    connection::{Connection, flags},
    count::count,
    emit::{self, NO_WAKEUP, Totals},
    filter::{self, Verdict},
    kernel::{
        HAS_SPARES, OFF_PID_NUMBER, OFF_SK_FLAGS, OFF_SK_PEER_PID, OFF_SK_QUEUE_LENGTH, OFF_SK_SOCKET,
        OFF_SOCKET_INODE, OFF_UNIX_ADDR, OFF_UNIX_ADDR_LEN, OFF_UNIX_ADDR_NAME, OFF_UNIX_ADDR_USERS,
        OFF_UNIX_PEER, OFF_UNIX_WAITING, SELF_PID, probed,
    },
    maps::{BIRTHS, CONNECTIONS_BY_ADDRESS, EVENTS},
    owner,
    run::Run,
};

/// `SOCK_DEAD` of `enum sock_flags`: no process has it any more.
const SOCK_DEAD: u64 = 1;
/// Of `struct sockaddr_un`, before the name.
const FAMILY_BYTES: u32 = 2;

/// Number of the inode of a socket; 0 when it has none: it is not accepted yet, or closed.
#[inline(always)]
fn inode(socket: u64) -> u32 {
    let file: u64 = probed(socket, OFF_SK_SOCKET.load());
    if file == 0 {
        return 0;
    }
    probed(file, OFF_SOCKET_INODE.load())
}

#[inline(always)]
fn peer(socket: u64) -> u64 {
    probed(socket, OFF_UNIX_PEER.load())
}

#[inline(always)]
fn is_dead(socket: u64) -> bool {
    let flags: u64 = probed(socket, OFF_SK_FLAGS.load());
    flags & SOCK_DEAD != 0
}

/// The process that credentials of the peer name.
#[inline(always)]
fn peer_pid(socket: u64) -> u32 {
    let pid: u64 = probed(socket, OFF_SK_PEER_PID.load());
    if pid == 0 {
        return 0;
    }
    probed(pid, OFF_PID_NUMBER.load())
}

/// State of the connection of a stream socket that bytes went over, which are added to it whatever becomes of them: nothing else says
/// where the stream is. `None`, counted, when there is no room for it, or when the socket is closed meanwhile; and when an earlier
/// program has done this already.
#[inline(always)]
pub fn moved(socket: u64, direction: Direction, bytes: u64, run: Run) -> Option<*mut Connection> {
    let inode = inode(socket);
    let thread = bpf_get_current_pid_tgid() as u32;
    let is_spare = matches!(run, Run::Spare | Run::Last);
    let found = match CONNECTIONS_BY_ADDRESS.get_ptr_mut(socket) {
        // SAFETY: a live map value.
        Some(found) if unsafe { (*found).inode } == inode => {
            // SAFETY: as above.
            let state = unsafe { &mut *found };
            if is_spare && state.follows(direction, thread) {
                if run == Run::Last {
                    state.forget_seen(direction);
                }
                return None;
            }
            found
        }
        // Where there is no room the first has counted them.
        _ if unix_clear(socket) == 0
            && unix_begin(socket, u64::from(inode), if is_spare { 0 } else { bytes }) != 0 =>
        {
            CONNECTIONS_BY_ADDRESS.get_ptr_mut(socket)?
        }
        _ => return None,
    };
    if is_spare {
        count(Counter::TakenOver, bytes);
    }
    // SAFETY: a live map value; see `Connection` on concurrent changes.
    let state = unsafe { &mut *found };
    let [received, sent] = &mut state.moved;
    let sum = match direction {
        Direction::In => received,
        Direction::Out => sent,
    };
    *sum = sum.wrapping_add(bytes);
    if HAS_SPARES.load() != 0 {
        if matches!(run, Run::First | Run::Spare) {
            state.see(direction, thread);
        }
        unix_level(socket, direction as u64);
    }
    Some(found)
}

/// Makes up for what the programs were not let to do (see `run`): what the other end received, or has waiting, this one has sent, and what
/// the other end sent and does not wait here this one has received. Then both know the same places of the streams again, and what lies
/// between is missing. Always 0.
///
/// What the other end's state says is never ahead of what happened, and it is read first, so the sums never are either.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_level(socket: u64, direction: u64) -> u32 {
    let peer = peer(socket);
    if OFF_UNIX_WAITING.load() == 0 || peer == 0 {
        return 0;
    }
    let (Some(own), Some(other)) = (
        CONNECTIONS_BY_ADDRESS.get_ptr_mut(socket),
        CONNECTIONS_BY_ADDRESS.get_ptr(peer),
    ) else {
        return 0;
    };
    // SAFETY: live map values; see `Connection` on concurrent changes.
    let (own, other) = unsafe { (&mut *own, &*other) };
    // Of streams that were joined late the beginnings are not known.
    if own.flags & other.flags & flags::FRESH == 0 || other.inode == 0 || other.inode != inode(peer) {
        return 0;
    }
    // SAFETY: as above. Volatile, so that they are read before what waits.
    let [arrived, gone] = unsafe { core::ptr::read_volatile(&raw const other.moved) };
    let [received, sent] = &mut own.moved;
    if direction == Direction::Out as u64 {
        let waiting: u32 = probed(peer, OFF_UNIX_WAITING.load());
        let least = arrived + u64::from(waiting);
        if *sent < least {
            *sent = least;
        }
    } else {
        let waiting: u32 = probed(socket, OFF_UNIX_WAITING.load());
        let least = gone.saturating_sub(u64::from(waiting));
        if *received < least {
            *received = least;
        }
    }
    0
}

/// Place of the stream after the last byte that went by.
#[inline(always)]
pub fn end(connection: &Connection, direction: Direction) -> u32 {
    let [received, sent] = connection.moved;
    match direction {
        Direction::In => received as u32,
        Direction::Out => sent as u32,
    }
}

/// Bits of the time at which a state began, of about a microsecond each, in the names of connections joined late: after the inode's, and
/// before [`UNIX_CONNECTION`].
const NAME_TIME_BITS: u32 = 30;
const NAME_TIME_SHIFT: u32 = 10;

/// What names a connection to user space. One that is joined late may have been known before, when its stream had other places.
#[inline(always)]
fn name(inode: u32, fresh: bool) -> u64 {
    let name = UNIX_CONNECTION | u64::from(inode);
    if fresh {
        return name;
    }
    // SAFETY: a helper without arguments.
    let time = (unsafe { bpf_ktime_get_ns() } >> NAME_TIME_SHIFT) & ((1 << NAME_TIME_BITS) - 1);
    name | time << u32::BITS
}

/// Of earlier sockets at the addresses of a socket and its peer nothing is left. Always 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_clear(socket: u64) -> u32 {
    unix_over(socket, 0);
    let peer = peer(socket);
    if peer != 0 && !is_dead(peer) {
        unix_over(peer, self::inode(peer).into());
    }
    0
}

/// Gives a socket a state, which moved so many bytes. 0 when that cannot be done, which is counted, unless it was before (`bytes` is 0).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_begin(socket: u64, inode: u64, bytes: u64) -> u32 {
    let inode = inode as u32;
    if inode == 0 {
        // Closed while the call was on its way.
        if bytes != 0 {
            count(Counter::NoState, bytes);
        }
        return 0;
    }
    let peer = peer(socket);
    let fresh = is_new(inode);
    let flags = if fresh { flags::FRESH } else { 0 };
    let mut state = Connection::new(name(inode, fresh), role(socket, peer), flags);
    state.inode = inode;
    state.begin();
    if CONNECTIONS_BY_ADDRESS.insert(socket, state, 0).is_ok() {
        return 1;
    }
    // First counted, then forgotten: user space, which notes the births anew, looks in the other order.
    if bytes != 0 {
        count(Counter::StatesFull, bytes);
    }
    let _ = BIRTHS.remove(LAST_BATCH);
    0
}

/// Whether a socket was born since the programs were attached.
#[inline(always)]
fn is_new(inode: u32) -> bool {
    // SAFETY: what the look-ups give is copied at once.
    unsafe {
        match BIRTHS.get(LAST_BATCH).copied() {
            Some(last) => is_born_since(inode, BIRTHS.get(batch_of(inode)).copied(), last),
            None => false,
        }
    }
}

/// Which end a socket is: the server's has the name that its listener was bound to. Ends of which both have names, or none
/// (socketpair), tell by what they say.
#[inline(always)]
fn role(socket: u64, peer: u64) -> Role {
    if peer == 0 {
        return Role::Unknown;
    }
    if inode(peer) == 0 && !is_dead(peer) {
        // It is not accepted yet.
        return Role::Client;
    }
    match (name_of(socket), name_of(peer)) {
        (0, 0) => Role::Unknown,
        (0, _) => Role::Client,
        (_, 0) => Role::Server,
        // The server's is its listener's too.
        (own, others) => match (is_shared(own), is_shared(others)) {
            (true, false) => Role::Server,
            (false, true) => Role::Client,
            _ => Role::Unknown,
        },
    }
}

/// The `struct unix_address` of a socket, or 0.
#[inline(always)]
fn name_of(socket: u64) -> u64 {
    probed(socket, OFF_UNIX_ADDR.load())
}

#[inline(always)]
fn is_shared(name: u64) -> bool {
    let users: u32 = probed(name, OFF_UNIX_ADDR_USERS.load());
    users > 1
}

/// A connection's number, and which end of it the socket is, 1 or 2: the same number at both ends, whenever each is asked.
#[inline(always)]
fn pair(socket: u64, peer: u64, connection: &Connection) -> (u64, u16) {
    let own = u64::from(connection.inode);
    if name_of(socket) != 0 && name_of(peer) != 0 {
        // Which one is the client may show at one end only.
        let (low, high, end) = if socket < peer {
            (socket, peer, 1)
        } else {
            (peer, socket, 2)
        };
        return (1 << 63 | low ^ high.rotate_left(32), end);
    }
    if connection.role == Role::Client as u8 {
        return (own, 1);
    }
    let other = match (inode(peer), CONNECTIONS_BY_ADDRESS.get_ptr(peer)) {
        // It is closed. Nothing else has its address as long as this end lives.
        // SAFETY: a live map value.
        (0, Some(state)) => unsafe { (*state).inode },
        (inode, _) => inode,
    };
    let other = u64::from(other);
    if connection.role == Role::Server as u8 {
        let number = if other == 0 { own } else { other };
        return (number, 2);
    }
    if other != 0 && other < own {
        (other, 2)
    } else {
        (own, 1)
    }
}

/// Judges a connection, in the context of the process that uses it: as `filter::judge`, without ports.
#[inline(always)]
pub fn judge(socket: u64, include_only: u32) -> u32 {
    unix_judge(socket, include_only)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_judge(socket: u64, include_only: u32) -> u32 {
    if owner::is_self() || peer_pid(socket) == SELF_PID.load() {
        return Verdict::Own as u32;
    }
    filter::weigh(0, include_only)
}

/// Announces a connection. 0 when the ring buffer is full.
#[inline(always)]
pub fn open(socket: u64, connection: &mut Connection) -> u32 {
    unix_open(socket, connection)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_open(socket: u64, connection: *mut Connection) -> u32 {
    // SAFETY: a live map value; the verifier checks that.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    let Some(mut record) = EVENTS.reserve_bytes(size_of::<UnixOpenRecord>(), 0) else {
        return 0;
    };
    let open = record.as_mut_ptr().cast::<UnixOpenRecord>();
    let peer = peer(socket);
    let (number, end) = pair(socket, peer, connection);
    let address = [u64::from_ne_bytes(UNIX_ADDRESS), number];
    // SAFETY: the reservation is as large as the record and eight-byte aligned; the tuple is so by four, and is stored unaligned.
    unsafe {
        (*open).open.kind = Kind::UnixOpen as u8;
        emit::announce(&raw mut (*open).open, connection);
        let tuple = &raw mut (*open).open.tuple;
        (&raw mut (*tuple).local)
            .cast::<[u64; 2]>()
            .write_unaligned(address);
        (&raw mut (*tuple).remote)
            .cast::<[u64; 2]>()
            .write_unaligned(address);
        (*tuple).local_port = end;
        (*tuple).remote_port = 3 - end;
        (*open).peer_pid = peer_pid(socket);
        (*open).name_bytes = 0;
        let own = name_of(socket);
        let name = if own == 0 || connection.role == Role::Client as u8 {
            name_of(peer)
        } else {
            own
        };
        if name != 0 {
            let length: u32 = probed(name, OFF_UNIX_ADDR_LEN.load());
            let bytes = length.wrapping_sub(FAMILY_BYTES);
            let most = UNIX_NAME_ROOM as u32 - 1;
            let bytes = core::hint::black_box(if bytes > most { most } else { bytes }) & most;
            let from = name + u64::from(OFF_UNIX_ADDR_NAME.load() + FAMILY_BYTES);
            let to = (&raw mut (*open).name).cast();
            if bpf_probe_read_kernel(to, bytes, from as *const _) == 0 {
                (*open).name_bytes = bytes;
            }
        }
    }
    record.submit(NO_WAKEUP);
    connection.flags |= flags::ANNOUNCED;
    1
}

/// How many bytes were received and sent, as far as the state of this end tells, or that of the other: what it sent and is not to be
/// read any more was received.
#[inline(always)]
fn totals(socket: u64, connection: &Connection) -> Totals {
    let [received, sent] = connection.moved;
    let mut arrived = received;
    let peer = peer(socket);
    if connection.flags & flags::FRESH != 0
        && peer != 0
        && let Some(state) = CONNECTIONS_BY_ADDRESS.get_ptr(peer)
    {
        let inode = inode(peer);
        // SAFETY: a live map value.
        let state = unsafe { &*state };
        let is_its = inode == state.inode || inode == 0 && is_dead(peer);
        let sent = state.moved[Direction::Out as usize];
        if is_its && state.flags & flags::FRESH != 0 && sent > received {
            arrived = sent;
        }
    }
    let waiting: u32 = probed(socket, OFF_SK_QUEUE_LENGTH.load());
    let unread = if waiting == 0 { 0 } else { arrived - received };
    Totals {
        end: [(arrived - unread) as u32, sent as u32],
        unread: unread as u32,
        bytes_sent: sent,
        bytes_received: arrived,
        bytes_acked: sent,
    }
}

/// Says where a connection stands that goes on.
#[inline(always)]
pub fn report(socket: u64) {
    unix_report(socket);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_report(socket: u64) -> u32 {
    if let Some(connection) = CONNECTIONS_BY_ADDRESS.get_ptr_mut(socket) {
        // SAFETY: a live map value.
        let connection = unsafe { &mut *connection };
        if connection.flags & flags::ANNOUNCED != 0
            && emit::close(connection, &totals(socket, connection), close_flags::GOES_ON)
        {
            connection.rested = 0;
        }
    }
    0
}

/// The state at a socket's address is over, unless it is that of a socket with this inode (0: whosever it is).
///
/// Whoever had it is gone, and nobody can tell any more what it did not read.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_over(socket: u64, inode: u64) -> u32 {
    let Some(connection) = CONNECTIONS_BY_ADDRESS.get_ptr(socket) else {
        return 0;
    };
    // SAFETY: a live map value.
    let connection = unsafe { &*connection };
    if connection.inode == 0 || u64::from(connection.inode) == inode {
        return 0;
    }
    if connection.flags & flags::ANNOUNCED != 0 {
        let [received, sent] = connection.moved;
        let totals = Totals {
            end: [received as u32, sent as u32],
            unread: 0,
            bytes_sent: sent,
            bytes_received: received,
            bytes_acked: sent,
        };
        emit::close(connection, &totals, 0);
    }
    let _ = CONNECTIONS_BY_ADDRESS.remove(socket);
    0
}

/// A socket is being closed.
#[inline(always)]
pub fn release(socket: u64) {
    unix_release(socket);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_release(socket: u64) -> u32 {
    let Some(connection) = CONNECTIONS_BY_ADDRESS.get_ptr(socket) else {
        return 0;
    };
    // SAFETY: a live map value.
    let connection = unsafe { &*connection };
    if connection.inode == 0 {
        return 0;
    }
    if connection.flags & flags::ANNOUNCED != 0 {
        emit::close(connection, &totals(socket, connection), 0);
    }
    let _ = CONNECTIONS_BY_ADDRESS.remove(socket);
    0
}

// include/uapi/asm-generic/errno-base.h, errno.h
const EPIPE: i64 = 32;
const ECONNRESET: i64 = 104;

/// Whether the result of a call says that the other end sends, or reads, no more.
#[inline(always)]
pub const fn is_end(direction: Direction, result: i64) -> bool {
    match direction {
        Direction::In => result == 0 || result == -ECONNRESET,
        Direction::Out => result == -EPIPE,
    }
}

/// A call moved nothing, and its result [`is_end`]. If the other end is closed, the connection is over for both: who closed first does
/// not hear of it. For providers that do not see sockets being closed.
#[inline(always)]
pub fn nothing_moved(socket: u64) {
    unix_nothing_moved(socket);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unix_nothing_moved(socket: u64) -> u32 {
    let Some(connection) = CONNECTIONS_BY_ADDRESS.get_ptr(socket) else {
        return 0;
    };
    // SAFETY: a live map value.
    let known = unsafe { (*connection).inode };
    let waiting: u32 = probed(socket, OFF_SK_QUEUE_LENGTH.load());
    if known == 0 || known != inode(socket) || waiting != 0 {
        return 0;
    }
    let peer = peer(socket);
    if peer == 0 || !is_dead(peer) {
        return 0;
    }
    unix_release(socket);
    unix_over(peer, 0);
    0
}
