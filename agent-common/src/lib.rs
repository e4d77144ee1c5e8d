//! The ABI between the eBPF programs and the node agent: records in the ring buffer, values in maps, names of counters.
//!
//! Invariants: `no_std`, no dependency; every type that crosses the border is `repr(C)` without padding, and its size and
//! offsets are asserted below at compile time, so that a layout can only change on purpose.
#![no_std]
#![forbid(unsafe_code)]

mod account;
mod births;
mod control;
mod counter;
mod limits;
mod record;
mod sniff;
mod state;

pub use account::{ACCOUNTS_MAX, ALLOWANCES_MAX, Account, Allowance, CHARGE_EVERY, Level, ProcessKey};
pub use births::{BATCH, BIRTHS_MAX, LAST_BATCH, batch_of, is_born_since};
pub use control::{CONTROL_SLOTS, ControlSlot, FilterAction, Mode, REST_EVERY_MAX, Settings, control_slot};
pub use counter::Counter;
pub use limits::{
    MESSAGES_MAX, MESSAGES_MAX_UNROLLED, PIECES_MAX, PIECES_MAX_UNROLLED, STEPS_BACK_MAX,
    STEPS_BACK_MAX_UNROLLED, THREADS_MAX, TLS_SESSIONS_MAX, TLS_WRITTEN_MAX,
};
pub use record::{
    CHUNK_BYTES_MAX, CHUNK_CLASSES, ChunkHeader, CloseRecord, Direction, EXEC_ARGS_BYTES, EXEC_FILE_BYTES,
    ExecRecord, ExitRecord, Kind, OpenRecord, Owner, Role, TLS_HELLO_BYTES_MAX, TLS_SESSION, TlsFamily,
    TlsSessionRecord, Tuple, UNIX_ADDRESS, UNIX_CONNECTION, UNIX_NAME_ROOM, UnixOpenRecord, chunk_flags,
    close_flags, is_tls_session, open_flags,
};
pub use sniff::{SNIFF_BYTES, Sniff, sniff};
pub use state::{STATE_BYTES, STATES_MAX, StateHead};
