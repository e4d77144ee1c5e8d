//! nginx as the server that is watched: one worker, one small file, connections that stay open.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::bench::process::Process;
use crate::command;
use crate::daemons::free_address;

/// Bytes of the file.
const FILE_BYTES: usize = 512;
/// Connections that the worker accepts.
const CONNECTIONS_MAX: usize = 16_384;

/// A running nginx.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    _directory: TempDir,
}

/// Where nginx says what it has counted (ngx_http_stub_status_module).
const STATUS_PATH: &str = "/status";
/// Path of the file on the server.
pub const PATH: &str = "/static/item.txt";
/// Path of a large one.
pub const BODY_PATH: &str = "/static/large.bin";
/// Bytes of the large one.
const BODY_BYTES: usize = 1 << 20;

impl Server {
    pub fn start() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("eastwatch-bench-")
            .tempdir()
            .context("creating a temporary directory")?;
        let home = directory.path();
        // The worker is not root and must get through to the file.
        fs::set_permissions(home, fs::Permissions::from_mode(0o711))
            .context("opening the directory to nginx")?;
        fs::create_dir_all(home.join("html/static")).context("making nginx's directory")?;
        fs::write(
            home.join("html").join(PATH.trim_start_matches('/')),
            "x".repeat(FILE_BYTES),
        )
        .context("writing the file to serve")?;
        fs::write(
            home.join("html").join(BODY_PATH.trim_start_matches('/')),
            "x".repeat(BODY_BYTES),
        )
        .context("writing the large file to serve")?;
        let address = free_address()?;
        let here = home.display();
        // Without sendfile, as nginx is when nobody configures it: the body passes through memory and is captured.
        let configuration = format!(
            "daemon off;\nuser nobody nogroup;\nworker_processes 1;\npid {here}/nginx.pid;\nerror_log stderr notice;\n\
             events {{ worker_connections {CONNECTIONS_MAX}; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n  \
             open_file_cache max=16;\n  server {{ listen {address} backlog=4096; root {here}/html; \
             location = {STATUS_PATH} {{ stub_status; }} }}\n}}\n"
        );
        let file = home.join("nginx.conf");
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
        let program = command::find_program("nginx")
            .context("nginx is not installed; run `cargo xtask setup --tests`")?;
        let mut nginx = Command::new(program);
        nginx.args(["-e", "stderr", "-p"]).arg(home).arg("-c").arg(file);
        let ready = |line: &str| line.contains("start worker process").then_some(());
        let (process, ()) = Process::start("nginx", &nginx, ready)?;
        Ok(Self {
            process,
            address,
            _directory: directory,
        })
    }

    /// What to ask for.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }
    /// Requests that nginx has begun, this question among them.
    pub fn requests(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(self.address).context("connecting to nginx")?;
        write!(stream, "GET {STATUS_PATH} HTTP/1.0\r\n\r\n").context("asking nginx for its counters")?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("reading nginx's counters")?;
        requests_of(&answer).with_context(|| format!("nginx's counters are not understood:\n{answer}"))
    }
}

/// The third number of the line below the names of the three.
fn requests_of(answer: &str) -> Option<u64> {
    let (_, counters) = answer.split_once("server accepts handled requests")?;
    counters.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_the_counters_of_nginx() {
        let answer = "HTTP/1.1 200 OK\r\n\r\nActive connections: 2 \nserver accepts handled requests\n 16 17 31 \nReading: 0 Writing: 1 Waiting: 1 \n";
        assert_eq!(requests_of(answer), Some(31));
        assert_eq!(requests_of("HTTP/1.1 404 Not Found\r\n\r\n"), None);
    }
}
