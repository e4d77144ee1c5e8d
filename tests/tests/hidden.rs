//! What is said of TLS that nobody can decrypt is what its sockets moved, to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tests::{AgentOptions, Node, NodeOptions, can_capture, only, until};

/// Of a hello of the program.
const HELLO_BYTES: u64 = 200;

/// A running program. It is ended when this is dropped.
struct Hidden {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hidden {
    fn start(program: &std::path::Path) -> Self {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn ask(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

/// What is known of the workload: library, reason, connections and bytes on the wire of each class.
fn traffic(node: &Node, workload: &str) -> Vec<Value> {
    let found = node.api().all(&format!("coverage?workload={workload}"));
    let rows = found.iter().flat_map(|row| row["traffic"].as_array().unwrap());
    rows.cloned().collect()
}

fn connections(rows: &[Value]) -> u64 {
    rows.iter().map(|row| row["connections"].as_u64().unwrap()).sum()
}

fn wire_bytes(rows: &[Value]) -> u64 {
    rows.iter().map(|row| row["wire_bytes"].as_u64().unwrap()).sum()
}

fn counts_tls(provider: &str) {
    if !can_capture() {
        return;
    }
    let directory = tests::directory();
    let name = format!("hidden-{}-{provider}", std::process::id());
    let program = directory.path().join(&name);
    fs::copy(env!("CARGO_BIN_EXE_hidden"), &program).unwrap();
    let mut node = Node::start(&NodeOptions {
        agent: AgentOptions {
            provider: provider.to_owned(),
            // Connections are looked at while they are open.
            env: vec![(
                "EASTWATCH_AGENT__CAPTURE__RECONCILE_SECONDS".to_owned(),
                "1".to_owned(),
            )],
            ..AgentOptions::default()
        },
        policy: only(&[&format!("*/{name}")]),
    });
    let mut hidden = Hidden::start(&program);
    // Short ones: hellos and 1,000 bytes each way.
    let mut bytes = 0;
    for _ in 0..10 {
        hidden.ask("open");
        hidden.ask("1000");
        hidden.ask("close");
        // Both ends of the connection are the program's.
        bytes += 2 * (2 * HELLO_BYTES + 2_000);
    }
    let short = until("the short connections are counted", || {
        let rows = traffic(&node, &name);
        (wire_bytes(&rows) == bytes).then_some(rows)
    });
    assert_eq!(connections(&short), 20);
    for row in &short {
        // The first may be over before anybody has looked at the program.
        let reason = row["reason"].as_str().unwrap();
        assert!(
            ["no_tls_library_found", "not_looked_at"].contains(&reason),
            "{row}"
        );
        let said = (&row["class"], &row["library"], &row["read_bytes"]);
        assert_eq!(said, (&"tls_undecrypted".into(), &"".into(), &0.into()));
    }

    // A long one is counted while it is open.
    hidden.ask("open");
    bytes += 4 * HELLO_BYTES;
    until("what an open connection moved is counted", || {
        hidden.ask("100");
        bytes += 400;
        let rows = traffic(&node, &name);
        let wire = wire_bytes(&rows);
        assert!(wire <= bytes, "{wire} of {bytes}: {rows:?}");
        (connections(&rows) >= 22).then_some(())
    });
    hidden.ask("3000000");
    bytes += 12_000_000;
    hidden.ask("close");
    until("all is counted", || {
        let rows = traffic(&node, &name);
        assert!(wire_bytes(&rows) <= bytes, "{bytes}: {rows:?}");
        (wire_bytes(&rows) == bytes).then_some(())
    });

    let table = node.cli(&["coverage", "--tls", "--workload", &name]);
    let table = String::from_utf8(table.stdout).unwrap();
    println!("{table}");
    assert!(
        table.contains(&name) && table.contains("no_tls_library_found"),
        "{table}"
    );
    let doctor = String::from_utf8(node.agent.run(&["doctor"]).stdout).unwrap();
    assert!(
        doctor.contains("TLS OF WORKLOAD") && doctor.contains(&name),
        "{doctor}"
    );
    let found = node.api().all(&format!("coverage?workload={name}"));
    assert_eq!(
        found[0]["capture_rate"],
        Value::Null,
        "ciphertext has no part in it"
    );
    node.stop_agent();
    let rows = traffic(&node, &name);
    assert_eq!(wire_bytes(&rows), bytes, "{rows:?}");
}

#[test]
fn what_is_not_decrypted_is_counted_to_the_byte() {
    counts_tls("auto");
}

#[test]
fn also_by_the_fallback_provider() {
    tests::mount_tracefs();
    counts_tls("syscall-exit");
}
