//! Traffic to order: each line on the standard input is a command; when it is done, a line says `done` and what came of it.
//!
//! - `writev PARTS BYTES`: after an exchange, a request over a new TCP connection in one call of so many parts. Says the client's port and
//!   the bytes.
//! - `sendmmsg MESSAGES PARTS BYTES`: the same in one call of so many messages, each of so many parts. Also says the messages.
//! - `recvmmsg MESSAGES BYTES`: a request that its server receives in one call of so many messages, each of which is filled. Says the
//!   server's port, the bytes and the messages.
//! - `block THREADS`: so many TCP connections, of which a thread each waits for the request. Says the threads' ids.
//! - `answer`: sends the requests that are waited for, then a second one on each connection. Says the bytes of one.
//! - `connections COUNT`: so many more TCP connections with an exchange each. Says the bytes of an exchange.
//! - `pairs COUNT`: so many more socket pairs with an exchange each. Says the bytes of an exchange.
//! - `ask INDEX`: another exchange of a pair.
//!
//! Ends with its standard input.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const REQUEST: &[u8] = b"GET /limits HTTP/1.1\r\nHost: limits\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn main() -> Outcome<()> {
    let mut sockets = Sockets::default();
    for line in io::stdin().lock().lines() {
        let said = sockets.obey(&line?)?;
        writeln!(io::stdout(), "done {said}")?;
    }
    Ok(())
}

#[derive(Default)]
struct Sockets {
    pairs: Vec<(UnixStream, UnixStream)>,
    waiting: Vec<(TcpStream, JoinHandle<io::Result<()>>)>,
    /// Of connections that are to stay open.
    kept: Vec<(TcpStream, TcpStream)>,
}

