//! Whether a connection may be captured at all: by process, cgroup, port, and never the agent's own.

use agent_common::{FilterAction, Settings, Tuple};
use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;

use crate::{
    kernel::{
        AF_INET, OFF_SK_DADDR, OFF_SK_DPORT, OFF_SK_FAMILY, OFF_SK_NUM, OFF_SK_RCV_SADDR, OFF_SK_V6_DADDR,
        OFF_SK_V6_RCV_SADDR, Socket,
    },
    maps::{FILTER_CGROUPS, FILTER_PIDS, FILTER_PORTS, OWN_PEERS, SETTINGS},
    owner,
};

/// What the filters say of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// Capture it.
    Wanted,
    /// Leave it out.
    Unwanted,
    /// One end of it is the agent.
    Own,
}

/// The settings, or the defaults of a map that was not filled.
#[inline(always)]
pub fn settings() -> Settings {
    match SETTINGS.get(0) {
        Some(settings) => *settings,
        None => Settings {
            epoch: 0,
            turn_bytes_max: 0,
            include_only: 0,
            reserved: 0,
        },
    }
}

/// Writes the addresses of a socket into `tuple`; IPv4 as v4-mapped.
///
/// # Safety
/// `tuple` must be valid for writes; it may be uninitialised.
#[inline(always)]
pub unsafe fn write_tuple<const TRUSTED: bool>(socket: Socket<TRUSTED>, tuple: *mut Tuple) {
    let family: u16 = socket.field(OFF_SK_FAMILY.load());
    let local_port: u16 = socket.field(OFF_SK_NUM.load());
    let remote_port: u16 = socket.field(OFF_SK_DPORT.load());
    let (local, remote) = if family == AF_INET {
        let local: u32 = socket.field(OFF_SK_RCV_SADDR.load());
        let remote: u32 = socket.field(OFF_SK_DADDR.load());
        let mapped = |address: u32| [0_u32, 0, u32::to_be(0xffff), address];
        (mapped(local), mapped(remote))
    } else {
        // Loaded as words: the verifier allows no 16-byte load.
        let words = |offset: u32| -> [u32; 4] {
            [
                socket.field(offset),
                socket.field(offset + 4),
                socket.field(offset + 8),
                socket.field(offset + 12),
            ]
        };
        (words(OFF_SK_V6_RCV_SADDR.load()), words(OFF_SK_V6_DADDR.load()))
    };
    // SAFETY: by the caller. The tuple is four-byte aligned nowhere by contract, so the words are stored unaligned.
    unsafe {
        (&raw mut (*tuple).local)
            .cast::<[u32; 4]>()
            .write_unaligned(local);
        (&raw mut (*tuple).remote)
            .cast::<[u32; 4]>()
            .write_unaligned(remote);
        (*tuple).local_port = local_port;
        (*tuple).remote_port = u16::from_be(remote_port);
    }
}

/// Judges a connection, in the context of the process that uses it. A [`Verdict`] as a number.
#[inline(never)]
pub fn judge<const TRUSTED: bool>(socket: Socket<TRUSTED>, include_only: u32) -> u32 {
    if owner::is_self() {
        return Verdict::Own as u32;
    }
    let mut tuple = Tuple {
        local: [0; 16],
        remote: [0; 16],
        local_port: 0,
        remote_port: 0,
    };
    // SAFETY: a local.
    unsafe { write_tuple(socket, &raw mut tuple) };
    // SAFETY: what the look-ups give is copied at once.
    let of_ports = unsafe {
        if OWN_PEERS.get(tuple).is_some() {
            return Verdict::Own as u32;
        }
        FILTER_PORTS.get(tuple.local_port).copied().unwrap_or(0)
            | FILTER_PORTS.get(tuple.remote_port).copied().unwrap_or(0)
    };
    weigh(of_ports, include_only)
}

/// The verdict by what filters say of the ports, and of the process that runs.
#[inline(always)]
pub fn weigh(of_ports: u8, include_only: u32) -> u32 {
    // SAFETY: what the look-ups give is copied at once.
    let actions = unsafe {
        of_ports
            | FILTER_PIDS.get(owner::pid()).copied().unwrap_or(0)
            | FILTER_CGROUPS
                .get(bpf_get_current_cgroup_id())
                .copied()
                .unwrap_or(0)
    };
    let excluded = actions & FilterAction::Exclude as u8 != 0;
    let left_out = include_only != 0 && actions & FilterAction::Include as u8 == 0;
    if excluded || left_out {
        Verdict::Unwanted as u32
    } else {
        Verdict::Wanted as u32
    }
}
