//! What can go wrong around the agent and the collector: a clear text with cause and remedy, and nothing lost that was stored.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use tests::servers::{Server, free_port, load_server};
use tests::{Agent, AgentOptions, Collector, Process, UNLIMITED, can_capture, directory, http, until};

fn server(directory: &Path) -> Server {
    load_server(env!("CARGO_BIN_EXE_loadserver"), directory)
}

fn ask(server: &Server, times: usize) {
    for _ in 0..times {
        http::get(server.address, "/api/items").unwrap();
    }
}

fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Waits until so many exchanges have been seen.
fn until_exchanges(agent: &Agent, count: u64) {
    until(&format!("{count} exchanges are seen"), || {
        (agent.metrics().event("tracker", "exchanges") >= count).then_some(())
    });
}

/// Waits until what was seen lies in the spool.
fn until_spooled(agent: &Agent) {
    until("batches wait in the spool", || {
        (agent.metrics().get("eastwatch_agent_spool_batches") > 0).then_some(())
    });
}

/// Without a policy the default budget of rows counts: fewer than it in a second are all sent.
const FEW: usize = 10;

fn until_counted(collector: &Collector, server: &Server, count: u64) {
    until(&format!("{count} calls are counted"), || {
        (collector.api().call_count(server.address.port()) == count).then_some(())
    });
}

#[test]
fn a_collector_that_is_down_gets_everything_later() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let server = server(directory.path());
    let address = nobody();
    let mut agent = Agent::start(directory.path(), address, &AgentOptions::default());
    agent
        .process
        .until_line("says that the collector is down", |line| {
            (line.contains("cannot connect to the collector") && line.contains("start the collector"))
                .then_some(())
        });
    ask(&server, FEW);
    until_exchanges(&agent, FEW as u64);
    until_spooled(&agent);
    let report = agent.doctor();
    assert_eq!(report["agent"]["export"]["link"], "retrying");
    let error = report["agent"]["export"]["last_error"].as_str().unwrap();
    assert!(error.contains("cannot connect"), "{error}");

    // Also across a restart of the agent.
    agent.process.terminate();
    drop(agent);
    let collector = Collector::start(directory.path(), UNLIMITED, &address.to_string());
    let agent = Agent::start(directory.path(), address, &AgentOptions::default());
    until_counted(&collector, &server, FEW as u64);
    assert_eq!(collector.api().calls(server.address.port()).len(), FEW);
    until("the spool is empty", || {
        (agent.metrics().get("eastwatch_agent_spool_batches") == 0).then_some(())
    });
}

#[test]
fn a_collector_that_answers_garbage_is_named_and_replaced() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let server = server(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut agent = Agent::start(directory.path(), address, &AgentOptions::default());
    ask(&server, FEW);
    let mut open = Vec::new();
    until("the agent says that this is no collector", || {
        if let Ok((mut stream, _)) = listener.accept() {
            let _ =
                stream.write_all(b"\x00\xff garbage, not HTTP/2 \r\n\r\n and more of it, again and again");
            open.push(stream);
        }
        let said = agent.process.stderr();
        said.lines()
            .any(|line| line.contains("WARN") && line.contains("does not speak HTTP/2"))
            .then_some(())
    });
    until_exchanges(&agent, FEW as u64);
    until_spooled(&agent);
    assert_eq!(agent.process.try_wait(), None);
    drop(open);
    drop(listener);
    let collector = Collector::start(directory.path(), UNLIMITED, &address.to_string());
    until_counted(&collector, &server, FEW as u64);
    assert_eq!(collector.api().calls(server.address.port()).len(), FEW);
}

/// Bytes flipped in the middle of what waits: said, counted, and the batches around it are delivered.
#[test]
fn a_corrupt_spool_loses_only_what_is_corrupt() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let server = server(directory.path());
    let address = nobody();
    let mut agent = Agent::start(directory.path(), address, &AgentOptions::default());
    let batches = |agent: &Agent| agent.metrics().get("eastwatch_agent_spool_batches");
    let mut asked = 0;
    until("several batches wait", || {
        ask(&server, 1);
        asked += 1;
        (batches(&agent) >= 5).then_some(())
    });
    agent.process.terminate();
    drop(agent);
    let spool = directory.path().join("spool");
    let segment = fs::read_dir(&spool)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "spool"))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 8] {
        *byte ^= 0x5a;
    }
    fs::write(&segment, &bytes).unwrap();

    let collector = Collector::start(directory.path(), UNLIMITED, &address.to_string());
    let mut agent = Agent::start(directory.path(), address, &AgentOptions::default());
    let said = agent.process.until_line("tells of the damage", |line| {
        (line.contains("WARN") && line.contains(spool.to_str().unwrap())).then(|| line.to_owned())
    });
    println!("{said}");
    until("the spool is empty", || (batches(&agent) == 0).then_some(()));
    let stored = collector.api().call_count(server.address.port());
    println!("{stored} of {asked} calls survive");
    assert!(stored > 0 && stored < asked, "{stored} of {asked}");
    ask(&server, 1);
    until_counted(&collector, &server, stored + 1);
}

