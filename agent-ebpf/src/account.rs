//! What capturing costs each process, and how much of its traffic is captured for that.
//!
//! One transfer in [`CHARGE_EVERY`] of each connection, the first at random, is timed and charged to the process that runs, for all of
//! them: an unbiased sample, whatever the connections do and whoever holds them, and the other transfers pay for a countdown only.
//! A transfer that is timed also looks whether the agent has changed what may be taken of the process (its [`Allowance`]); a connection
//! that is new looks when it is judged. So nothing has to be told to connections, and processes that are within their budget, which is
//! nearly all of them, cost no look-up.

use agent_common::{Account, Allowance, CHARGE_EVERY, Level};
use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_get_prandom_u32};

use crate::{
    connection::{Connection, WHOLE_TURN, flags, mode},
    maps::{ACCOUNTS, ALLOWANCES},
    owner,
    turn::judge_anew,
};

/// No transfer takes longer by itself, nanoseconds. What does was interrupted, and a sample that counts for many must not multiply that.
const SPAN_NS_MAX: u64 = 20_000;
/// And for each byte: a copy takes less than a fifth of it.
const BYTES_PER_NS: u64 = 2;

/// Transfers of a new connection until one is charged.
#[inline(always)]
pub fn first_charge() -> u8 {
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    (random % CHARGE_EVERY) as u8 + 1
}

/// A transfer begins. When it began if it is one to be charged, else 0.
#[inline(always)]
pub fn begin(connection: &mut Connection) -> u64 {
    if connection.until_charged > 1 {
        connection.until_charged -= 1;
        return 0;
    }
    connection.until_charged = CHARGE_EVERY as u8;
    // Before the time is taken: the transfers that this one counts for do not look.
    heed(connection);
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// It is over; `begun` is what [`begin`] gave.
#[inline(always)]
pub fn end(begun: u64, bytes: u64) {
    if begun != 0 {
        charge(begun, bytes);
    }
}

/// Charges the present process. Global: verified once, by itself. Always 0: global functions return a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn charge(begun: u64, bytes: u64) -> u32 {
    // SAFETY: a helper without arguments.
    let span = unsafe { bpf_ktime_get_ns() }.wrapping_sub(begun);
    let most = SPAN_NS_MAX + (bytes & u32::MAX as u64) / BYTES_PER_NS;
    let span = if span > most { most } else { span };
    let key = owner::key();
    match ACCOUNTS.get_ptr_mut(key) {
        // SAFETY: a live per-CPU value. Where BPF programs are preemptible an addition may be lost, which a sample may.
        Some(account) => unsafe {
            (*account).timed += 1;
            (*account).timed_ns += span;
        },
        None => {
            let first = Account {
                timed: 1,
                timed_ns: span,
            };
            // Fails only for want of memory: then the process is not charged this time.
            let _ = ACCOUNTS.insert(key, first, 0);
        }
    }
    0
}

/// Looks whether what may be taken of the process has changed since the connection was last looked at. As [`charge`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn heed(connection: *mut Connection) -> u32 {
    // SAFETY: a live map value; the verifier checks that.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    let generation = match allowance() {
        // SAFETY: a live map value.
        Some(allowance) => unsafe { (*allowance).generation },
        None => 0,
    };
    if generation == connection.allowance {
        return 0;
    }
    if connection.mode == mode::LOWERED {
        judge_anew(connection);
    } else if is_captured(connection) {
        let weight = connection.weight;
        admit(connection);
        if connection.flags & flags::LEFT_OUT != 0 || connection.weight != weight {
            // Announced again, as one that was joined late: all that the agent knows of it stays true, but for what it stands for.
            connection.flags &= flags::LEFT_OUT;
        }
    }
    0
}

#[inline(always)]
fn allowance() -> Option<*mut Allowance> {
    ALLOWANCES.get_ptr_mut(owner::key())
}

/// Applies what may be taken of the process to a connection that is captured, or may be. As [`charge`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn admit(connection: *mut Connection) -> u32 {
    // SAFETY: a live map value; the verifier checks that.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    connection.weight = 0;
    let Some(allowance) = allowance() else {
        connection.allowance = 0;
        limit(connection, 0);
        return 0;
    };
    // SAFETY: a live map value. Two CPUs may draw at once and get the same lot, which changes no one's chances.
    unsafe {
        connection.allowance = (*allowance).generation;
        limit(connection, (*allowance).turn_bytes_max);
        let level = (*allowance).level;
        if level == Level::Sampled as u32 {
            if draw(allowance) {
                connection.weight = (*allowance).one_in as u8;
            } else {
                connection.flags |= flags::LEFT_OUT;
            }
        } else if level == Level::Detached as u32 {
            if is_captured(connection) {
                // The agent has to know, once.
                connection.flags |= flags::LEFT_OUT;
            } else {
                connection.mode = mode::LOWERED;
            }
        }
    }
    0
}

/// Whether it is captured, if only now and then.
#[inline(always)]
fn is_captured(connection: &Connection) -> bool {
    connection.mode == mode::CAPTURE || connection.mode == mode::RESTING
}

/// What is captured of each turn, but for connections that cannot be cut.
#[inline(always)]
fn limit(connection: &mut Connection, turn_bytes_max: u32) {
    if connection.turn_bytes_max != WHOLE_TURN {
        connection.turn_bytes_max = turn_bytes_max;
    }
}

/// Whether a connection is the one among `one_in` that is captured: of each row of so many exactly one, which one by chance.
///
/// # Safety
/// `allowance` must be a live map value.
#[inline(always)]
unsafe fn draw(allowance: *mut Allowance) -> bool {
    // SAFETY: by the caller; the helper has no arguments.
    unsafe {
        let one_in = (*allowance).one_in;
        if one_in < 2 {
            return true;
        }
        let drawn = (*allowance).drawn;
        if drawn == 0 {
            (*allowance).chosen = bpf_get_prandom_u32() % one_in;
        }
        (*allowance).drawn = if drawn + 1 >= one_in { 0 } else { drawn + 1 };
        drawn == (*allowance).chosen
    }
}
