//! What the programs remember of a connection.

use core::ffi::c_void;

use core::mem::offset_of;

use agent_common::{Counter, Direction, Role, STATE_BYTES, StateHead};
use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::generated::{bpf_get_socket_cookie, bpf_jiffies64, bpf_ktime_get_ns, bpf_sk_storage_get},
};

use crate::{
    account,
    kernel::{OFF_SK_COOKIE, SOCKET_COOKIE, SOCKET_STORAGE, Socket},
    maps::{CONNECTIONS, CONNECTIONS_BY_ADDRESS},
};

/// What is done with a connection's bytes.
pub mod mode {
    /// Not decided yet. The value of fresh memory.
    pub const UNDECIDED: u8 = 0;
    /// Sent to user space.
    pub const CAPTURE: u8 = 1;
    /// Not HTTP, for good.
    pub const NOT_HTTP: u8 = 2;
    /// User space wants no more of it.
    pub const IGNORED: u8 = 3;
    /// Left out by a filter, until the filters' epoch changes.
    pub const FILTERED: u8 = 4;
    /// The agent's own.
    pub const OWN: u8 = 5;
    /// Left out because its process is over its budget, until that changes.
    pub const LOWERED: u8 = 6;
    /// Between two exchanges that are captured; see `rest`.
    pub const RESTING: u8 = 7;
    /// Encrypted by the kernel itself. Counted when it closes.
    pub const KERNEL_TLS: u8 = 8;
    /// Carries TLS, which a library does; see `tls`.
    pub const TLS: u8 = 9;
}

/// Bits of [`Connection::flags`].
pub mod flags {
    /// Seen from its establishment.
    pub const FRESH: u8 = 1;
    /// An open record was sent, and nothing that it says has changed.
    pub const ANNOUNCED: u8 = 2;
    /// Its process is over its budget, and it is not among those that are captured nevertheless: to be announced, then left out.
    pub const LEFT_OUT: u8 = 4;
    /// Its end was told.
    pub const CLOSED: u8 = 8;
}

/// Value of [`Connection::turn_bytes_max`]: a turn is captured whole.
pub const WHOLE_TURN: u32 = u32::MAX;

/// State of a connection. Two threads of a process may change it at once; it only steers how much is captured.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Connection {
    /// The socket's cookie; of a UNIX connection a number of our own.
    pub cookie: u64,
    /// When it was last used, where the state is kept by address: the low half of the kernel's ticks.
    pub used: u32,
    /// Of a UNIX connection: the number of the socket's inode, which no other socket has; else 0.
    pub inode: u32,
    /// [`mode`].
    pub mode: u8,
    /// [`Role`].
    pub role: u8,
    /// [`flags`].
    pub flags: u8,
    /// 1 + [`Direction`] that bytes last went; 0 before any did.
    pub turn: u8,
    /// Transfers seen while undecided.
    pub tries: u32,
    /// Filters' epoch at which [`mode::FILTERED`] was decided.
    pub epoch: u32,
    /// Bytes captured of the present turn.
    pub turn_bytes: u32,
    /// Sequence number of the first byte sent, received; when fresh.
    pub base: [u32; 2],
    /// Sequence number up to which bytes are skipped, by direction; valid with `skipping`.
    pub skip_to: [u32; 2],
    /// Not 0: `skip_to` is in force.
    pub skipping: [u8; 2],
    /// Transfers until one is timed and charged; see `account`.
    pub until_charged: u8,
    /// Connections of its process that it stands for; 0 is 1.
    pub weight: u8,
    /// Bytes captured of each turn, [`WHOLE_TURN`] for all; 0: as in the settings.
    pub turn_bytes_max: u32,
    /// Bytes of records that found the ring buffer full, received and sent.
    pub lost: [u32; 2],
    /// `Allowance::generation` that was last looked at; 0: none was in force.
    pub allowance: u32,
    /// Turns of which nothing was captured because it rests, and for which no record stands yet.
    pub rested: u32,
    /// One exchange in so many is captured; 0: all.
    pub rest_every: u32,
    /// Turns until the next one is captured; of a connection that carries TLS: transfers that were compared with what sessions wrote.
    pub rest_left: u32,
    /// Bytes of turns of which nothing was captured because it rests, received and sent.
    pub rested_bytes: [u64; 2],
    /// 1 + [`Direction`] of requests, once it was told to rest; 0 before.
    pub rest_turn: u8,
    /// Not 0: the latest turns went by because it rests.
    pub passed: u8,
    /// Directions of which `seen` is known, as bits.
    pub seen_ways: u8,
    /// Not 0: bytes went over a connection that carries TLS.
    pub is_used: u8,
    /// The thread that was last seen to send `message`.
    pub sender: u32,
    /// Of a connection that carries TLS, see `tls::cipher`: the session that wrote what went over it, until they are joined, and twice
    /// its `TlsFamily`, 1 more where it has just begun. Of a UNIX connection or a TLS session: bytes received and sent. Two threads that move bytes the same way at once may lose some of the sum.
    pub moved: [u64; 2],
    /// Sequence number after the last byte of which a program was told, received and sent. Of a UNIX connection: the thread that moved
    /// them, until the last spare has run.
    pub seen: [u32; 2],
    /// `struct msghdr` that a thread was last seen to send; 0 where nothing needs to know.
    pub message: u64,
    /// Of a connection that carries TLS: the session's object in the memory of its process; 0 while that is not known.
    pub ssl: u64,
    /// And that process.
    pub ssl_pid: u32,
    /// Bytes of its hellos that were sent to user space, received and sent.
    pub hello: [u16; 2],
}

