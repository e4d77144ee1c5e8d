//! Conversations as the programs would report them, and a tracker that reads them.

mod books;
mod filters;
mod http2;
mod joining;
mod laws;
mod limits;
mod lives;
mod lowering;
mod memory;
mod mending;
mod orders;
mod rests;
mod silence;
mod tls;
mod tls_ledger;
mod unix;

use std::sync::Arc;

use agent_common::{Direction as Way, Tuple};

use super::exclusion::EXCLUDED_CHECK_NS;
use super::judge::Verdict;
use super::*;
use crate::attribution::{ExecFacts, Options, Process, ProcessHint};
use crate::source::{Session, Unix};

/// Time between two records.
const STEP_NS: u64 = 1_000;
pub const IDLE_NS: u64 = 3_600_000_000_000;

/// An event that owns its bytes.
#[derive(Clone, Debug)]
pub enum Record {
    Open(Open),
    Chunk(Chunk<'static>, Vec<u8>),
    TlsOpen(Open),
    TlsHello(Chunk<'static>, Vec<u8>),
    Report(Close),
    Close(Close),
}

impl Record {
    pub fn event(&self) -> Event<'_> {
        match self {
            Self::Open(open) => Event::Open(open.clone()),
            Self::Chunk(chunk, data) => Event::Chunk(Chunk { data, ..*chunk }),
            Self::TlsOpen(open) => Event::TlsOpen(open.clone()),
            Self::TlsHello(chunk, data) => Event::TlsHello(Chunk { data, ..*chunk }),
            Self::Report(report) => Event::Report(*report),
            Self::Close(close) => Event::Close(*close),
        }
    }

    pub fn connection(&self) -> u64 {
        match self {
            Self::Open(open) | Self::TlsOpen(open) => open.connection,
            Self::Chunk(chunk, _) | Self::TlsHello(chunk, _) => chunk.connection,
            Self::Report(close) | Self::Close(close) => close.connection,
        }
    }
}

/// One end of a connection: what the programs remember of it.
#[derive(Clone, Debug)]
pub struct Socket {
    pub id: u64,
    pub role: Role,
    pub fresh: bool,
    pub tuple: Tuple,
    pub unix: Option<Unix>,
    pub session: Option<Session>,
    pub owner: ProcessHint,
    pub pid: u32,
    next: [u32; 2],
    base: [u32; 2],
    moved: [u64; 2],
    turn: Option<Way>,
    opened: bool,
}

pub fn hint(pid: u32, comm: &str) -> ProcessHint {
    let mut padded = [0; 16];
    padded[..comm.len()].copy_from_slice(comm.as_bytes());
    ProcessHint {
        pid,
        start_ns: u64::from(pid) * 1_000_000_000,
        netns: 1,
        comm: padded,
        ..ProcessHint::default()
    }
}

fn v4(last: u8) -> [u8; 16] {
    std::net::Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped().octets()
}

impl Socket {
    fn new(id: u64, role: Role, tuple: Tuple, owner: ProcessHint) -> Self {
        // Sequence numbers wrap early in the conversation.
        let base = [u32::MAX - 40, u32::MAX - 25];
        Self {
            id,
            role,
            fresh: true,
            tuple,
            unix: None,
            session: None,
            pid: owner.pid,
            owner,
            next: base,
            base,
            moved: [0; 2],
            turn: None,
            opened: false,
        }
    }

    pub fn open(&self, time_ns: u64) -> Record {
        Record::Open(Open {
            connection: self.id,
            time_ns,
            role: self.role,
            base: self.fresh.then_some(self.base),
            tuple: self.tuple,
            owner: self.owner,
            unix: self.unix.clone(),
            session: self.session,
            weight: 1,
            left_out: false,
        })
    }

    /// A record of `length` stream bytes of which `data` was captured.
    pub fn chunk(&mut self, way: Way, data: &[u8], length: usize, flags: u8, time_ns: u64) -> Record {
        let turn = self.turn != Some(way);
        self.turn = Some(way);
        let offset = self.next[way as usize];
        self.next[way as usize] = offset.wrapping_add(length as u32);
        self.moved[way as usize] += length as u64;
        let chunk = Chunk {
            connection: self.id,
            time_ns,
            direction: way,
            flags: flags | if turn { chunk_flags::TURN_START } else { 0 },
            reason: None,
            pid: self.pid,
            stands_for: 0,
            offset,
            length: length as u32,
            data: &[],
        };
        Record::Chunk(chunk, data.to_vec())
    }

    /// Bytes that went over the socket.
    pub fn moved(&self, way: Way) -> u64 {
        self.moved[way as usize]
    }

    /// Bytes that are not reported at all.
    pub fn pass_over(&mut self, way: Way, length: usize) {
        self.moved[way as usize] += length as u64;
        self.next[way as usize] = self.next[way as usize].wrapping_add(length as u32);
    }

    pub fn close(&self, time_ns: u64) -> Record {
        Record::Close(Close {
            connection: self.id,
            time_ns,
            end: self.next,
            ..Close::default()
        })
    }
}

/// A connection of which both ends are on this node, 10.0.0.1 to 10.0.0.2, port 80.
#[derive(Clone, Debug)]
pub struct Talk {
    pub client: Socket,
    pub server: Socket,
    pub records: Vec<Record>,
    pub time_ns: u64,
}

impl Talk {
    /// The `n`th; ids, ports and time follow from that.
    pub fn new(n: u16) -> Self {
        let to_server = Tuple {
            local: v4(1),
            remote: v4(2),
            local_port: 40_000 + n,
            remote_port: 80,
        };
        let to_client = Tuple {
            local: v4(2),
            remote: v4(1),
            local_port: 80,
            remote_port: 40_000 + n,
        };
        let id = 10 * u64::from(n);
        Self {
            client: Socket::new(id + 1, Role::Client, to_server, hint(100, "shop")),
            server: Socket::new(id + 2, Role::Server, to_client, hint(200, "stock")),
            records: Vec::new(),
            time_ns: 1_000_000 * u64::from(n + 1),
        }
    }

