//! wrk: load on nginx. What is measured is a part of it that begins when its connections are some seconds old.
//!
//! Requests are counted by nginx, because wrk tells only those of its whole run.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::process;
use crate::bench::server::Server;
use crate::command;

/// Connections of the load generator, which has one thread.
pub const CONNECTIONS: u32 = 32;
/// Seconds that the load goes on after what is measured.
const AFTER_SECONDS: u64 = 1;

/// One measurement under load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// While it was measured.
    pub requests: f64,
    /// The same each second.
    pub per_second: f64,
    /// Of the whole run.
    pub p99_us: f64,
    /// From the begin of the measurement to the end of the run.
    pub requests_to_end: f64,
    /// Requests of the whole run.
    pub requests_of_run: f64,
    /// CPU time of nginx while it was measured.
    pub server: Duration,
    /// The same of wrk.
    pub client: Duration,
}

impl Load {
    /// CPU time of a request, microseconds, of what was spent while it was measured.
    pub fn us_per_request(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.requests
    }

    /// The same of what was spent from then on, until all was done.
    pub fn us_per_request_to_end(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.requests_to_end
    }
}

/// Load that has begun.
#[derive(Debug)]
pub struct Running<'a> {
    server: &'a Server,
    wrk: Child,
    seconds: u64,
    from: Sample,
}

/// How far things were at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    requests: u64,
    server: Duration,
    client: Duration,
}

impl<'a> Running<'a> {
    /// Loads the server, and waits until `warm_up` seconds are over and what is measured, so many `seconds`, begins.
    pub fn start(server: &'a Server, warm_up: u64, seconds: u64) -> Result<Self> {
        let program =
            command::find_program("wrk").context("wrk is not installed; run `cargo xtask setup --tests`")?;
        let mut wrk = Command::new(program);
        wrk.args(["--threads", "1", "--latency"])
            .args(["--connections", &CONNECTIONS.to_string()])
            .args(["--duration", &format!("{}s", warm_up + seconds + AFTER_SECONDS)])
            .arg(server.url())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let wrk = wrk
            .spawn()
            .with_context(|| format!("starting `{}`", command::display(&wrk)))?;
        // Not for anything to happen: the load is to be so old.
        thread::sleep(Duration::from_secs(warm_up));
        Ok(Self {
            server,
            from: Sample::take(server, wrk.id())?,
            wrk,
            seconds,
        })
    }

    /// Waits until it is over.
    pub fn end(self) -> Result<Load> {
        let until = self.from.at + Duration::from_secs(self.seconds);
        // As long as it is measured.
        thread::sleep(until.saturating_duration_since(Instant::now()));
        let to = Sample::take(self.server, self.wrk.id())?;
        let output = self.wrk.wait_with_output().context("waiting for wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || text.contains("Socket errors") || text.contains("Non-2xx") {
            bail!(
                "requests failed:\n{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let said = Said::parse(&text).with_context(|| format!("wrk's report is not understood:\n{text}"))?;
        let from = self.from;
        // One of them, and then another, asked for their number.
        let requests = to.requests.saturating_sub(from.requests + 1) as f64;
        let requests_to_end = self.server.requests()?.saturating_sub(from.requests + 2) as f64;
        Ok(Load {
            requests,
            per_second: requests / (to.at - from.at).as_secs_f64(),
            p99_us: said.p99_us,
            requests_to_end,
            requests_of_run: said.requests,
            server: to.server.saturating_sub(from.server),
            client: to.client.saturating_sub(from.client),
        })
    }
}

impl Sample {
    fn take(server: &Server, wrk: u32) -> Result<Self> {
        let requests = server.requests()?;
        Ok(Self {
            at: Instant::now(),
            requests,
            server: server.process.cpu()?,
            client: process::cpu_of(wrk).context("wrk has ended early")?,
        })
    }
}

/// What wrk said.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Said {
    requests: f64,
    p99_us: f64,
}

impl Said {
    fn parse(text: &str) -> Option<Self> {
        let line = |part: &str| text.lines().find(|line| line.contains(part));
        let requests = line("requests in")?.split_whitespace().next()?.parse().ok()?;
        let p99 = line("99%")?.split_whitespace().nth(1)?;
        let (number, unit) = p99.split_at(p99.find(|c: char| c.is_ascii_alphabetic())?);
        let factor = match unit {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            _ => return None,
        };
        Some(Self {
            requests,
            p99_us: number.parse::<f64>().ok()? * factor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_wrk() {
        let text = "Running 5s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n  Latency Distribution\n     50%  420.00us\n     99%    1.25ms\n  123456 requests in 5.00s, 90.00MB read\nRequests/sec:  24691.20\nTransfer/sec:     18.00MB\n";
        let expected = Said {
            requests: 123_456.0,
            p99_us: 1250.0,
        };
        assert_eq!(Said::parse(text), Some(expected));
        assert_eq!(Said::parse("Requests/sec: 1"), None);
    }
}
