//! What the programs of a provider cost, by the kernel's own statistics. Figures only: where processors are emulated or busy they say
//! how providers compare, not what they cost.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use tests::Node;

use crate::processes::processes;

/// Turns for each short-lived process that is asked for.
const FOR_EACH_PROCESS: u64 = 2;

/// Turns on a connection: an end that has been told of more often is no longer captured.
const TURNS_EACH: u64 = 10;

/// Size of a message.
const BYTES: usize = 256;

/// A kind of traffic: what one event of it is called, how many there are in a turn, and what does so many turns of it.
type Kind = (&'static str, u64, fn(u64));

const KINDS: &[Kind] = &[
    ("transfer of 256 B of HTTP", 4, http),
    ("transfer on a connection that is not HTTP", 4, binary),
    ("call on a file", 2, file),
    ("connection opened and closed", 1, connections),
];

/// Path of the requests that are measured: they are nobody's evidence, though their port may be used again.
pub const PATH: &str = "/cost";

/// Nanoseconds of all programs together for each event, and how often a program ran for it.
pub fn measure(node: &Node) -> String {
    let programs = node.agent.programs();
    let turns = FOR_EACH_PROCESS * processes();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let figures = KINDS.iter().map(|(name, events, traffic)| {
        let before = sum(&programs);
        traffic(turns);
        let after = sum(&programs);
        let each = |what: u64| what as f64 / (turns * events) as f64;
        let (runs, ns) = (each(after.0 - before.0), each(after.1 - before.1));
        format!("{name}: {ns:.0} ns, {runs:.2} runs")
    });
    figures.collect::<Vec<_>>().join("; ")
}

/// Runs, and nanoseconds that they took.
fn sum(programs: &[u32]) -> (u64, u64) {
    loaded_programs()
        // Those of others may go meanwhile.
        .filter_map(Result::ok)
        .filter(|program| programs.contains(&program.id()))
        .fold((0, 0), |(runs, ns), program| {
            let took = u64::try_from(program.run_time().as_nanos()).unwrap();
            (runs + program.run_count(), ns + took)
        })
}

/// Both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// A question one way and an answer the other way, each sent and received in one call.
fn turn((near, far): &(TcpStream, TcpStream), question: &[u8], answer: &[u8]) {
    let mut buffer = [0; BYTES];
    for (mut from, mut to, bytes) in [(near, far, question), (far, near, answer)] {
        from.write_all(bytes).unwrap();
        to.read_exact(&mut buffer[..bytes.len()]).unwrap();
    }
}

/// A head and a body of [`BYTES`] together.
fn message(start: &str) -> Vec<u8> {
    let head = |body: usize| format!("{start}\r\ncontent-length: {body:03}\r\n\r\n");
    let body = BYTES - head(0).len();
    let mut message = head(body).into_bytes();
    message.resize(BYTES, b'x');
    message
}

fn http(turns: u64) {
    let question = message(&format!("POST {PATH} HTTP/1.1\r\nhost: cost.test"));
    let answer = message("HTTP/1.1 200 OK");
    for _ in 0..turns / TURNS_EACH {
        let ends = pair();
        (0..TURNS_EACH).for_each(|_| turn(&ends, &question, &answer));
    }
}

fn binary(turns: u64) {
    let ends = pair();
    (0..turns).for_each(|_| turn(&ends, &[0x81; BYTES], &[0x81; BYTES]));
}

fn file(turns: u64) {
    let mut file: File = tempfile::tempfile().unwrap();
    let mut buffer = [0x81; BYTES];
    for _ in 0..turns {
        file.rewind().unwrap();
        file.write_all(&buffer).unwrap();
        file.rewind().unwrap();
        file.read_exact(&mut buffer).unwrap();
    }
}

fn connections(turns: u64) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..turns {
        let near = TcpStream::connect(address).unwrap();
        drop((near, listener.accept().unwrap()));
    }
}
