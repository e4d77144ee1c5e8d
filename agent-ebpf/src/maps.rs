//! Maps: what the programs share with each other and with the agent. User space finds them by these names.

use agent_common::{
    ACCOUNTS_MAX, ALLOWANCES_MAX, Account, Allowance, BIRTHS_MAX, CONTROL_SLOTS, ControlSlot, Counter,
    ProcessKey, STATES_MAX, Settings, THREADS_MAX, TLS_SESSIONS_MAX, TLS_WRITTEN_MAX, Tuple,
};
use aya_ebpf::{
    btf_maps::SkStorage,
    macros::{btf_map, map},
    maps::{Array, HashMap, LruHashMap, LruPerCpuHashMap, PerCpuArray, RingBuf},
};

use crate::{arch::Syscall, connection::Connection, provider::Message, tls, walk::Cursor};

/// Records to the agent. Size set by the loader.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// State of each connection, with the socket tracepoints.
#[btf_map]
pub static CONNECTIONS: SkStorage<Connection> = SkStorage::new();

/// State of each UNIX connection by socket address; of the others too where the provider has no trusted socket pointer. What finds no
/// room is counted; user space makes room, see `agent_common::state`. Size set by the loader.
#[map]
pub static CONNECTIONS_BY_ADDRESS: HashMap<u64, Connection> = HashMap::with_max_entries(STATES_MAX, 0);

/// Batch of inode numbers → the number that was reached when the programs were attached; and the last batch. See `agent_common`.
#[map]
pub static BIRTHS: HashMap<u32, u32> = HashMap::with_max_entries(BIRTHS_MAX + 1, 0);

/// Orders about single connections.
#[map]
pub static CONTROL: Array<ControlSlot> = Array::with_max_entries(CONTROL_SLOTS, 0);

/// Transfers of several pieces that are being walked, by thread (`bpf_get_current_pid_tgid`); where `bpf_loop` does not exist.
#[map]
pub static WALKS: HashMap<u64, Cursor> = HashMap::with_max_entries(1_024, 0);

/// System calls in progress, by thread; where the saved registers of a thread cannot be read at its return. Size set by the loader, as
/// that of the next two.
#[map]
pub static CALLS: HashMap<u64, Syscall> = HashMap::with_max_entries(THREADS_MAX, 0);

/// Messages being sent, by thread; with kprobes.
#[map]
pub static SENDS: HashMap<u64, Message> = HashMap::with_max_entries(THREADS_MAX, 0);

/// Messages being received, or received last, by thread; with kprobes.
#[map]
pub static RECEIVES: HashMap<u64, Message> = HashMap::with_max_entries(THREADS_MAX, 0);

/// Calls of TLS libraries in progress, by thread. Size set by the loader.
#[map]
pub static TLS_CALLS: HashMap<u64, tls::call::Call> = HashMap::with_max_entries(THREADS_MAX, 0);

/// TLS sessions whose connection is known. Size set by the loader.
#[map]
pub static TLS_SESSIONS: HashMap<tls::session::Key, tls::session::State> =
    HashMap::with_max_entries(TLS_SESSIONS_MAX, 0);

/// Ciphertext that sessions wrote whose connection is not known.
#[map]
pub static TLS_WRITTEN: LruHashMap<tls::cipher::Mark, tls::cipher::Written> =
    LruHashMap::with_max_entries(TLS_WRITTEN_MAX, 0);

/// One entry, which is zero: what a session begins with, too large for the stack.
#[map]
pub static BLANK_SESSION: Array<tls::session::State> = Array::with_max_entries(1, 0);

/// One entry.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// Process id → `FilterAction`.
#[map]
pub static FILTER_PIDS: HashMap<u32, u8> = HashMap::with_max_entries(16_384, 0);

/// cgroup v2 id → `FilterAction`.
#[map]
pub static FILTER_CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(4_096, 0);

/// Local or remote port, host order → `FilterAction`.
#[map]
pub static FILTER_PORTS: HashMap<u16, u8> = HashMap::with_max_entries(1_024, 0);

/// Connections of the agent itself, as the peer's socket sees them.
#[map]
pub static OWN_PEERS: LruHashMap<Tuple, u8> = LruHashMap::with_max_entries(64, 0);

/// What was charged to each process.
#[map]
pub static ACCOUNTS: LruPerCpuHashMap<ProcessKey, Account> =
    LruPerCpuHashMap::with_max_entries(ACCOUNTS_MAX, 0);

/// Processes of which less than everything is captured.
#[map]
pub static ALLOWANCES: HashMap<ProcessKey, Allowance> = HashMap::with_max_entries(ALLOWANCES_MAX, 0);

/// Events and bytes by `Counter`.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::SLOTS, 0);
