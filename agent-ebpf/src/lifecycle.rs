//! Connections from establishment to close: role, first and last sequence numbers, final byte counts.
//!
//! The tracepoint `sock:inet_sock_set_state` is stable and fires for every TCP socket in whatever context the state changes, so nothing
//! here may assume that the current process is the connection's.

use agent_common::{Counter, Direction, Role, Tuple};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    connection::{self, Connection, flags, mode},
    count::count,
    emit::{self, Totals},
    filter,
    kernel::{OFF_TCP_COPIED_SEQ, OFF_TCP_WRITE_SEQ, Socket, direct},
    maps::{CONNECTIONS_BY_ADDRESS, OWN_PEERS},
    owner,
    run::Run,
    tls,
};

// enum in include/net/tcp_states.h.
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_FIN_WAIT1: i32 = 4;
const TCP_FIN_WAIT2: i32 = 5;
const TCP_TIME_WAIT: i32 = 6;
const TCP_CLOSE: i32 = 7;
const TCP_LAST_ACK: i32 = 9;
const TCP_CLOSING: i32 = 11;

/// `inet_sock_set_state(sk, oldstate, newstate)`.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    changed(&ctx, Run::First)
}

/// The same for what the kernel leaves out. States change in interrupts too, where even programs that cannot be preempted meet
/// themselves.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state_spare(ctx: BtfTracePointContext) -> i32 {
    changed(&ctx, Run::Spare)
}

#[inline(always)]
fn changed(ctx: &BtfTracePointContext, run: Run) -> i32 {
    let socket = Socket::<true>(ctx.arg::<*const u8>(0) as u64);
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    match new {
        TCP_SYN_SENT if owner::is_self() => own(socket),
        TCP_ESTABLISHED => established(
            socket,
            if old == TCP_SYN_SENT {
                Role::Client
            } else {
                Role::Server
            },
            run,
        ),
        TCP_CLOSE => closed(socket, old, run),
        _ => {}
    }
    0
}

/// A spare that finds no room would count again what was counted.
#[inline(always)]
fn remember(socket: Socket<true>, mut state: Connection, run: Run) {
    let is_kept = connection::create(socket, &mut state).is_some();
    match (run, is_kept) {
        (Run::First, false) => count(connection::without_state::<true>(), 0),
        (Run::Spare, true) => count(Counter::TakenOver, 0),
        _ => {}
    }
}

/// The agent connects: this runs in its own context, which establishment need not.
#[inline(always)]
fn own(socket: Socket<true>) {
    let mut state = Connection::new(connection::cookie(socket), Role::Client, flags::FRESH);
    state.mode = mode::OWN;
    remember(socket, state, Run::First);
}

#[inline(always)]
fn established(socket: Socket<true>, role: Role, run: Run) {
    let tcp = socket.as_tcp();
    if tcp == 0 {
        return;
    }
    // SAFETY: `as_tcp` gave a `struct tcp_sock`; offsets come from BTF.
    let base: [u32; 2] = unsafe {
        [
            direct(tcp, OFF_TCP_COPIED_SEQ.load()),
            direct(tcp, OFF_TCP_WRITE_SEQ.load()),
        ]
    };
    if let Some(known) = connection::find(socket) {
        // SAFETY: a live map value.
        let known = unsafe { &mut *known };
        if known.mode == mode::OWN {
            // Before the peer can have received anything.
            return own_peer(socket);
        }
        if known.flags & flags::CLOSED != 0 {
            // The socket connects once more.
            *known = fresh(socket, role, base);
            known.begin();
            return;
        }
        if known.flags & flags::FRESH != 0 && known.base[0] == base[0] && known.base[1] == base[1] {
            // The other one of the two programs was here.
            return;
        }
    }
    remember(socket, fresh(socket, role, base), run);
}

/// State of a connection whose first sequence numbers, received and sent, are these.
#[inline(always)]
fn fresh(socket: Socket<true>, role: Role, base: [u32; 2]) -> Connection {
    let mut state = Connection::new(connection::cookie(socket), role, flags::FRESH);
    state.base = base;
    state.seen = base;
    state.seen_ways = 1 << (Direction::In as u8) | 1 << (Direction::Out as u8);
    state
}

/// Remembers the far end of one of the agent's own connections.
#[inline(always)]
fn own_peer(socket: Socket<true>) {
    let mut tuple = Tuple {
        local: [0; 16],
        remote: [0; 16],
        local_port: 0,
        remote_port: 0,
    };
    // SAFETY: a local.
    unsafe { filter::write_tuple(socket, &raw mut tuple) };
    let peer = Tuple {
        local: tuple.remote,
        remote: tuple.local,
        local_port: tuple.remote_port,
        remote_port: tuple.local_port,
    };
    let _ = OWN_PEERS.insert(peer, 1, 0);
}

#[inline(always)]
fn closed(socket: Socket<true>, old: i32, run: Run) {
    let Some(state) = connection::find(socket) else {
        return;
    };
    // SAFETY: a live map value.
    let state = unsafe { &mut *state };
    if state.flags & flags::CLOSED != 0 {
        return;
    }
    state.flags |= flags::CLOSED;
    if run == Run::Spare {
        count(Counter::TakenOver, 0);
    }
    let tcp = socket.as_tcp();
    if tcp != 0 {
        let fin = matches!(
            old,
            TCP_FIN_WAIT1 | TCP_FIN_WAIT2 | TCP_TIME_WAIT | TCP_LAST_ACK | TCP_CLOSING
        );
        if state.ssl != 0 {
            tls::session::tls_over(state.ssl, state.ssl_pid.into(), state.cookie);
        }
        let totals = Totals::of(socket, tcp, u32::from(fin));
        if state.flags & flags::ANNOUNCED != 0 {
            emit::close(state, &totals, 0);
        } else {
            unseen(socket, state, &totals);
        }
    }
    if !connection::is_in_socket::<true>() {
        let _ = CONNECTIONS_BY_ADDRESS.remove(socket.0);
    }
}

/// Counts the bytes of a connection of which no transfer was seen: it was used in ways only that the provider does not see, or is
/// encrypted by the kernel.
#[inline(always)]
fn unseen(socket: Socket<true>, state: &Connection, totals: &Totals) {
    if state.flags & flags::FRESH == 0 {
        return;
    }
    let counter = match state.mode {
        mode::KERNEL_TLS => Counter::KernelTls,
        mode::UNDECIDED if socket.has_kernel_tls() => Counter::KernelTls,
        mode::UNDECIDED if state.turn == 0 && state.tries == 0 => Counter::Unseen,
        _ => return,
    };
    let [read, written] = totals.end;
    let arrived = totals.bytes_received.wrapping_sub(u64::from(totals.unread));
    let bytes = whole(read.wrapping_sub(state.base[Direction::In as usize]), arrived).wrapping_add(whole(
        written.wrapping_sub(state.base[Direction::Out as usize]),
        totals.bytes_acked,
    ));
    if bytes > 0 {
        count(counter, bytes);
    }
}

/// The number near `near` whose low half is `low`: sequence numbers begin anew after 4 GiB, the socket's own counts may be off by some.
#[inline(always)]
fn whole(low: u32, near: u64) -> u64 {
    let ahead = low.wrapping_sub(near as u32) as i32;
    near.wrapping_add(ahead as i64 as u64)
}
