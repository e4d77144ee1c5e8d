//! Handshake messages of one direction (RFC 8446 4), read while they come.

use super::Facts;
use super::records::{Next, Records};

/// Most bytes of a hello that are kept, header included. Those of clients have 200 to 2,500, key shares of post-quantum groups and
/// tickets included; of a longer one only what comes before is read, and it has no fingerprint.
pub const HELLO_BYTES_MAX: usize = 1 << 14;

/// Type and length.
const HEADER_BYTES: usize = 4;

/// What to do after a hello was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It needs more of the message.
    More,
    /// Another message of the kind follows.
    Again,
    /// Nothing more is of interest.
    Over,
    /// It says more than is kept.
    Cut,
}

/// A kind of hello.
pub(super) trait Hello: Default {
    /// Number of the message type.
    const TYPE: u8;

    /// Reads on; `body` is the message from its begin on, without header, as far as it came, and with `is_whole` to its end.
    fn read(&mut self, body: &[u8], is_whole: bool, facts: &mut Facts) -> Step;

    /// Bytes that are kept of it besides the message: no more than the message has.
    fn bytes(&self) -> usize;
}

/// The hellos of one direction.
#[derive(Debug, Default)]
pub(super) struct Messages<H> {
    records: Records,
    /// The message that is being read, header included.
    message: Vec<u8>,
    hello: H,
    is_over: bool,
    is_cut: bool,
}

impl<H: Hello> Messages<H> {
    /// Takes the next bytes of the stream.
    pub fn take(&mut self, mut bytes: &[u8], facts: &mut Facts) {
        while !self.is_over {
            match self.records.next(&mut bytes) {
                Next::Handshake(part) => self.part(part, facts),
                Next::Nothing => return,
                Next::Over => self.end(),
            }
        }
    }

    /// Whether nothing that may come could say more.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a hello was too long to be kept whole.
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.message.capacity() + self.hello.bytes()
    }

    fn end(&mut self) {
        self.is_over = true;
        self.message = Vec::new();
        self.hello = H::default();
    }

    fn part(&mut self, mut part: &[u8], facts: &mut Facts) {
        while !self.is_over && !part.is_empty() {
            let (_, wanted) = self.header().unwrap_or((H::TYPE, HEADER_BYTES));
            let missing = wanted.min(HELLO_BYTES_MAX).saturating_sub(self.message.len());
            let (taken, rest) = part.split_at(missing.min(part.len()));
            self.grow(taken.len());
            self.message.extend_from_slice(taken);
            part = rest;
            let Some((kind, wanted)) = self.header() else {
                continue;
            };
            if kind != H::TYPE {
                return self.end();
            }
            self.hello(wanted, facts);
        }
    }

    /// Makes room for so many bytes, and for as many again as there are, but not beyond the limit.
    fn grow(&mut self, more: usize) {
        let len = self.message.len();
        if self.message.capacity() - len < more {
            let ahead = len.min(HELLO_BYTES_MAX.saturating_sub(len));
            self.message.reserve_exact(more.max(ahead));
        }
    }

    /// Type, and length with the header.
    fn header(&self) -> Option<(u8, usize)> {
        let [kind, length @ ..] = self.message.first_chunk::<HEADER_BYTES>()?;
        let [high, middle, low] = *length;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        Some((*kind, length + HEADER_BYTES))
    }

    fn hello(&mut self, wanted: usize, facts: &mut Facts) {
        let is_whole = self.message.len() == wanted;
        let body = self.message.get(HEADER_BYTES..).unwrap_or_default();
        match self.hello.read(body, is_whole, facts) {
            Step::Over => self.end(),
            Step::Again => {
                self.message.clear();
                self.hello = H::default();
            }
            Step::More if self.message.len() < HELLO_BYTES_MAX => {}
            Step::More | Step::Cut => {
                self.is_cut = true;
                self.end();
            }
        }
    }
}