impl Sockets {
    fn obey(&mut self, line: &str) -> Outcome<String> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let numbers: Vec<usize> = words.map(str::parse).collect::<Result<_, _>>()?;
        match (verb, numbers.as_slice()) {
            ("writev", [parts, bytes]) => self.writev(*parts, *bytes),
            ("sendmmsg", [messages, parts, bytes]) => self.sendmmsg(*messages, *parts, *bytes),
            ("recvmmsg", [messages, bytes]) => self.recvmmsg(*messages, *bytes),
            ("block", [threads]) => self.block(*threads),
            ("answer", []) => self.answer(),
            ("connections", [count]) => {
                for _ in 0..*count {
                    self.kept.push(converse()?);
                }
                Ok((REQUEST.len() + RESPONSE.len()).to_string())
            }
            ("pairs", [count]) => self.pairs(*count),
            ("ask", [index]) => {
                let pair = self.pairs.get_mut(*index).ok_or("no such pair")?;
                Ok(ask(pair)?.to_string())
            }
            _ => Err(format!("no such command: {line}").into()),
        }
    }

    fn writev(&mut self, parts: usize, bytes: usize) -> Outcome<String> {
        let (client, server) = converse()?;
        let parts = request(parts, bytes);
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let reader = reader(&server, parts.concat().len())?;
        let sent = (&client).write_vectored(&slices)?;
        let said = format!("{} {sent}", client.local_addr()?.port());
        (&client).write_all(parts.concat().get(sent..).unwrap_or_default())?;
        reader.join().map_err(|_| "the reader failed")??;
        self.answered(client, server)?;
        Ok(said)
    }

    fn sendmmsg(&mut self, messages: usize, parts: usize, bytes: usize) -> Outcome<String> {
        let (client, server) = converse()?;
        let all = request(messages * parts, bytes);
        let reader = reader(&server, all.concat().len())?;
        let slices: Vec<IoSlice<'_>> = all.iter().map(|part| IoSlice::new(part)).collect();
        let groups: Vec<Vec<IoSlice<'_>>> = slices.chunks(parts).map(<[_]>::to_vec).collect();
        let nobody = vec![None::<SockaddrStorage>; messages];
        let mut headers = MultiHeaders::preallocate(messages, None);
        let sent: Vec<usize> = sendmmsg(
            client.as_raw_fd(),
            &mut headers,
            &groups,
            nobody,
            [],
            MsgFlags::empty(),
        )?
        .map(|message| message.bytes)
        .collect();
        let bytes: usize = sent.iter().sum();
        let said = format!("{} {bytes} {}", client.local_addr()?.port(), sent.len());
        (&client).write_all(all.concat().get(bytes..).unwrap_or_default())?;
        reader.join().map_err(|_| "the reader failed")??;
        self.answered(client, server)?;
        Ok(said)
    }

    fn recvmmsg(&mut self, messages: usize, bytes: usize) -> Outcome<String> {
        let (client, server) = converse()?;
        let whole = request(messages, bytes).concat();
        (&client).write_all(&whole)?;
        let mut there = vec![0; whole.len()];
        while server.peek(&mut there)? < whole.len() {
            std::thread::yield_now();
        }
        let mut rooms = vec![vec![0; whole.len() / messages]; messages];
        let mut groups: Vec<[IoSliceMut<'_>; 1]> =
            rooms.iter_mut().map(|room| [IoSliceMut::new(room)]).collect();
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(messages, None);
        let got: Vec<usize> = recvmmsg(
            server.as_raw_fd(),
            &mut headers,
            groups.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?
        .map(|message| message.bytes)
        .collect();
        let bytes: usize = got.iter().sum();
        let said = format!("{} {bytes} {}", client.peer_addr()?.port(), got.len());
        (&server).read_exact(&mut vec![0; whole.len() - bytes])?;
        self.answered(client, server)?;
        Ok(said)
    }

    fn answered(&mut self, client: TcpStream, server: TcpStream) -> Outcome<()> {
        (&server).write_all(RESPONSE)?;
        (&client).read_exact(&mut vec![0; RESPONSE.len()])?;
        self.kept.push((client, server));
        Ok(())
    }

    fn block(&mut self, threads: usize) -> Outcome<String> {
        let mut ids = Vec::new();
        for _ in 0..threads {
            let (client, server) = connect()?;
            let (tell, told) = mpsc::channel();
            let thread = std::thread::spawn(move || {
                // Whoever does not wait for it any more has ended.
                let _ = tell.send(nix::unistd::gettid().as_raw());
                for _ in 0..2 {
                    (&server).read_exact(&mut [0; REQUEST.len()])?;
                }
                Ok(())
            });
            ids.push(until_it_waits(&told)?.to_string());
            self.waiting.push((client, thread));
        }
        Ok(ids.join(" "))
    }

    fn answer(&mut self) -> Outcome<String> {
        for (client, thread) in self.waiting.drain(..) {
            for _ in 0..2 {
                (&client).write_all(REQUEST)?;
            }
            thread.join().map_err(|_| "a thread failed")??;
        }
        Ok(REQUEST.len().to_string())
    }

    fn pairs(&mut self, count: usize) -> Outcome<String> {
        let mut bytes = 0;
        for _ in 0..count {
            let mut pair = UnixStream::pair()?;
            bytes = ask(&mut pair)?;
            self.pairs.push(pair);
        }
        Ok(bytes.to_string())
    }
}

/// A request and its response; bytes of both.
fn ask((client, server): &mut (UnixStream, UnixStream)) -> io::Result<usize> {
    client.write_all(REQUEST)?;
    server.read_exact(&mut [0; REQUEST.len()])?;
    server.write_all(RESPONSE)?;
    client.read_exact(&mut [0; RESPONSE.len()])?;
    Ok(REQUEST.len() + RESPONSE.len())
}

fn connect() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

/// Two ends of a connection that is known to speak HTTP.
fn converse() -> io::Result<(TcpStream, TcpStream)> {
    let (client, server) = connect()?;
    (&client).write_all(REQUEST)?;
    (&server).read_exact(&mut [0; REQUEST.len()])?;
    (&server).write_all(RESPONSE)?;
    (&client).read_exact(&mut [0; RESPONSE.len()])?;
    Ok((client, server))
}

/// Reads so many bytes meanwhile.
fn reader(server: &TcpStream, bytes: usize) -> io::Result<JoinHandle<io::Result<()>>> {
    let mut server = server.try_clone()?;
    Ok(std::thread::spawn(move || server.read_exact(&mut vec![0; bytes])))
}

/// A request in so many parts: its head, and the others of so many bytes.
fn request(parts: usize, bytes: usize) -> Vec<Vec<u8>> {
    let body = (parts - 1) * bytes;
    let head = format!("POST /limits HTTP/1.1\r\nHost: limits\r\nContent-Length: {body}\r\n\r\n");
    let mut all = vec![vec![b'x'; bytes]; parts];
    if let Some(first) = all.first_mut() {
        *first = head.into_bytes();
    }
    all
}

/// The id of a thread of this process, once it waits in a call of receiving.
fn until_it_waits(told: &Receiver<i32>) -> Outcome<i32> {
    let id = told.recv()?;
    // Number of the call, its arguments; `running` while it is in none.
    let call = format!("/proc/self/task/{id}/syscall");
    while !fs::read_to_string(&call)?.starts_with(&format!("{} ", libc::SYS_recvfrom)) {
        std::thread::yield_now();
    }
    Ok(id)
}
