//! Traffic of exactly known size: one thread holds both ends, so that nothing waits and every call moves everything.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Seek};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::uio::{readv, writev};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{read, write};

/// Bytes that the agent's ring buffer takes between two pauses, a fraction of its size.
const BYTES_BETWEEN_PAUSES: usize = 4 << 20;
/// Twice the interval at which the agent empties its ring buffer.
const PAUSE: Duration = Duration::from_millis(20);

/// Largest part of a scattered buffer in [`Shape::Vector`].
const PARTS: usize = 3;

/// Exchanges on each connection: the agent captures only one end of a connection once it has joined some more of them.
const EXCHANGES_EACH: usize = 12;
/// Exchanges after which, and a pause, one end of a connection is no longer captured.
const EXCHANGES_ENOUGH: usize = 64;

/// Bytes that are no HTTP, in the middle of what they might be.
const BINARY: u8 = 0x81;

/// A kind of traffic.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// Sending and receiving calls of a turn, on sockets.
    pub calls: Calls,
    /// Turns in a round.
    pub turns: usize,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    pub sends: u64,
    pub receives: u64,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// A request and a response, each a head and a body of so many bytes together.
    Http(usize, Shape),
    /// The same when the agent has left the client's end out, because it sees the server's.
    Joined(usize),
    /// The same over TCP without HTTP, decided before the first turn.
    Binary(usize),
    /// 64 KiB of a body beyond what is captured of one message, in writes of 16 KiB.
    Remainder,
    Udp(usize),
    Unix(usize),
    File(usize),
    /// A connection without data.
    Connection,
    /// A program that does nothing.
    Process,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Flat,
    Vector,
}

const fn kind(name: &'static str, what: What, (sends, receives): (u64, u64), turns: usize) -> Kind {
    Kind {
        name,
        what,
        calls: Calls { sends, receives },
        turns,
    }
}

/// Bytes of a write in [`What::Remainder`], and writes of a turn.
const REMAINDER_WRITE: usize = 16 << 10;
const REMAINDER_WRITES: usize = 4;

pub const KINDS: [Kind; 13] = [
    kind("HTTP, 256 B", What::Http(256, Shape::Flat), (2, 2), 6000),
    kind("HTTP, 1 KiB", What::Http(1 << 10, Shape::Flat), (2, 2), 6000),
    kind("HTTP, 4 KiB", What::Http(4 << 10, Shape::Flat), (2, 2), 2000),
    kind("HTTP, 16 KiB", What::Http(16 << 10, Shape::Flat), (2, 2), 1000),
    kind(
        "HTTP, 1 KiB in 3 parts",
        What::Http(1 << 10, Shape::Vector),
        (2, 2),
        4000,
    ),
    kind("HTTP, 256 B, one end left out", What::Joined(256), (2, 2), 10_000),
    kind("HTTP, body beyond the limit", What::Remainder, (4, 4), 1500),
    kind("not HTTP, 256 B", What::Binary(256), (2, 2), 20_000),
    kind("UDP, 256 B", What::Udp(256), (2, 2), 10_000),
    kind("UNIX socket, 256 B", What::Unix(256), (2, 2), 10_000),
    kind("file, 256 B", What::File(256), (0, 0), 20_000),
    kind("connection without data", What::Connection, (0, 0), 1000),
    kind("process start and end", What::Process, (0, 0), 100),
];

/// Something that can be repeated.
trait Turn {
    fn turn(&mut self) -> Result<()>;
}

/// A kind of traffic, ready to flow.
pub struct Traffic {
    kind: Kind,
    turn: Box<dyn Turn>,
}

impl Kind {
    /// Opens what it needs. A connection that is not HTTP has been decided when this returns.
    pub fn prepare(self) -> Result<Traffic> {
        let turn: Box<dyn Turn> = match self.what {
            What::Http(bytes, shape) => Box::new(Pool::open(self.turns, bytes, shape)?),
            What::Joined(bytes) => Box::new(joined(bytes)?),
            What::Binary(bytes) => Box::new(binary(bytes)?),
            What::Remainder => Box::new(Remainder::begin()?),
            What::Udp(bytes) => Box::new(udp(bytes)?),
            What::Unix(bytes) => {
                let (near, far) = UnixStream::pair().context("making a pair of sockets")?;
                Box::new(Echo::new(near, far, vec![BINARY; bytes], vec![BINARY; bytes]))
            }
            What::File(bytes) => Box::new(Disk {
                file: tempfile::tempfile().context("making a temporary file")?,
                bytes: vec![BINARY; bytes],
            }),
            What::Connection => Box::new(Connecting(listener()?)),
            What::Process => Box::new(Starting),
        };
        Ok(Traffic { kind: self, turn })
    }

