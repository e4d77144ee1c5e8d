//! Programs with limits of the test's choosing, loaded by the test itself, and a process whose traffic they see.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use agent_common::{Counter, Direction, Settings};
use eastwatch_agent::loader::{Btf, LoadError, Loaded, Options, Provider, load};
use eastwatch_agent::source::{Event, ebpf};

/// Takes whatever goes on on this machine meanwhile.
const RING_BYTES: u32 = 64 << 20;

/// Of the request that the process sends first over each connection.
pub const REQUEST_BYTES: u64 = b"GET /limits HTTP/1.1\r\nHost: limits\r\n\r\n".len() as u64;

/// What is counted of something that other processes do as well is right when it is so once.
const ATTEMPTS_MAX: u32 = 10;

/// As an agent loads them.
pub fn options(provider: Provider) -> Options {
    let settings = Settings {
        epoch: 1,
        turn_bytes_max: 64 << 10,
        include_only: 0,
        reserved: 0,
    };
    Options::new(provider.into(), RING_BYTES, settings)
}

/// Does it until the figures that it gives are equal: the second counts others' doings too, so it may be more, and never less.
pub fn until_equal(what: &str, mut attempt: impl FnMut() -> (u64, u64)) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let (own, counted) = attempt();
        println!("{what}: {own}, counted {counted}");
        assert!(
            own <= counted,
            "{what}: {own}, of which only {counted} were counted"
        );
        if own == counted {
            return;
        }
        seen.push((own, counted));
    }
    panic!("{what} and what was counted: {seen:?}");
}

/// Whether this kernel has loops for programs; where it does not, they never walk otherwise than unrolled.
pub fn has_loops() -> bool {
    Btf::kernel().unwrap().has_function("bpf_loop")
}

/// Programs of these providers that walk with loops, where the kernel has them, and without: whether they are unrolled then.
pub fn each_walk(providers: &[Provider], mut check: impl FnMut(&mut Watch, Provider, bool)) {
    for provider in providers {
        for unrolled in [false, true] {
            if !unrolled && !has_loops() {
                continue;
            }
            let mut options = options(*provider);
            options.unrolled = unrolled;
            let Some(mut watch) = Watch::start_if_there(&options) else {
                break;
            };
            println!("--- {provider:?}, unrolled {unrolled}");
            check(&mut watch, *provider, unrolled);
        }
    }
}

/// A record of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub offset: u32,
    pub length: u32,
    pub captured: u32,
    pub reason: Option<Counter>,
}

/// What became known of one connection.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub port: u16,
    /// Seen from its begin.
    pub fresh: bool,
    pieces: [Vec<Piece>; 2],
}

impl Seen {
    pub fn pieces(&self, direction: Direction) -> &[Piece] {
        &self.pieces[direction as usize]
    }

    pub fn captured(&self) -> u64 {
        self.pieces
            .iter()
            .flatten()
            .map(|piece| u64::from(piece.captured))
            .sum()
    }

    /// Bytes that went one way and of which a record says that they are not captured, for this reason.
    pub fn missing(&self, direction: Direction, reason: Counter) -> u64 {
        let rest = |piece: &Piece| {
            let rest = piece.length - piece.captured;
            assert!(rest == 0 || piece.reason == Some(reason), "{piece:?}");
            u64::from(rest)
        };
        self.pieces(direction).iter().map(rest).sum()
    }

    /// Bytes captured one way, and those missing. Together they are the stream without a hole.
    pub fn balance(&self, direction: Direction, reason: Counter) -> (u64, u64) {
        let pieces = self.pieces(direction);
        for (piece, next) in pieces.iter().zip(&pieces[1..]) {
            let end = piece.offset.wrapping_add(piece.length);
            assert_eq!(end, next.offset, "a hole: {pieces:?}");
        }
        let captured = pieces.iter().map(|piece| u64::from(piece.captured)).sum();
        (captured, self.missing(direction, reason))
    }
}

/// See the module's description.
pub struct Watch {
    pub loaded: Loaded,
    child: Child,
    answers: BufReader<ChildStdout>,
    seen: HashMap<u64, Seen>,
    order: Vec<u64>,
}

impl Watch {
    /// `None` where the kernel lacks what the provider needs. A program that the verifier refuses is another matter.
    pub fn start_if_there(options: &Options) -> Option<Self> {
        tests::mount_tracefs();
        match load(options) {
            Ok(loaded) => Some(Self::of(loaded)),
            Err(LoadError::NoProvider(attempts)) => {
                let why = format!("{attempts:?}");
                assert!(!why.contains("Verifier output"), "{why}");
                println!("skipped: this kernel does not have it: {why}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn of(loaded: Loaded) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sockets"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            loaded,
            child,
            answers,
            seen: HashMap::new(),
            order: Vec::new(),
        }
    }

    /// Whether the programs are told of messages while they are sent.
    pub fn notes_messages(&self) -> bool {
        let mut programs = self.loaded.programs.iter();
        programs.any(|program| program.name == "tcp_sendmsg_locked")
    }

    /// Has the process do something; the numbers that it says.
    pub fn tell(&mut self, command: &str) -> Vec<u64> {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let words = line
            .strip_prefix("done")
            .unwrap_or_else(|| panic!("{command}: {line}"));
        words
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    }

    /// What the programs told of the process since the last call, by connection, in the order in which they were announced.
    pub fn take(&mut self) -> Vec<Seen> {
        let own = self.child.id();
        while let Some(record) = self.loaded.ring.next() {
            match ebpf::parse(&record).unwrap() {
                Event::Open(open) if open.owner.pid == own => {
                    let seen = self.seen.entry(open.connection).or_default();
                    seen.port = open.tuple.local_port;
                    seen.fresh = open.base.is_some();
                    self.order.push(open.connection);
                }
                Event::Chunk(chunk) if chunk.pid == own => {
                    let seen = self.seen.entry(chunk.connection).or_default();
                    seen.pieces[chunk.direction as usize].push(Piece {
                        offset: chunk.offset,
                        length: chunk.length,
                        captured: chunk.data.len() as u32,
                        reason: chunk.reason,
                    });
                }
                _ => {}
            }
        }
        let mut seen = std::mem::take(&mut self.seen);
        let order = std::mem::take(&mut self.order);
        let mut all: Vec<Seen> = order.iter().filter_map(|id| seen.remove(id)).collect();
        // Of those that were announced before.
        all.extend(seen.into_values());
        all
    }

    /// Events and bytes.
    pub fn counted(&self, counter: Counter) -> (u64, u64) {
        self.loaded.counters.read(counter).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
