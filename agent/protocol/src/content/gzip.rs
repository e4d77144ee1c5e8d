//! `gzip` (RFC 1952): members one after the other. The check at a member's end is not verified: what a client read is of
//! interest even where a strict one would refuse it.

use super::decoder::{StageState, Step};
use super::deflate::Inflate;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
/// Length of a member's fixed header, and of what stands behind its data.
const HEADER: u8 = 10;
const TRAILER: u8 = 8;

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

#[derive(Debug)]
pub(super) struct Gzip {
    place: Place,
    flags: u8,
    /// Members that were complete.
    members: u64,
    inflate: Inflate,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// So many bytes of the fixed header were read.
    Header(u8),
    /// Length of the extra field, low byte and high byte.
    ExtraLow,
    ExtraHigh(u8),
    /// So many bytes of the extra field are to come.
    Extra(u16),
    /// Zero-terminated.
    Name,
    Comment,
    /// So many bytes are to come.
    HeaderCrc(u8),
    Data,
    Trailer(u8),
    /// Behind the last member.
    Over,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Header(0),
            flags: 0,
            members: 0,
            inflate: Inflate::new(false),
        }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut step = self.framed(input);
        if step.state == StageState::Running && matches!(self.place, Place::Data) {
            let data = self
                .inflate
                .step(input.get(step.used..).unwrap_or_default(), output);
            step.used += data.used;
            step.written = data.written;
            step.state = data.state;
            if data.state == StageState::Ended {
                // The end may show without a byte taken or given: go on at once.
                self.place = Place::Trailer(TRAILER);
                let behind = self.framed(input.get(step.used..).unwrap_or_default());
                step.used += behind.used;
                step.state = behind.state;
            }
        }
        step
    }

    /// Takes what is no data.
    fn framed(&mut self, input: &[u8]) -> Step {
        let mut used = 0;
        let mut fits = true;
        while fits && !matches!(self.place, Place::Data | Place::Over) {
            let Some(&byte) = input.get(used) else {
                break;
            };
            used += 1;
            fits = self.framing(byte);
        }
        let state = match self.place {
            _ if !fits => StageState::Broken,
            Place::Over => StageState::Ended,
            Place::Header(0) if self.members > 0 => StageState::Complete,
            _ => StageState::Running,
        };
        Step {
            used,
            written: 0,
            state,
        }
    }

    /// Takes a byte of header or trailer. False: it is none.
    fn framing(&mut self, byte: u8) -> bool {
        self.place = match self.place {
            Place::Header(at) => return self.header(at, byte),
            Place::ExtraLow => Place::ExtraHigh(byte),
            Place::ExtraHigh(low) => self.behind_extra(u16::from_le_bytes([low, byte])),
            Place::Extra(rest) => self.behind_extra(rest.saturating_sub(1)),
            Place::Name if byte == 0 => self.behind_name(),
            Place::Comment if byte == 0 => self.behind_comment(),
            Place::HeaderCrc(2) => Place::HeaderCrc(1),
            Place::HeaderCrc(_) => Place::Data,
            Place::Trailer(rest) if rest > 1 => Place::Trailer(rest - 1),
            Place::Trailer(_) => {
                self.members = self.members.saturating_add(1);
                self.inflate.reset();
                Place::Header(0)
            }
            place @ (Place::Name | Place::Comment | Place::Data | Place::Over) => place,
        };
        true
    }

    fn header(&mut self, at: u8, byte: u8) -> bool {
        let fits = match at {
            0 | 1 => MAGIC.get(usize::from(at)) == Some(&byte),
            2 => byte == DEFLATE,
            3 => {
                self.flags = byte;
                byte & FLAGS_RESERVED == 0
            }
            _ => true,
        };
        if !fits {
            // Behind a member, anything but another one is padding.
            self.place = Place::Over;
            return self.members > 0;
        }
        self.place = if at + 1 < HEADER {
            Place::Header(at + 1)
        } else if self.flags & FLAG_EXTRA != 0 {
            Place::ExtraLow
        } else {
            self.behind_extra(0)
        };
        true
    }

    fn behind_extra(&self, rest: u16) -> Place {
        if rest > 0 {
            Place::Extra(rest)
        } else if self.flags & FLAG_NAME != 0 {
            Place::Name
        } else {
            self.behind_name()
        }
    }

    fn behind_name(&self) -> Place {
        if self.flags & FLAG_COMMENT != 0 {
            Place::Comment
        } else {
            self.behind_comment()
        }
    }

    fn behind_comment(&self) -> Place {
        if self.flags & FLAG_HEADER_CRC != 0 {
            Place::HeaderCrc(2)
        } else {
            Place::Data
        }
    }
}
