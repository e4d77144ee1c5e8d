//! `memory`: what the agent keeps resident.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::bench::Plan;
use crate::bench::agent::{Agent, Setup};
use crate::bench::collector::Collector;
use crate::bench::process::Memory;
use crate::bench::report::{Bound, Cell, Section, Target};
use crate::bench::server::{PATH, Server};
use crate::command;

/// Connections held open at the end.
const CONNECTIONS: usize = 10_000;
/// Connections of each local address: fewer than there are ephemeral ports.
const PER_ADDRESS: usize = 2_500;
/// Descriptors that this program needs besides.
const OTHER_DESCRIPTORS: usize = 256;
/// Ends of each connection on this machine.
const ENDS: u64 = 2;

const IDLE_MAX_MIB: f64 = 64.0;
const BUSY_MAX_MIB: f64 = 128.0;
const MIB: f64 = (1 << 20) as f64;

pub fn measure(plan: &Plan<'_>) -> Result<Vec<Section>> {
    allow_descriptors(CONNECTIONS + OTHER_DESCRIPTORS)?;
    let server = Server::start()?;
    let collector = Collector::start(plan.workspace, None)?;
    let setup = Setup {
        collector: Some(&collector.url),
        ..Setup::default()
    };
    let agent = Agent::start(plan.workspace, setup)?;
    let mut rows = Vec::new();
    let mut look = |what: &str| -> Result<Memory> {
        let status = agent.settle()?;
        let memory = agent.process.memory()?;
        rows.push(row(what, status.connections, memory));
        Ok(memory)
    };

    let idle = look("idle")?;
    let mut clients = Vec::with_capacity(CONNECTIONS);
    let mut half = None;
    for target in [CONNECTIONS / 2, CONNECTIONS] {
        while clients.len() < target {
            let mut client = open(server.address, clients.len() / PER_ADDRESS)
                .with_context(|| format!("opening connection {}", clients.len()))?;
            ask(&mut client)?;
            clients.push(client);
        }
        let ends = ENDS * target as u64;
        agent.wait(&format!("track {ends} connections"), |status| {
            status.connections >= ends
        })?;
        let memory = look(&format!("{target} connections open, both ends here"))?;
        half.get_or_insert(memory);
    }
    for client in &mut clients {
        ask(client)?;
    }
    let busy = look("the same after one more request on each")?;
    drop(clients);
    look("all closed")?;

    let mib = |memory: Memory| memory.resident as f64 / MIB;
    Ok(vec![Section {
        name: "memory of the agent".into(),
        explanation: "Resident memory, MiB. Both ends of every connection are on this machine (nginx, and this program), so the agent \
                      tracks two for each; one exchange was seen on each before it was left open. `file` is code and the ring buffer, \
                      which the kernel counts twice because it is mapped twice in a row."
            .into(),
        columns: vec!["", "tracked ends", "resident", "anonymous", "file", "largest so far"],
        rows,
        targets: vec![
            Target::new("MiB resident, idle", Bound::AtMost, IDLE_MAX_MIB, mib(idle)),
            Target::new(
                format!("MiB resident, {CONNECTIONS} connections, both ends tracked"),
                Bound::AtMost,
                BUSY_MAX_MIB,
                mib(busy),
            ),
            Target::new(
                format!("MiB resident, {CONNECTIONS} tracked ends"),
                Bound::AtMost,
                BUSY_MAX_MIB,
                half.map_or(f64::NAN, mib),
            ),
        ],
        notes: Vec::new(),
    }])
}

fn row(what: &str, connections: u64, memory: Memory) -> Vec<Cell> {
    let mib = |bytes: u64| Cell::Text(format!("{:.1}", bytes as f64 / MIB));
    vec![
        what.into(),
        Cell::Count(connections),
        mib(memory.resident),
        mib(memory.anonymous),
        mib(memory.file),
        mib(memory.peak),
    ]
}

/// A client whose end is `127.0.0.(2 + number)`.
fn open(server: SocketAddr, number: usize) -> Result<fs::File> {
    let IpAddr::V4(address) = server.ip() else {
        bail!("{server} is not an IPv4 address");
    };
    let [a, b, c, d] = address.octets();
    let local = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + number)?);
    let client = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    bind(
        client.as_raw_fd(),
        &SockaddrIn::from(std::net::SocketAddrV4::new(local, 0)),
    )
    .with_context(|| format!("binding to {local}"))?;
    connect(client.as_raw_fd(), &SockaddrIn::new(a, b, c, d, server.port()))
        .with_context(|| format!("connecting from {local} to {server}"))?;
    Ok(fs::File::from(client))
}

/// One request and its whole response.
fn ask(client: &mut fs::File) -> Result<()> {
    client.write_all(format!("GET {PATH} HTTP/1.1\r\nHost: bench.local\r\n\r\n").as_bytes())?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&received) {
        let count = client.read(&mut buffer)?;
        if count == 0 {
            bail!("the server closed a connection");
        }
        received.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    Ok(())
}

/// Whether these are head and body of a response with a length.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .and_then(|value| value.parse::<usize>().ok());
    length.is_none_or(|length| body.len() >= length)
}

/// Makes sure that this program may open so many descriptors; children inherit it.
fn allow_descriptors(needed: usize) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits").context("reading /proc/self/limits")?;
    let allowed = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|soft| soft.parse::<usize>().ok())
        .unwrap_or(usize::MAX);
    if allowed >= needed {
        return Ok(());
    }
    let mut raise = Command::new("prlimit");
    raise.args([
        format!("--pid={}", std::process::id()),
        format!("--nofile={needed}:"),
    ]);
    command::output(&mut raise)
        .map(drop)
        .with_context(|| format!("{needed} open files are needed, {allowed} are allowed: raise `ulimit -n`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for length in 0..whole.len() {
            assert!(!is_whole(&whole[..length]), "{length}");
        }
        assert!(is_whole(whole));
    }
}
