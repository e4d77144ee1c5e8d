//! Small scattered buffers, gathered in one record: a head and a body written at once, say. The traced call costs as much as with a
//! record for each part (reading the user's memory part by part dominates), but the agent has one record to handle instead of several.

use agent_common::{ChunkHeader, Counter, chunk_flags};
use aya_ebpf::helpers::{bpf_probe_read_user, generated};

use crate::{
    count::count,
    emit::{NO_WAKEUP, Piece, describe, turn_away},
    maps::EVENTS,
};

/// Bytes below which scattered buffers are gathered.
pub const GATHERED_BYTES_MAX: u32 = 2048;
/// Parts that are gathered; the verifier walks each.
pub const PARTS_MAX: u64 = 6;

/// Where the parts lie.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Scattered {
    /// The record; `address` is that of the first part, `bytes` less than [`GATHERED_BYTES_MAX`].
    pub piece: Piece,
    /// Bytes in the first part.
    pub available: u64,
    /// iovecs of the other parts, in user memory.
    pub vector: u64,
    /// How many.
    pub vector_length: u64,
}

/// `N`: a power of two above the number of bytes. Twice as much is reserved: place and length of a part are each below `N`, which is all
/// that the verifier has to know.
#[inline(always)]
fn fill<const N: usize>(parts: &Scattered) -> bool {
    let Some(mut record) = EVENTS.reserve_bytes(size_of::<ChunkHeader>() + 2 * N, 0) else {
        return false;
    };
    let start = record.as_mut_ptr();
    let header = start.cast::<ChunkHeader>();
    let most = N as u64 - 1;
    let wanted = u64::from(parts.piece.bytes);
    let mut done = 0_u64;
    let mut fault = false;
    // SAFETY: the reservation holds a header (ring records are eight-byte aligned) and 2 N bytes; the helpers check user addresses.
    unsafe {
        describe(header, &parts.piece);
        let payload = start.add(size_of::<ChunkHeader>());
        let mut address = parts.piece.address;
        let mut available = parts.available;
        let mut vector = parts.vector;
        let mut others = parts.vector_length;
        for _ in 0..PARTS_MAX {
            let left = wanted.saturating_sub(done);
            let bytes = if available < left { available } else { left };
            // Clamped, hidden from the optimiser, then masked: the form of a bound that the verifiers of all kernels accept.
            let bytes = core::hint::black_box(if bytes > most { most } else { bytes }) & most;
            let place = core::hint::black_box(if done > most { most } else { done }) & most;
            let to = payload.add(place as usize).cast();
            if generated::bpf_probe_read_user(to, bytes as u32, address as *const _) != 0 {
                fault = true;
                break;
            }
            done += bytes;
            if done >= wanted || others == 0 {
                break;
            }
            let Ok(next) = bpf_probe_read_user(vector as *const [u64; 2]) else {
                fault = true;
                break;
            };
            address = next[0];
            available = next[1];
            vector += 16;
            others -= 1;
        }
        let captured = if done > most { most } else { done };
        (*header).captured = captured as u32;
        count(Counter::Captured, captured);
        if captured < wanted {
            (*header).flags |= chunk_flags::FAULT;
            count(
                if fault {
                    Counter::Fault
                } else {
                    Counter::TooManyParts
                },
                wanted - captured,
            );
        }
    }
    record.submit(NO_WAKEUP);
    true
}

/// Sends scattered bytes as one record, or counts them as lost. Always 0. Global, as [`crate::emit::send_piece`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_scattered(parts: *const Scattered) -> u32 {
    // SAFETY: every caller passes a whole value; the verifier checks that.
    let Some(parts) = (unsafe { parts.as_ref() }) else {
        return 0;
    };
    let sent = match parts.piece.bytes {
        0..512 => fill::<512>(parts),
        512..1024 => fill::<1024>(parts),
        _ => fill::<{ GATHERED_BYTES_MAX as usize }>(parts),
    };
    if !sent {
        turn_away(&raw const parts.piece);
    }
    0
}