const _: () = {
    assert!(size_of::<Connection>() == STATE_BYTES);
    assert!(offset_of!(Connection, cookie) == offset_of!(StateHead, cookie));
    assert!(offset_of!(Connection, used) == offset_of!(StateHead, used));
    assert!(offset_of!(Connection, inode) == offset_of!(StateHead, inode));
};

impl Connection {
    /// State of a connection not seen before.
    pub const fn new(cookie: u64, role: Role, flags: u8) -> Self {
        Self {
            cookie,
            used: 0,
            inode: 0,
            mode: mode::UNDECIDED,
            role: role as u8,
            flags,
            turn: 0,
            tries: 0,
            epoch: 0,
            turn_bytes: 0,
            base: [0; 2],
            skip_to: [0; 2],
            skipping: [0; 2],
            until_charged: 0,
            weight: 0,
            turn_bytes_max: 0,
            lost: [0; 2],
            allowance: 0,
            rested: 0,
            rest_every: 0,
            rest_left: 0,
            rested_bytes: [0; 2],
            rest_turn: 0,
            passed: 0,
            seen_ways: 0,
            is_used: 0,
            sender: 0,
            moved: [0; 2],
            seen: [0; 2],
            message: 0,
            ssl: 0,
            ssl_pid: 0,
            hello: [0; 2],
        }
    }

    /// The state begins.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.until_charged = account::first_charge();
        self.touch();
    }

    /// Notes that it is used.
    #[inline(always)]
    pub fn touch(&mut self) {
        // SAFETY: a helper without arguments.
        self.used = unsafe { bpf_jiffies64() } as u32;
    }

    /// Nothing is known any more of what a program was told.
    #[inline(always)]
    pub fn forget_seen(&mut self, direction: Direction) {
        self.seen_ways &= !(1 << (direction as u8));
    }

    /// A program is told of the bytes before `end`.
    #[inline(always)]
    pub fn see(&mut self, direction: Direction, end: u32) {
        self.seen[index(direction)] = end;
        self.seen_ways |= 1 << (direction as u8);
    }

    /// Whether bytes from `start` on are those that follow what programs were told of.
    #[inline(always)]
    pub fn follows(&self, direction: Direction, start: u32) -> bool {
        self.seen_ways & (1 << (direction as u8)) != 0 && self.seen[index(direction)] == start
    }

    /// Notes bytes for which the ring buffer had no room.
    #[inline(always)]
    pub fn lose(&mut self, direction: Direction, bytes: u32) {
        let lost = &mut self.lost[index(direction)];
        *lost = lost.wrapping_add(bytes);
    }
}

