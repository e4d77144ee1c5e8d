//! An agent that watches, and what it shows: its calls as they happen and its counters, both from its control socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::judge::{Cell, Growth, Row, Verdict, judge};
use super::report::{self, Way};
use crate::process::Process;
use crate::wait::{until, until_within};

/// How long a verdict other than `captured` has to stay the same: a second after its end a connection is given up, and what it lacks is
/// counted then.
const SETTLED: Duration = Duration::from_millis(2500);
/// After so long it is what it is.
const SETTLED_BY: Duration = Duration::from_secs(10);
/// How long the row of a mark may take.
const MARK_WAIT: Duration = Duration::from_secs(2);

/// What holds a burst of other traffic of the machine.
const RING_BYTES: u32 = 64 << 20;
/// Counter of what found no room in it.
const RING_FULL: &str = "kernel.ring_full";
/// How often a way is gone that it has spoilt.
const ATTEMPTS_MAX: u32 = 3;

/// Losses that are not marked as such: on purpose of whoever did it, but bytes that no row shows.
const UNMARKED_LOSSES: [&str; 1] = ["discarded"];
/// What an agent leaves out because of a limit or a policy: neither concerns what the ways carry.
const ON_PURPOSE: [&str; 3] = ["capped", "skipped", "filtered"];

/// What is judged.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's program.
    pub agent: PathBuf,
    /// The program `ways`.
    pub ways: PathBuf,
    /// `capture.provider`.
    pub provider: String,
}

/// See the module's description.
pub struct Session {
    options: Options,
    agent: Process,
    socket: PathBuf,
    rows: Arc<Mutex<Vec<Row>>>,
    marks: u64,
    _directory: TempDir,
}

