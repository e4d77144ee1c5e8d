//! What the tracker is told of a connection.

use agent_common::{Direction as Way, Role, Tuple, chunk_flags};

use super::{Env, Flow, other};
use crate::attribution::ProcessHint;
use crate::source::pcap::stream::Piece;
use crate::source::{Chunk, Close, Event, Open};

impl Flow {
    fn announce<O: FnMut(&Event<'_>)>(&mut self, time_ns: u64, env: &mut Env<'_, O>) {
        let Some((client, _)) = self.client else {
            return;
        };
        self.announced = true;
        env.counters.connections += 1;
        let [low, high] = self.ends;
        let (remote, local) = if client == 0 { (low, high) } else { (high, low) };
        // Both begins must be known: an end whose handshake was not seen may have been heard in the middle.
        let handshake = self.syn.iter().any(Option::is_some);
        let begin = |end: usize| self.stream_of(end).began().map(|place| place as u32);
        let base = begin(client)
            .zip(begin(other(client)))
            .filter(|_| handshake)
            .map(|(client, server)| [client, server]);
        env.counters.connections_late += u64::from(base.is_none());
        (env.out)(&Event::Open(Open {
            connection: self.id,
            time_ns,
            role: Role::Server,
            base,
            tuple: Tuple {
                local: local.octets(),
                remote: remote.octets(),
                local_port: local.port,
                remote_port: remote.port,
            },
            owner: ProcessHint::default(),
            unix: None,
            session: None,
            weight: 1,
            left_out: false,
        }));
    }

    pub(super) fn deliver<O: FnMut(&Event<'_>)>(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        env: &mut Env<'_, O>,
    ) {
        let flags = if piece.data.len() < piece.length as usize {
            chunk_flags::CAPPED
        } else {
            0
        };
        env.counters.bytes += piece.data.len() as u64;
        self.emit(from, piece, flags, env);
    }

    pub(super) fn emit<O: FnMut(&Event<'_>)>(
        &mut self,
        from: usize,
        piece: &Piece<'_>,
        flags: u8,
        env: &mut Env<'_, O>,
    ) {
        self.reconsider(from, piece, env);
        if !self.announced {
            self.announce(piece.time_ns, env);
        }
        let Some((client, _)) = self.client else {
            return;
        };
        let turn = if self.turn == Some(from) {
            0
        } else {
            chunk_flags::TURN_START
        };
        self.turn = Some(from);
        (env.out)(&Event::Chunk(Chunk {
            connection: self.id,
            time_ns: piece.time_ns,
            direction: if from == client { Way::In } else { Way::Out },
            flags: flags | turn,
            reason: None,
            pid: 0,
            stands_for: 0,
            offset: piece.place as u32,
            length: piece.length,
            data: piece.data,
        }));
    }

    /// Tells the tracker that it has ended.
    pub(super) fn close<O: FnMut(&Event<'_>)>(&mut self, time_ns: u64, env: &mut Env<'_, O>) {
        let Some((client, _)) = self.client.filter(|_| self.announced) else {
            return;
        };
        self.announced = false;
        self.turn = None;
        let end = [client, other(client)].map(|end| self.stream_of(end).next().map_or(0, |next| next as u32));
        (env.out)(&Event::Close(Close {
            connection: self.id,
            time_ns,
            end,
            ..Close::default()
        }));
    }
}
