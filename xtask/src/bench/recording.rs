//! Captures of real traffic, recorded by tcpdump while it flows over loopback.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::bench::process::Process;
use crate::bench::server::{BODY_PATH, Server};
use crate::command;
use crate::daemons::free_address;

/// Buffer between kernel and tcpdump, KiB: what comes while tcpdump waits for a processor.
const BUFFER_KIB: u32 = 512 << 10;
/// Requests of small files over HTTP/1.
const HTTP1_REQUESTS: u32 = 200_000;
/// Streams over HTTP/2.
const HTTP2_STREAMS: u32 = 200_000;
/// Large bodies.
const BODIES: u32 = 600;
/// Slow enough for tcpdump to keep up, bytes a second as curl writes it.
const RATE: &str = "150M";
/// Size of what nghttpd serves, bytes.
const HTTP2_BODY_BYTES: usize = 128;

/// A capture, and what went over the wire while it was made.
#[derive(Debug)]
pub struct Recording {
    pub name: &'static str,
    pub file: PathBuf,
    pub file_bytes: u64,
    /// Of the server.
    pub port: u16,
    /// As dissectors call it.
    pub protocol: &'static str,
    /// Exchanges that the load generator says there were.
    pub sent: u64,
}

/// Captures that go with this value.
#[derive(Debug)]
pub struct Recordings {
    pub all: Vec<Recording>,
    _directory: TempDir,
}

impl Recordings {
    /// Records small HTTP/1 exchanges, small HTTP/2 streams, large bodies.
    pub fn make() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("eastwatch-bench-")
            .tempdir()
            .context("creating a temporary directory")?;
        let all = vec![
            http1(directory.path())?,
            http2(directory.path())?,
            bodies(directory.path())?,
        ];
        Ok(Self {
            all,
            _directory: directory,
        })
    }
}

fn http1(directory: &Path) -> Result<Recording> {
    let server = Server::start()?;
    let requests = HTTP1_REQUESTS.to_string();
    let mut load = tool("h2load")?;
    load.args(["--h1", "--clients", "32", "--requests", &requests])
        .arg(server.url());
    let file = record(directory, "http1.pcap", server.address, &mut load)?;
    recording(
        "HTTP/1, small exchanges",
        file,
        (server.address, "http"),
        HTTP1_REQUESTS,
    )
}

fn http2(directory: &Path) -> Result<Recording> {
    let home = directory.join("html");
    fs::create_dir_all(&home).context("making nghttpd's directory")?;
    fs::write(home.join("item"), "x".repeat(HTTP2_BODY_BYTES)).context("writing the file to serve")?;
    let address = free_address()?;
    let port = address.port().to_string();
    let mut nghttpd = tool("nghttpd")?;
    nghttpd
        .args(["--no-tls", "--address", "127.0.0.1", "--htdocs"])
        .arg(&home)
        .arg(port);
    let _server = Process::listening("nghttpd", &nghttpd, address)?;
    let streams = HTTP2_STREAMS.to_string();
    let mut load = tool("h2load")?;
    load.args([
        "--clients",
        "10",
        "--max-concurrent-streams",
        "100",
        "--requests",
        &streams,
    ])
    .arg(format!("http://{address}/item"));
    let file = record(directory, "http2.pcap", address, &mut load)?;
    recording("HTTP/2, small streams", file, (address, "http2"), HTTP2_STREAMS)
}

fn bodies(directory: &Path) -> Result<Recording> {
    let server = Server::start()?;
    let mut load = tool("curl")?;
    load.args([
        "--silent",
        "--show-error",
        "--fail",
        "--limit-rate",
        RATE,
        "--output",
    ])
    .arg("/dev/null")
    .arg(format!("http://{}{BODY_PATH}?[1-{BODIES}]", server.address));
    let file = record(directory, "bodies.pcap", server.address, &mut load)?;
    recording("HTTP/1, bodies of 1 MiB", file, (server.address, "http"), BODIES)
}

fn recording(
    name: &'static str,
    file: PathBuf,
    (server, protocol): (SocketAddr, &'static str),
    sent: u32,
) -> Result<Recording> {
    let file_bytes = fs::metadata(&file)
        .with_context(|| format!("looking at {}", file.display()))?
        .len();
    Ok(Recording {
        name,
        file,
        file_bytes,
        port: server.port(),
        protocol,
        sent: u64::from(sent),
    })
}

fn tool(name: &str) -> Result<Command> {
    let program = command::find_program(name)
        .with_context(|| format!("{name} is not installed; run `cargo xtask setup --tests`"))?;
    Ok(Command::new(program))
}

/// Runs the load while tcpdump writes what goes to and from `server`.
fn record(directory: &Path, name: &str, server: SocketAddr, load: &mut Command) -> Result<PathBuf> {
    let file = directory.join(name);
    let mut tcpdump = tool("tcpdump")?;
    tcpdump
        .args([
            "--interface",
            "lo",
            "--snapshot-length",
            "262144",
            "--relinquish-privileges",
            "root",
        ])
        .args(["--buffer-size", &BUFFER_KIB.to_string(), "-w"])
        .arg(&file)
        .args(["tcp", "port", &server.port().to_string()]);
    let ready = |line: &str| line.contains("listening on").then_some(());
    let (recorder, ()) = Process::start("tcpdump", &tcpdump, ready)?;
    let said = command::output(load)?;
    // h2load says so and succeeds nevertheless.
    if said.contains(" failed,") && !said.contains(" 0 failed,") {
        bail!("requests failed:\n{said}");
    }
    // Ends it; it writes what it holds first.
    drop(recorder);
    Ok(file)
}