/// Index of a direction in the arrays above.
///
/// Hidden from the optimiser and masked: where the direction comes from memory the compiler trusts the enum, the verifier does not.
#[inline(always)]
pub fn index(direction: Direction) -> usize {
    core::hint::black_box(direction as usize) & 1
}

#[inline(always)]
fn storage(socket: u64, initial: *mut Connection, flags: u64) -> *mut Connection {
    // SAFETY: the map is a socket storage, the socket a trusted pointer, `initial` null or a stack value.
    unsafe {
        bpf_sk_storage_get(
            (&raw const CONNECTIONS).cast_mut().cast::<c_void>(),
            socket as *mut c_void,
            initial.cast::<c_void>(),
            flags,
        )
        .cast::<Connection>()
    }
}

/// Whether the state of a connection is kept in its socket; otherwise by the socket's address.
#[inline(always)]
pub fn is_in_socket<const TRUSTED: bool>() -> bool {
    TRUSTED && SOCKET_STORAGE.load() != 0
}

/// What is counted when a connection that is not of the UNIX domain cannot have a state.
#[inline(always)]
pub fn without_state<const TRUSTED: bool>() -> Counter {
    if is_in_socket::<TRUSTED>() {
        Counter::NoState
    } else {
        Counter::StatesFull
    }
}

/// State of the connection, if it has any.
#[inline(always)]
pub fn find<const TRUSTED: bool>(socket: Socket<TRUSTED>) -> Option<*mut Connection> {
    if is_in_socket::<TRUSTED>() {
        let found = storage(socket.0, core::ptr::null_mut(), 0);
        if found.is_null() { None } else { Some(found) }
    } else {
        CONNECTIONS_BY_ADDRESS.get_ptr_mut(socket.0)
    }
}

/// Gives a connection older than the agent a state. `None` when there is no room for it.
///
/// A function of its own: what it needs of the stack is free again when it is over.
#[inline(never)]
pub fn begin<const TRUSTED: bool>(socket: Socket<TRUSTED>) -> Option<*mut Connection> {
    let mut state = Connection::new(cookie(socket), Role::Unknown, 0);
    create(socket, &mut state)
}

/// Gives the connection a state. `None` when there is no room for it.
#[inline(always)]
pub fn create<const TRUSTED: bool>(
    socket: Socket<TRUSTED>,
    state: &mut Connection,
) -> Option<*mut Connection> {
    state.begin();
    if is_in_socket::<TRUSTED>() {
        let created = storage(socket.0, &raw mut *state, u64::from(BPF_SK_STORAGE_GET_F_CREATE));
        if created.is_null() { None } else { Some(created) }
    } else {
        // By reference: a copy would take the stack.
        let state: &Connection = state;
        let _ = CONNECTIONS_BY_ADDRESS.insert(socket.0, state, 0);
        CONNECTIONS_BY_ADDRESS.get_ptr_mut(socket.0)
    }
}

/// Sockets' addresses end with so many zeros.
const NAME_ADDRESS_SHIFT: u32 = 6;
/// About a microsecond.
const NAME_TIME_SHIFT: u32 = 10;
/// Six days: these are the low bits, by which orders are spread over their slots.
const NAME_TIME_BITS: u32 = 39;

/// What names the connection to user space: the socket's cookie. Where programs cannot ask for one and the kernel has not made it yet, a
/// number that no other socket has, this address's later ones neither: when and where. Its top bit is set, which cookies never have.
#[inline(always)]
pub fn cookie<const TRUSTED: bool>(socket: Socket<TRUSTED>) -> u64 {
    if TRUSTED && SOCKET_COOKIE.load() != 0 {
        // SAFETY: the argument is a trusted socket.
        return unsafe { bpf_get_socket_cookie(socket.0 as *mut c_void) };
    }
    let cookie: u64 = socket.field(OFF_SK_COOKIE.load());
    if cookie != 0 {
        return cookie;
    }
    // SAFETY: a helper without arguments.
    let time = (unsafe { bpf_ktime_get_ns() } >> NAME_TIME_SHIFT) & ((1 << NAME_TIME_BITS) - 1);
    1 << 63 | socket.number() >> NAME_ADDRESS_SHIFT << NAME_TIME_BITS | time
}