    fn turns_between_pauses(self) -> usize {
        let bytes = match self.what {
            What::Http(bytes, _) | What::Joined(bytes) => 4 * bytes.next_power_of_two(),
            _ => 1 << 10,
        };
        (BYTES_BETWEEN_PAUSES / bytes).max(1)
    }
}

impl Traffic {
    /// Runs a round. Gives the CPU time that this thread spent in it, pauses left out.
    pub fn flow(&mut self) -> Result<Duration> {
        let mut spent = Duration::ZERO;
        let mut left = self.kind.turns;
        while left > 0 {
            let turns = left.min(self.kind.turns_between_pauses());
            let before = thread_time()?;
            for _ in 0..turns {
                self.turn
                    .turn()
                    .with_context(|| format!("traffic of {}", self.kind.name))?;
            }
            spent += thread_time()?.saturating_sub(before);
            left -= turns;
            // The ring buffer is emptied at intervals: what is lost for lack of room would cost less than what is captured.
            thread::sleep(PAUSE);
        }
        Ok(spent)
    }
}

fn thread_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn listener() -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on loopback")
}

/// Both ends of a connection over loopback.
fn connection() -> Result<(TcpStream, TcpStream)> {
    let listener = listener()?;
    let client = TcpStream::connect(listener.local_addr()?).context("connecting over loopback")?;
    let (server, _) = listener.accept().context("accepting")?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// A head and a body of `bytes` together.
fn message(start: &str, bytes: usize) -> Vec<u8> {
    let head = |body: usize| format!("{start}\r\nContent-Type: text/plain\r\nContent-Length: {body}\r\n\r\n");
    // The number's own digits count: all bodies here have at least as many as the first guess.
    let guess = bytes.saturating_sub(head(bytes).len());
    let mut message = head(guess).into_bytes();
    message.resize(message.len() + guess, b'x');
    message
}

fn request(bytes: usize) -> Vec<u8> {
    message("POST /bench/items HTTP/1.1\r\nHost: bench.local", bytes)
}

fn response(bytes: usize) -> Vec<u8> {
    message("HTTP/1.1 200 OK\r\nServer: bench", bytes)
}

fn http(bytes: usize, shape: Shape) -> Result<Echo<TcpStream>> {
    let (client, server) = connection()?;
    let mut echo = Echo::new(client, server, request(bytes), response(bytes));
    echo.shape = shape;
    Ok(echo)
}

/// A connection that has been joined long enough.
fn joined(bytes: usize) -> Result<Echo<TcpStream>> {
    let mut echo = http(bytes, Shape::Flat)?;
    for _ in 0..EXCHANGES_ENOUGH {
        echo.turn()?;
    }
    // The agent gives its order when the ring buffer has been emptied.
    thread::sleep(10 * PAUSE);
    Ok(echo)
}

/// Connections that take turns of [`EXCHANGES_EACH`] exchanges. Each has been announced.
struct Pool {
    connections: Vec<Echo<TcpStream>>,
    turn: usize,
}

impl Pool {
    fn open(turns: usize, bytes: usize, shape: Shape) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..turns.div_ceil(EXCHANGES_EACH) {
            let mut echo = http(bytes, shape)?;
            echo.turn()?;
            connections.push(echo);
        }
        thread::sleep(2 * PAUSE);
        Ok(Self { connections, turn: 0 })
    }
}

impl Turn for Pool {
    fn turn(&mut self) -> Result<()> {
        let connection = self
            .connections
            .get_mut(self.turn / EXCHANGES_EACH)
            .context("a connection for each turn was opened")?;
        self.turn += 1;
        connection.turn()
    }
}

fn binary(bytes: usize) -> Result<Echo<TcpStream>> {
    let (client, server) = connection()?;
    let mut echo = Echo::new(client, server, vec![BINARY; bytes], vec![BINARY; bytes]);
    echo.turn()?;
    Ok(echo)
}

fn udp(bytes: usize) -> Result<Echo<UdpSocket>> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a UDP socket");
    let (near, far) = (bind()?, bind()?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    Ok(Echo::new(near, far, vec![BINARY; bytes], vec![BINARY; bytes]))
}

/// One end asks, the other answers.
struct Echo<S> {
    near: S,
    far: S,
    question: Vec<u8>,
    answer: Vec<u8>,
    buffer: Vec<u8>,
    shape: Shape,
}