impl Session {
    /// Starts an agent; gives it once it shows what happens.
    ///
    /// # Panics
    /// It does not start, or shows nothing.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let directory = crate::directory();
        let socket = directory.path().join("agent.sock");
        let mut command = Command::new(&options.agent);
        command
            .arg("run")
            .env("EASTWATCH_AGENT__CAPTURE__PROVIDER", &options.provider)
            .env("EASTWATCH_AGENT__CONTROL__SOCKET", &socket)
            .env("EASTWATCH_AGENT__CAPTURE__RING_BYTES", RING_BYTES.to_string())
            .env("EASTWATCH_AGENT__METRICS__LISTEN", "127.0.0.1:0")
            // Nobody listens there: what happens is asked for here.
            .env("EASTWATCH_AGENT__COLLECTOR__URL", "http://127.0.0.1:1")
            .env("EASTWATCH_AGENT__SPOOL__DIR", directory.path().join("spool"))
            .env("EASTWATCH_AGENT__LOG__LEVEL", "error");
        let mut agent = Process::start("agent", directory.path(), &command);
        agent.until_line("captures", |line| line.starts_with("listening").then_some(()));
        let mut session = Self {
            options: options.clone(),
            agent,
            rows: tail(&socket),
            socket,
            marks: 0,
            _directory: directory,
        };
        // The first marks may go by before the agent shows anything.
        let shown = |session: &mut Self| session.mark(MARK_WAIT / 4).then_some(());
        until("the agent shows a call", || shown(&mut session));
        session
    }

    /// The provider in use.
    #[must_use]
    pub fn provider(&self) -> String {
        self.status()["provider"].as_str().unwrap_or_default().to_owned()
    }

    /// What the agent says of itself at this moment.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut stream = ask(&self.socket, "\"status\"");
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{}", self.agent.stderr()))
    }

    /// Goes a way and judges what became of it; once more when other traffic of the machine left it no room in the ring buffer.
    ///
    /// # Panics
    /// The agent or the program do not work at all.
    pub fn judge(&mut self, name: &str) -> Cell {
        let mut cell = self.judge_once(name);
        for _ in 1..ATTEMPTS_MAX {
            if cell.verdict == Verdict::Captured || !cell.growth.contains_key(RING_FULL) {
                break;
            }
            cell = self.judge_once(name);
        }
        cell
    }

    fn judge_once(&mut self, name: &str) -> Cell {
        // What came before is not its own: an earlier way, or attempt, may have had the same port.
        self.rows.lock().unwrap().clear();
        let before = losses(&self.status());
        let way = report::go(&self.options.ways, name);
        // Records come in order: whatever was to be shown of the way comes before the row of this mark.
        assert!(
            self.mark(MARK_WAIT * 10),
            "the agent shows nothing any more: {}",
            self.agent.stderr()
        );
        let first = self.look(&way, &before);
        if matches!(first.verdict, Verdict::Captured | Verdict::Impossible) {
            return first;
        }
        self.settle(&way, &before, first)
    }

    fn look(&self, way: &Way, before: &Growth) -> Cell {
        let growth = losses(&self.status())
            .into_iter()
            .map(|(name, now)| (now - before.get(&name).unwrap_or(&0), name))
            .filter(|(bytes, _)| *bytes > 0)
            .map(|(bytes, name)| (name, bytes))
            .collect();
        judge(way, &self.rows.lock().unwrap(), &growth)
    }

    fn settle(&self, way: &Way, before: &Growth, first: Cell) -> Cell {
        let (mut last, mut since, end) = (first, Instant::now(), Instant::now() + SETTLED_BY);
        until_within(SETTLED_BY * 2, "the verdict is settled", || {
            let cell = self.look(way, before);
            if (cell.verdict, cell.rows, cell.complete) != (last.verdict, last.rows, last.complete) {
                since = Instant::now();
            }
            last = cell;
            (since.elapsed() > SETTLED || Instant::now() > end).then(|| last.clone())
        })
    }

    /// A plain exchange of this process; whether its row came in time.
    fn mark(&mut self, wait: Duration) -> bool {
        self.marks += 1;
        let path = format!("/mark/{}-{}", std::process::id(), self.marks);
        exchange(&path).unwrap_or_else(|error| panic!("cannot talk to itself: {error}"));
        let end = Instant::now() + wait;
        loop {
            if self.rows.lock().unwrap().iter().any(|row| row.target == path) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Bytes of losses: what the programs did not send, and what is missing between what they sent.
fn losses(status: &Value) -> Growth {
    let rows = status["counters"].as_array().into_iter().flatten();
    let is_loss = |row: &&Value| {
        let (stage, name) = (&row["stage"], row["name"].as_str().unwrap_or_default());
        let of_kernel = stage == "kernel" && (row["fate"] != "counted" || UNMARKED_LOSSES.contains(&name));
        (of_kernel && !ON_PURPOSE.contains(&name)) || (stage == "tracker" && name == "gaps")
    };
    rows.filter(is_loss)
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default();
            let name = format!("{}.{}", text("stage"), text("name"));
            (name, row["bytes"].as_u64().unwrap_or_default())
        })
        .collect()
}

fn ask(socket: &Path, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{request}").unwrap();
    stream
}

/// Collects calls as they are shown, until the agent ends.
fn tail(socket: &Path) -> Arc<Mutex<Vec<Row>>> {
    let rows = Arc::<Mutex<Vec<Row>>>::default();
    let (stream, collected) = (ask(socket, r#"{"tail":{}}"#), Arc::clone(&rows));
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            let line: Value = serde_json::from_str(&line).unwrap();
            // A call that was not shown would look like one that was not seen.
            assert!(line["missed"].is_null(), "calls go by too fast to be judged");
            collected.lock().unwrap().push(Row::parse(&line["call"]));
        }
    });
    rows
}

/// A request and its response.
fn exchange(path: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: ways.test\r\n\r\n");
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    client.write_all(request.as_bytes())?;
    server.read_exact(&mut vec![0; request.len()])?;
    server.write_all(response)?;
    client.read_exact(&mut vec![0; response.len()])
}
