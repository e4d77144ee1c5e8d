//! How a connection begins to be read: where its streams begin, and which end is the client.

use protocol::{StartLine, looks_like};

use super::holes::GRACE_NS;
use super::{Belongs, Env, Flow, Phase, other};
use crate::source::Event;
use crate::source::pcap::stream::{Piece, Stream};
use crate::source::pcap::tcp::Segment;

/// Packets after which a connection whose begin is not in the capture is taken as it is.
pub const JOIN_PACKETS: u64 = 8;
/// Ports from here on are what systems give to clients.
const CLIENT_PORTS: u16 = 32768;

/// How it is known who is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sure {
    /// From the handshake, or a start line.
    Yes,
    /// From the ports.
    Guess,
}

impl Flow {
    /// A SYN: the begin of this connection, or of the next one.
    pub(super) fn synchronise(&mut self, from: usize, segment: &Segment<'_>) -> Belongs {
        let known = self.syn_of(from);
        let answers = segment
            .acknowledged
            .is_some_and(|acknowledged| self.syn_of(other(from)) == Some(acknowledged.wrapping_sub(1)));
        let stream = self.stream_of(from);
        let begins = stream.began() == Some(stream.place(segment.sequence.wrapping_add(1)));
        if known == Some(segment.sequence) || (self.phase != Phase::Joining && (answers || begins)) {
            return Belongs::Yes;
        }
        if known.is_some() || self.phase != Phase::Joining {
            return Belongs::ToNext;
        }
        self.synchronised(from, segment.sequence);
        if let Some(acknowledged) = segment.acknowledged {
            self.client = Some((other(from), Sure::Yes));
            let expected = acknowledged.wrapping_sub(1);
            if self.syn_of(other(from)).is_none() {
                self.synchronised(other(from), expected);
            }
        } else {
            self.client.get_or_insert((from, Sure::Yes));
        }
        Belongs::Yes
    }

    fn synchronised(&mut self, end: usize, sequence: u32) {
        if let Some(syn) = self.syn.get_mut(end) {
            *syn = Some(sequence);
        }
        let stream = self.stream(end);
        let place = stream.place(sequence.wrapping_add(1));
        stream.begin(place);
    }

    /// Begins to read once it is known where the streams begin and who is the client; with `now`, as well as can be told.
    pub(super) fn try_join<O: FnMut(&Event<'_>)>(&mut self, now: bool, env: &mut Env<'_, O>) {
        let waited = self.packets >= JOIN_PACKETS || env.now_ns.saturating_sub(self.begun_ns) >= GRACE_NS;
        let known = self.streams.iter().all(Stream::begun);
        if !known && !waited && !now {
            return;
        }
        let silent = self.streams.iter().all(|stream| stream.first_held().is_none());
        if silent && !known {
            return;
        }
        // Of an end that is not heard the other one's first acknowledgement tells where its stream begins.
        for end in [0, 1] {
            let stream = self.stream(end);
            if let Some(first) = stream.first_known().filter(|_| !stream.begun()) {
                stream.begin(first);
            }
        }
        if self.client.is_none() {
            self.client = Some(self.client_by_bytes().unwrap_or_else(|| self.client_by_ports()));
        }
        self.phase = Phase::Open;
        for end in [0, 1] {
            self.watch(end, env.now_ns);
        }
        self.drain(env);
    }

    fn client_by_bytes(&self) -> Option<(usize, Sure)> {
        let held = |end: usize| {
            self.stream_of(end)
                .held()
                .map(move |held| (held.arrival, end, held))
        };
        let mut held: Vec<_> = held(0).chain(held(1)).collect();
        held.sort_unstable_by_key(|(arrival, ..)| *arrival);
        held.into_iter()
            .find_map(|(_, end, held)| client_said(end, &held.data))
            .map(|client| (client, Sure::Yes))
    }

    fn client_by_ports(&self) -> (usize, Sure) {
        let [low, high] = self.ends.map(|end| (end.port >= CLIENT_PORTS, end.port));
        (usize::from(high > low), Sure::Guess)
    }

    /// The ports said who is the client; a start line knows better.
    pub(super) fn reconsider<O: FnMut(&Event<'_>)>(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        env: &mut Env<'_, O>,
    ) {
        if let Some((guess, Sure::Guess)) = self.client
            && let Some(client) = client_said(from, piece.data)
        {
            if client != guess {
                self.close(piece.time_ns, env);
            }
            self.client = Some((client, Sure::Yes));
        }
    }
}

/// Who is the client, if these bytes say so.
fn client_said(from: usize, data: &[u8]) -> Option<usize> {
    match looks_like(data) {
        StartLine::Request | StartLine::Http2Preface | StartLine::ProxyHeader => Some(from),
        StartLine::Response => Some(other(from)),
        StartLine::Neither | StartLine::TooShort => None,
    }
}