impl<S: AsFd> Echo<S> {
    fn new(near: S, far: S, question: Vec<u8>, answer: Vec<u8>) -> Self {
        let buffer = vec![0; question.len().max(answer.len())];
        Self {
            near,
            far,
            question,
            answer,
            buffer,
            shape: Shape::Flat,
        }
    }
}

impl<S: AsFd> Turn for Echo<S> {
    fn turn(&mut self) -> Result<()> {
        transfer(
            &self.near,
            &self.far,
            &self.question,
            &mut self.buffer,
            self.shape,
        )?;
        transfer(&self.far, &self.near, &self.answer, &mut self.buffer, self.shape)
    }
}

/// Sends all of `bytes` in one call and receives them, in one call where they come at once.
fn transfer(from: &impl AsFd, to: &impl AsFd, bytes: &[u8], buffer: &mut [u8], shape: Shape) -> Result<()> {
    let part = bytes.len().div_ceil(PARTS);
    let sent = match shape {
        Shape::Flat => write(from, bytes)?,
        Shape::Vector => {
            let parts: Vec<_> = bytes.chunks(part).map(IoSlice::new).collect();
            writev(from, &parts)?
        }
    };
    anyhow::ensure!(sent == bytes.len(), "{sent} of {} bytes were sent", bytes.len());
    let mut received = 0;
    while received < sent {
        let room = buffer
            .get_mut(received..sent)
            .context("the buffer is as large as the message")?;
        let count = match shape {
            Shape::Flat => read(to, room)?,
            Shape::Vector => {
                let mut parts: Vec<_> = room.chunks_mut(part).map(IoSliceMut::new).collect();
                readv(to, &mut parts)?
            }
        };
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        received += count;
    }
    Ok(())
}

/// The rest of a request without end of which the first part has been captured.
struct Remainder {
    client: TcpStream,
    server: TcpStream,
    bytes: Vec<u8>,
    buffer: Vec<u8>,
}

impl Remainder {
    fn begin() -> Result<Self> {
        let (client, server) = connection()?;
        let mut body = Self {
            client,
            server,
            bytes: vec![b'x'; REMAINDER_WRITE],
            buffer: vec![0; REMAINDER_WRITE],
        };
        let head =
            b"PUT /bench/upload HTTP/1.1\r\nHost: bench.local\r\nContent-Length: 1000000000000\r\n\r\n";
        transfer(&body.client, &body.server, head, &mut body.buffer, Shape::Flat)?;
        // More than is captured of any message.
        for _ in 0..8 {
            body.turn()?;
        }
        // The agent has seen the head, and has said what it does not want, when the ring buffer has been emptied.
        thread::sleep(10 * PAUSE);
        Ok(body)
    }
}

impl Turn for Remainder {
    fn turn(&mut self) -> Result<()> {
        for _ in 0..REMAINDER_WRITES {
            transfer(
                &self.client,
                &self.server,
                &self.bytes,
                &mut self.buffer,
                Shape::Flat,
            )?;
        }
        Ok(())
    }
}

/// A write and a read of a file in the page cache.
struct Disk {
    file: File,
    bytes: Vec<u8>,
}

impl Turn for Disk {
    fn turn(&mut self) -> Result<()> {
        self.file.rewind()?;
        let written = write(&self.file, &self.bytes)?;
        self.file.rewind()?;
        let count = read(&self.file, &mut self.bytes)?;
        anyhow::ensure!(written == count, "{written} bytes written, {count} read");
        Ok(())
    }
}

struct Connecting(TcpListener);

impl Turn for Connecting {
    fn turn(&mut self) -> Result<()> {
        let client = TcpStream::connect(self.0.local_addr()?)?;
        let (server, _) = self.0.accept()?;
        drop(client);
        drop(server);
        Ok(())
    }
}

struct Starting;

impl Turn for Starting {
    fn turn(&mut self) -> Result<()> {
        let status = Command::new("true").stdin(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "`true` ended with {status}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size() {
        for bytes in [256, 1 << 10, 4 << 10, 16 << 10] {
            for message in [request(bytes), response(bytes)] {
                assert!(
                    message.len().abs_diff(bytes) <= 1,
                    "{} for {bytes}",
                    message.len()
                );
                let text = String::from_utf8(message).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(
                    head.ends_with(&format!("Content-Length: {}", body.len())),
                    "{head}"
                );
            }
        }
    }

    #[test]
    fn every_kind_flows() {
        for kind in KINDS {
            let kind = Kind { turns: 3, ..kind };
            kind.prepare().unwrap().flow().unwrap();
        }
    }
}
