//! The handshake of a TLS connection, out of what the source sends of it.

use agent_common::{Direction as Way, Role};
use protocol::tls::{Facts, Handshake};

use crate::source::Chunk;
use crate::tracker::connection::opposite;

/// RFC 8446 5.1: content type of a record that carries a handshake.
const HANDSHAKE: u8 = 22;
/// RFC 8446 4: type of a handshake message.
const CLIENT_HELLO: u8 = 1;
/// RFC 8446 4.
const SERVER_HELLO: u8 = 2;

/// Which way the client's bytes go, if these are the first ones of their way, as far as they tell.
fn way_of_client(way: Way, data: &[u8]) -> Option<Way> {
    match data {
        [HANDSHAKE, _, _, _, _, CLIENT_HELLO, ..] => Some(way),
        [HANDSHAKE, _, _, _, _, SERVER_HELLO, ..] => Some(opposite(way)),
        _ => None,
    }
}

/// What came of bytes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The facts may be others now.
    Read,
    /// Nothing is to be learnt from them.
    Needless,
    /// What came before them is missing, or nobody can tell which end they are of: the rest of their way is not read.
    Cut,
}

/// See the module's description.
#[derive(Debug)]
pub struct Hello {
    handshake: Handshake,
    /// Sequence numbers received and sent that come next; `None`: nothing of that way is read any more.
    next: [Option<u32>; 2],
    /// Which way the client's bytes go.
    client: Option<Way>,
}

impl Hello {
    /// Of a connection with these first sequence numbers.
    pub fn new(base: [u32; 2], role: Role) -> Self {
        let client = match role {
            Role::Client => Some(Way::Out),
            Role::Server => Some(Way::In),
            Role::Unknown => None,
        };
        Self {
            handshake: Handshake::default(),
            next: base.map(Some),
            client,
        }
    }

    /// Takes bytes. `base` as in [`Self::new`].
    pub fn take(&mut self, chunk: &Chunk<'_>, base: [u32; 2]) -> Heard {
        let way = chunk.direction;
        let [received, sent] = &mut self.next;
        let [first_received, first_sent] = base;
        let (next, first) = match way {
            Way::In => (received, first_received),
            Way::Out => (sent, first_sent),
        };
        let Some(expected) = *next else {
            return Heard::Needless;
        };
        if chunk.offset == first
            && let Some(client) = way_of_client(way, chunk.data)
        {
            // Who says hello first knows better than the kernel, which only knows who connected.
            self.client = Some(client);
        }
        let Some(client) = self.client.filter(|_| chunk.offset == expected) else {
            *next = None;
            return Heard::Cut;
        };
        let is_whole = chunk.data.len() == chunk.length as usize;
        *next = is_whole.then(|| expected.wrapping_add(chunk.length));
        if client == way {
            self.handshake.client(chunk.data);
        } else {
            self.handshake.server(chunk.data);
        }
        Heard::Read
    }

    /// Whether nothing that may come could say more.
    pub fn is_over(&self) -> bool {
        self.handshake.is_over() || self.next == [None; 2]
    }

    /// Whether a hello is longer than what is read of one.
    pub fn is_cut(&self) -> bool {
        self.handshake.is_cut()
    }

    /// Memory that its bytes take.
    pub fn bytes(&self) -> usize {
        self.handshake.bytes()
    }

    /// What is known by now.
    pub fn facts(&self) -> &Facts {
        self.handshake.facts()
    }
}