/// A file system of a given size; unmounted with this value.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path)
            .status();
        assert!(status.unwrap().success(), "cannot mount a tmpfs");
        Self(path)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let server = server(directory.path());
    let path = directory.path().join("disk");
    let _disk = SmallDisk::mount(&path, "256k");
    let address = nobody();
    let options = AgentOptions {
        spool: Some(path.join("spool")),
        ..AgentOptions::default()
    };
    let mut agent = Agent::start(directory.path(), address, &options);
    // Full from now on.
    let mut filler = fs::File::create(path.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    ask(&server, FEW);
    let said = agent.process.until_line("tells of the full disk", |line| {
        (line.contains("No space left on device")).then(|| line.to_owned())
    });
    assert!(said.contains("free space"), "{said}");
    until_exchanges(&agent, FEW as u64);
    let report = agent.doctor();
    let trouble = report["agent"]["export"]["spool_trouble"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(trouble.contains("No space left"), "{report:#}");

    fs::remove_file(path.join("filler")).unwrap();
    let collector = Collector::start(directory.path(), UNLIMITED, &address.to_string());
    until_counted(&collector, &server, FEW as u64);
    assert_eq!(collector.api().calls(server.address.port()).len(), FEW);
}

/// Runs the agent so that it fails; gives what it says.
fn failing(directory: &Path, prefix: &[&str]) -> String {
    let agent = Agent::command(directory, nobody(), &AgentOptions::default());
    let mut command = Command::new(prefix[0]);
    command.args(&prefix[1..]).arg(agent.get_program()).arg("run");
    for (key, value) in agent.get_envs() {
        command.env(key, value.unwrap());
    }
    let mut process = Process::start("failing", directory, &command);
    assert_eq!(process.wait().code(), Some(1), "{}", process.stderr());
    process.stderr()
}

#[test]
fn a_kernel_without_types_is_named_with_the_remedy() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let hide = format!("mount --bind {} /sys/kernel/btf && exec \"$@\"", empty.display());
    let said = failing(directory.path(), &["unshare", "-m", "sh", "-c", &hide, "sh"]);
    println!("{said}");
    assert!(
        said.contains("/sys/kernel/btf/vmlinux") && said.contains("CONFIG_DEBUG_INFO_BTF"),
        "{said}"
    );
}

#[test]
fn missing_privileges_are_named_with_the_remedy() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    // The binary may lie where only root gets through.
    let binary = directory.path().join("agent");
    let agent = Agent::command(&home, nobody(), &AgentOptions::default());
    fs::copy(agent.get_program(), &binary).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&binary)
        .arg("run");
    for (key, value) in agent.get_envs() {
        command.env(key, value.unwrap());
    }
    let mut process = Process::start("unprivileged", directory.path(), &command);
    assert_eq!(process.wait().code(), Some(1), "{}", process.stderr());
    let said = process.stderr();
    println!("{said}");
    assert!(said.contains("run as root") && said.contains("BPF"), "{said}");
}

#[test]
fn a_corrupt_store_is_refused_and_left_as_it_is() {
    if !can_capture() {
        return;
    }
    let directory = directory();
    let store = directory.path().join("eastwatch.db");
    let garbage: Vec<u8> = (0..20_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    fs::write(&store, &garbage).unwrap();
    fs::write(directory.path().join("policy.toml"), "").unwrap();
    let command = Collector::command(directory.path(), "127.0.0.1:0", "127.0.0.1:0");
    let mut process = Process::start("collector", directory.path(), &command);
    assert_eq!(process.wait().code(), Some(1), "{}", process.stderr());
    let said = process.stderr();
    println!("{said}");
    assert!(said.contains(store.to_str().unwrap()), "{said}");
    assert_eq!(fs::read(&store).unwrap(), garbage);
}