    /// Bytes that one end writes in `pieces` and the other reads in as many others.
    pub fn say(&mut self, from_client: bool, data: impl AsRef<[u8]>, pieces: usize) -> &mut Self {
        let data = data.as_ref();
        let (writer, reader) = if from_client {
            (&mut self.client, &mut self.server)
        } else {
            (&mut self.server, &mut self.client)
        };
        let written = data.chunks(data.len().div_ceil(pieces.max(1)).max(1));
        let read = data.chunks(data.len().div_ceil(pieces.max(1) + 1).max(1));
        for (socket, way, parts) in [(writer, Way::Out, written), (reader, Way::In, read)] {
            for part in parts {
                self.time_ns += STEP_NS;
                if !std::mem::replace(&mut socket.opened, true) {
                    self.records.push(socket.open(self.time_ns));
                }
                let record = socket.chunk(way, part, part.len(), 0, self.time_ns);
                self.records.push(record);
            }
        }
        self
    }

    /// A request that can be told from all others, and its answer.
    pub fn call(&mut self, name: &str, pieces: usize) -> &mut Self {
        let body = "b".repeat(name.len() * 7);
        let length = body.len();
        self.say(
            true,
            format!("POST /{name} HTTP/1.1\r\nHost: stock\r\nContent-Length: {length}\r\n\r\n{body}"),
            pieces,
        )
        .say(
            false,
            format!("HTTP/1.1 201 Created\r\nX-Name: {name}\r\nContent-Length: {length}\r\n\r\n{body}"),
            pieces,
        )
    }

    pub fn close(&mut self) -> &mut Self {
        self.time_ns += STEP_NS;
        self.records.push(self.client.close(self.time_ns));
        self.records.push(self.server.close(self.time_ns));
        self
    }

    /// Only what one end reported.
    pub fn of(&self, socket: &Socket) -> Vec<Record> {
        let of_socket = |record: &&Record| record.connection() == socket.id;
        self.records.iter().filter(of_socket).cloned().collect()
    }
}

/// A tracker without a kernel.
pub struct Desk {
    pub tracker: Tracker,
    pub attribution: Attribution,
    pub calls: Vec<Call>,
    pub now_ns: u64,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(1000, FilterPolicy::default())
    }

    pub fn with(connections: usize, filter: FilterPolicy) -> Self {
        let limits = Limits {
            connections,
            idle_ns: IDLE_NS,
            http: protocol::Limits::default(),
            parser_bytes: PARSER_BYTES_MAX,
            reconcile_ns: RECONCILE_S * 1_000_000_000,
            rests: true,
        };
        let nowhere = Options {
            proc_root: "/nowhere".into(),
            cgroup_root: "/nowhere".into(),
            state_root: "/nowhere".into(),
            passwd: "/nowhere".into(),
            ..Options::default()
        };
        Self {
            tracker: Tracker::new(limits, filter),
            attribution: Attribution::new(nowhere),
            calls: Vec::new(),
            now_ns: 0,
        }
    }

    pub fn take(&mut self, event: &Event<'_>) -> &mut Self {
        let calls = &mut self.calls;
        let out = &mut |call| calls.push(call);
        self.tracker
            .handle(event, &mut self.attribution, self.now_ns, out);
        self
    }

    pub fn play<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) -> &mut Self {
        for record in records {
            self.take(&record.event());
        }
        self
    }

    /// Ends a round of draining, `after_ns` later.
    pub fn tick(&mut self, after_ns: u64) -> &mut Self {
        self.now_ns += after_ns;
        let calls = &mut self.calls;
        self.tracker.tick(self.now_ns, &mut |call| calls.push(call));
        self
    }

    pub fn finish(&mut self) -> &mut Self {
        let calls = &mut self.calls;
        self.tracker.finish_all(self.now_ns, &mut |call| calls.push(call));
        self
    }

    /// `SIDE CLIENT>SERVER TARGET STATUS FLAGS`.
    pub fn lines(&self) -> Vec<String> {
        self.calls.iter().map(line).collect()
    }

    pub fn exec(&mut self, pid: u32, file: &str) -> &mut Self {
        self.take(&Event::Exec(ExecFacts {
            hint: hint(pid, "x"),
            filename: file.as_bytes().to_vec(),
            args: format!("{file}\0").into_bytes(),
        }))
    }
}

pub fn line(call: &Call) -> String {
    let exchange = &call.exchange;
    let name = |process: Option<&Arc<Process>>| process.map_or("-", |p| p.workload.name.as_str()).to_owned();
    let (client, server) = match call.side {
        Side::Server => (call.peer.as_ref(), Some(&call.process)),
        Side::Client => (Some(&call.process), call.peer.as_ref()),
    };
    let status = exchange
        .response
        .as_ref()
        .map_or("-".to_owned(), |response| response.status.to_string());
    let mut line = format!(
        "{:?} {}>{} {} {status}",
        call.side,
        name(client),
        name(server),
        String::from_utf8_lossy(&exchange.request.target),
    );
    for flag in exchange.flags.names() {
        line.push(' ');
        line.push_str(flag);
    }
    line
}
