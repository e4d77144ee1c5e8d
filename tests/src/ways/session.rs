//! An agent that watches, and what it shows: its calls as they happen and its counters, both from its control socket.

use std::collections::BTreeMap;
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
use crate::wait::{DEADLINE, found_within, until};

/// How long a verdict other than `captured` has to stay the same: a second after its end a connection is given up, and what it lacks is
/// counted then.
const SETTLED: Duration = Duration::from_millis(2500);
/// Looks at a verdict that keeps changing; then it is what it is.
const LOOKS_MAX: u32 = 8;
/// How long the row of a mark may take before another is made.
const MARK_WAIT: Duration = Duration::from_millis(500);

/// Begins the targets of marks.
const MARKS: &str = "/mark/";

/// What holds a burst of other traffic of the machine.
const RING_BYTES: u32 = 64 << 20;
/// Counter of what found no room in it.
const RING_FULL: &str = "kernel.ring_full";
/// How often a way is gone that it has spoilt.
const ATTEMPTS_MAX: u32 = 3;

/// Losses that are not marked as such: on purpose of whoever did it, but bytes that no row shows.
const UNMARKED_LOSSES: [&str; 1] = ["discarded"];
/// What is missing between records: what no program was told of, and all.
const TRACKED: [&str; 2] = ["unseen_bytes", "gaps"];
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
        until("the agent shows a call", || session.mark(MARK_WAIT).then_some(()));
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
        self.catch_up();
        let first = self.look(&way, &before);
        if matches!(first.verdict, Verdict::Captured | Verdict::Impossible) {
            return first;
        }
        self.settle(&way, &before, first)
    }

    /// Waits until the agent shows what happens now: then it has dealt with all that came before.
    fn catch_up(&mut self) {
        assert!(
            self.mark(DEADLINE),
            "the agent shows nothing any more: {}",
            self.agent.stderr()
        );
    }

    fn look(&self, way: &Way, before: &Growth) -> Cell {
        let status = self.status();
        let growth = losses(&status)
            .into_iter()
            .map(|(name, now)| (now - before.get(&name).unwrap_or(&0), name))
            .filter(|(bytes, _)| *bytes > 0)
            .map(|(bytes, name)| (name, bytes))
            .collect();
        // A mark may have got the port that the way's server had.
        let mut rows = self.rows.lock().unwrap().clone();
        rows.retain(|row| !row.target.starts_with(MARKS));
        let mut cell = judge(way, &rows, &growth);
        cell.meanings = meanings(&status);
        cell.meanings.retain(|name, _| cell.growth.contains_key(name));
        cell
    }

    /// Looks until the verdict stays the same for [`SETTLED`] and the agent has got to what happened after that: an agent that lags
    /// behind, because its processor is emulated, is waited for.
    fn settle(&mut self, way: &Way, before: &Growth, first: Cell) -> Cell {
        let key = |cell: &Cell| (cell.verdict, cell.rows, cell.complete);
        let mut last = first;
        for _ in 0..LOOKS_MAX {
            // The agent's clock runs no slower where its processor is emulated.
            let since = Instant::now();
            while key(&self.look(way, before)) == key(&last) && since.elapsed() < SETTLED {
                std::thread::sleep(MARK_WAIT / 10);
            }
            let is_quiet = since.elapsed() >= SETTLED;
            self.catch_up();
            let now = self.look(way, before);
            let is_settled = is_quiet && key(&now) == key(&last);
            last = now;
            if is_settled {
                break;
            }
        }
        last
    }

    /// A plain exchange of this process; whether its row came in time.
    fn mark(&mut self, wait: Duration) -> bool {
        self.marks += 1;
        let path = format!("{MARKS}{}-{}", std::process::id(), self.marks);
        exchange(&path).unwrap_or_else(|error| panic!("cannot talk to itself: {error}"));
        let shown = || self.rows.lock().unwrap().iter().any(|row| row.target == path);
        found_within(wait, || shown().then_some(())).is_some()
    }
}

/// Bytes of losses: what the programs did not send, and what is missing between what they sent.
fn losses(status: &Value) -> Growth {
    let rows = status["counters"].as_array().into_iter().flatten();
    let is_loss = |row: &&Value| {
        let (stage, name) = (&row["stage"], row["name"].as_str().unwrap_or_default());
        let of_kernel = stage == "kernel" && (row["fate"] != "counted" || UNMARKED_LOSSES.contains(&name));
        (of_kernel && !ON_PURPOSE.contains(&name)) || (stage == "tracker" && TRACKED.contains(&name))
    };
    rows.filter(is_loss)
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default();
            let name = format!("{}.{}", text("stage"), text("name"));
            (name, row["bytes"].as_u64().unwrap_or_default())
        })
        .collect()
}

/// What the agent says of its counters, by `stage.name`.
fn meanings(status: &Value) -> BTreeMap<String, String> {
    let rows = status["counters"].as_array().into_iter().flatten();
    rows.map(|row| {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        (
            format!("{}.{}", text("stage"), text("name")),
            text("meaning").to_owned(),
        )
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
