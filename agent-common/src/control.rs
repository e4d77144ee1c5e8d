//! What user space tells the programs: settings, filters, and orders about single connections.

use core::mem::size_of;

use crate::Direction;

/// Values of the settings map's only entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// Goes up when filters change: connections that a filter left out are looked at again.
    pub epoch: u32,
    /// Bytes captured of each turn (bytes one end sends before the other answers). «Headers only» is a small value.
    pub turn_bytes_max: u32,
    /// Not 0: capture only what an include filter names.
    pub include_only: u32,
    /// Zero.
    pub reserved: u32,
}

/// What a filter entry does. Exclusion wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FilterAction {
    /// Capture.
    Include = 1,
    /// Do not capture.
    Exclude = 2,
}

/// What user space wants of one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// Capture all of each turn, whatever [`Settings::turn_bytes_max`] says.
    Full = 0,
    /// Capture, up to `argument` bytes of each turn.
    Limited = 1,
    /// Skip until the sequence number `argument` (less than 2^31 ahead), then as before.
    SkipTo = 2,
    /// Nothing more of this connection, either direction.
    Ignore = 3,
    /// Nothing more of this connection, either direction, as long as [`Settings::epoch`] is `argument`. After that, also where the
    /// order comes too late, the connection is judged and announced anew.
    LeaveOut = 4,
    /// Say where the connection stands, once: a [`CloseRecord`](crate::CloseRecord) that goes on.
    Report = 5,
    /// Given about the direction that carries requests, of a connection whose turns are one exchange each (HTTP/1.1 without pipelining,
    /// interim responses and upgrades): from the next turn of this direction on capture one exchange in `argument`, by chance, and
    /// nothing of the others. 0 and 1: all again. What is captured tells how many exchanges it stands for
    /// ([`ChunkHeader::stands_for`](crate::ChunkHeader)), and the end of the connection how many there were behind it
    /// ([`CloseRecord::rested`](crate::CloseRecord)): together all of them, exactly.
    ///
    /// Other orders are obeyed when the next exchange begins.
    Rest = 6,
}

/// Largest argument of [`Mode::Rest`]; a larger one is this one.
pub const REST_EVERY_MAX: u32 = 1 << 16;

/// An order about one direction of one connection, in the array that both sides index by [`control_slot`].
///
/// Slots are shared by hash: a newer order may overwrite an older one of another connection, which then captures more than
/// it had to; that costs, and loses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ControlSlot {
    /// [`Mode`] in the high half, argument in the low half. Before `key`, so that a reader that sees the key sees the order.
    pub order: u64,
    /// [`ControlSlot::key`] of the connection and direction, 0 for a free slot.
    pub key: u64,
}

/// Entries of the control array.
pub const CONTROL_SLOTS: u32 = 1 << 15;

impl ControlSlot {
    /// The order in its slot form.
    #[must_use]
    pub const fn new(connection: u64, direction: Direction, mode: Mode, argument: u32) -> Self {
        Self {
            order: (mode as u64) << 32 | argument as u64,
            key: Self::key(connection, direction),
        }
    }

    /// What names a direction of a connection. Never 0: cookies begin at 1.
    #[must_use]
    pub const fn key(connection: u64, direction: Direction) -> u64 {
        connection << 1 | direction as u64
    }
}

/// Index of a direction of a connection in the control array.
#[must_use]
pub const fn control_slot(connection: u64, direction: Direction) -> u32 {
    (ControlSlot::key(connection, direction) as u32) & (CONTROL_SLOTS - 1)
}

const _: () = {
    assert!(size_of::<Settings>() == 16);
    assert!(size_of::<ControlSlot>() == 16);
};
