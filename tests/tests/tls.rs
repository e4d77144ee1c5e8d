//! HTTPS: what goes through the TLS libraries of both ends, whole, once, and with the facts of the connection.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tests::api::Call;
use tests::servers::{Certificate, PAGE_BYTES, Server, nginx_tls};
use tests::{AgentOptions, Node, NodeOptions, can_capture, directory, only, program, until};

/// Copies of programs: what else runs on this machine under the same names is left out.
struct Programs {
    home: tempfile::TempDir,
    certificate: Certificate,
}

impl Programs {
    fn new() -> Self {
        let home = directory();
        for name in ["nginx", "curl", "wget"] {
            let binary = program(name).unwrap_or_else(|| panic!("{name} is installed by setup"));
            fs::copy(binary, home.path().join(format!("tls-{name}"))).unwrap();
        }
        let certificate = Certificate::new(home.path());
        Self { home, certificate }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("tls-{name}"))
    }

    /// A node that captures these of them, and nginx.
    fn start(&self, captured: &[&str], provider: &str) -> (Node, Server) {
        let paths: Vec<String> = captured
            .iter()
            .map(|name| self.path(name).to_str().unwrap().to_owned())
            .collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let node = Node::start(&NodeOptions {
            agent: AgentOptions {
                provider: provider.to_owned(),
                ring_bytes: 64 << 20,
                ..AgentOptions::default()
            },
            policy: only(&paths),
        });
        let server = nginx_tls(node.directory(), &self.path("nginx"), &self.certificate);
        (node, server)
    }

    /// curl, which says how many of its requests were answered with 200 and a whole page.
    fn curl(&self, server: &Server, arguments: &[&str], target: &str) -> usize {
        let mut curl = Command::new(self.path("curl"));
        curl.args([
            "-sS",
            "--fail",
            "-w",
            "%{http_code} %{size_download}\n",
            "-o",
            "/dev/null",
        ]);
        curl.args(arguments)
            .arg("--cacert")
            .arg(&self.certificate.certificate);
        curl.arg(format!("https://localhost:{}/{target}", server.address.port()));
        let output = curl.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let whole = format!("200 {PAGE_BYTES}");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| *line == whole)
            .count()
    }

    fn wget(&self, server: &Server, targets: &[String]) {
        let mut wget = Command::new(self.path("wget"));
        wget.args(["-q", "-O", "/dev/null", "--ca-certificate"]);
        wget.arg(&self.certificate.certificate);
        for target in targets {
            wget.arg(format!("https://localhost:{}/{target}", server.address.port()));
        }
        let output = wget.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}

/// Asks until a call is stored: whoever asked first may have been faster than the search for its library.
fn until_probed(node: &Node, server: &Server, mut ask: impl FnMut()) {
    let port = server.address.port();
    until("a call through TLS is stored", || {
        ask();
        (node.api().call_count(port) > 0).then_some(())
    });
}

/// Number of the calls whose target has this in its query, by what tells them apart; each call is whole.
fn whole(calls: &[Call], name: &str) -> BTreeMap<(String, String, String, String, String), usize> {
    let mut seen = BTreeMap::new();
    for call in calls.iter().filter(|call| call.row["query_names"][0] == name) {
        let text = |field: &str| call.row["tls"][field].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (call.status, call.response_body_bytes, call.flags.is_empty()),
            (200, PAGE_BYTES as u64, true),
            "{call:?}"
        );
        let key = (
            format!("{} > {}", call.client_workload, call.server_workload),
            call.side.clone(),
            call.protocol.clone(),
            format!("{} {} {}", text("version"), text("server_name"), text("alpn")),
            text("library"),
        );
        *seen.entry(key).or_default() += 1;
    }
    seen
}

/// In the ledger at least so many connections of the workload are decrypted with this library, and what they moved is more than what was
/// said over them. Of those before its functions were probed the reason is known.
fn in_ledger(node: &Node, workload: &str, library: &str, least: usize) {
    let found = node.api().all(&format!("coverage?workload={workload}"));
    let [row] = found.as_slice() else {
        panic!("{found:?}")
    };
    println!("{workload}: {}", row["traffic"]);
    let traffic = row["traffic"].as_array().unwrap();
    let (decrypted, others): (Vec<_>, Vec<_>) = traffic
        .iter()
        .partition(|one| one["class"] == "tls_decrypted" && one["library"] == library);
    let [decrypted] = decrypted.as_slice() else {
        panic!("{row}")
    };
    let number = |name: &str| decrypted[name].as_u64().unwrap();
    assert!(number("connections") >= least as u64, "{row}");
    assert!(number("wire_bytes") > number("read_bytes"), "{row}");
    assert!(number("read_bytes") >= (least * PAGE_BYTES) as u64, "{row}");
    for other in others {
        assert_eq!(other["class"], "tls_undecrypted", "{row}");
        assert_ne!(other["reason"], "", "{row}");
    }
}

const KEPT: usize = 100;
const FRESH: usize = 20;

fn both_ends(provider: &str) {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let programs = Programs::new();
    let (mut node, server) = programs.start(&["nginx", "curl"], provider);
    let port = server.address.port();
    until_probed(&node, &server, || {
        programs.curl(&server, &[], "page?warm=1");
    });
    let expect = |protocol: &str, version: &str, alpn: &str| {
        (
            "tls-curl > tls-nginx".to_owned(),
            "server".to_owned(),
            protocol.to_owned(),
            format!("{version} localhost {alpn}"),
            "openssl".to_owned(),
        )
    };
    let mut sent = BTreeMap::new();
    for (name, arguments, protocol) in [
        ("two", &["--http2"][..], "HTTP/2"),
        ("one", &["--http1.1", "--tls-max", "1.2"], "HTTP/1.1"),
    ] {
        let kept = programs.curl(&server, arguments, &format!("page?kept-{name}=[1-{KEPT}]"));
        assert_eq!(kept, KEPT);
        sent.insert(format!("kept-{name}"), (kept, protocol));
        for _ in 0..FRESH {
            assert_eq!(
                programs.curl(&server, arguments, &format!("page?fresh-{name}=1")),
                1
            );
        }
        sent.insert(format!("fresh-{name}"), (FRESH, protocol));
        let side_by_side = [arguments, &["--parallel", "--parallel-max", "8"]].concat();
        let parallel = programs.curl(
            &server,
            &side_by_side,
            &format!("page?parallel-{name}=[1-{KEPT}]"),
        );
        assert_eq!(parallel, KEPT);
        sent.insert(format!("parallel-{name}"), (parallel, protocol));
    }
    let warm = node.api().call_count(port);
    let all: u64 = sent.values().map(|(count, _)| *count as u64).sum();
    until("all calls are stored", || {
        let calls = node.api().calls(port);
        let others = calls
            .iter()
            .filter(|call| call.row["query_names"][0] != "warm")
            .count() as u64;
        (others >= all).then_some(())
    });
    println!(
        "{provider}: {warm} calls at first; {}",
        node.agent.metrics().nonzero_events()
    );
    node.stop_agent();
    in_ledger(&node, "tls-nginx", "openssl", 2 * FRESH);
    let calls = node.api().calls(port);
    for (name, (count, protocol)) in &sent {
        let seen = whole(&calls, name);
        println!("{provider}: {name}: {seen:?}");
        assert_eq!(seen.values().sum::<usize>(), *count, "{name}: {seen:?}");
        // In TLS 1.3 the choice of the protocol is encrypted.
        let expect = match *protocol {
            "HTTP/2" => expect(protocol, "TLS 1.3", ""),
            _ => expect(protocol, "TLS 1.2", "http/1.1"),
        };
        assert_eq!(seen.keys().next(), Some(&expect), "{name}");
        assert_eq!(seen.len(), 1, "{name}: {seen:?}");
    }
}

#[test]
fn both_ends_of_openssl() {
    both_ends("auto");
}

#[test]
fn both_ends_of_openssl_at_exits_of_system_calls() {
    both_ends("syscall-exit");
}

/// Only the client is captured, and it has another library.
#[test]
fn a_client_of_gnutls() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let programs = Programs::new();
    let (mut node, server) = programs.start(&["wget"], "auto");
    let port = server.address.port();
    until_probed(&node, &server, || {
        programs.wget(&server, &["page?warm=1".to_owned()])
    });
    let targets: Vec<String> = (0..KEPT).map(|number| format!("page?kept={number}")).collect();
    programs.wget(&server, &targets);
    for _ in 0..FRESH {
        programs.wget(&server, &["page?fresh=1".to_owned()]);
    }
    let all = KEPT + FRESH;
    until("all calls are stored", || {
        let calls = node.api().calls(port);
        let others = calls
            .iter()
            .filter(|call| call.row["query_names"][0] != "warm")
            .count();
        (others >= all).then_some(())
    });
    node.stop_agent();
    in_ledger(&node, "tls-wget", "gnutls", FRESH);
    let calls = node.api().calls(port);
    for (name, count) in [("kept", KEPT), ("fresh", FRESH)] {
        let seen = whole(&calls, name);
        println!("{name}: {seen:?}");
        assert_eq!(seen.values().sum::<usize>(), count, "{name}: {seen:?}");
        for (_, side, protocol, facts, library) in seen.keys() {
            assert_eq!(
                (side.as_str(), protocol.as_str(), facts.as_str(), library.as_str()),
                ("client", "HTTP/1.1", "TLS 1.3 localhost ", "gnutls")
            );
        }
    }
}

/// A server of Node.js, whose library never sees a socket.
const SERVER: &str = r#"
const [https, fs] = [require('node:https'), require('node:fs')];
const [key, cert] = process.argv.slice(1, 3).map((file) => fs.readFileSync(file));
const page = Buffer.alloc(20000, 'p');
const server = https.createServer({ key, cert }, (request, response) => {
  request.resume();
  response.end(page);
});
server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port));
"#;

/// Asks a server so many times, by eight connections that are kept, or by one each.
const CLIENT: &str = r#"
const [https, fs] = [require('node:https'), require('node:fs')];
const [certificate, port, name, count, keepAlive] = process.argv.slice(1);
const ca = fs.readFileSync(certificate);
const agent = new https.Agent({ keepAlive: keepAlive === 'true', maxSockets: 8 });
const get = () => new Promise((done, failed) => {
  const path = `/page?${name}=1`;
  https.get({ host: 'localhost', family: 4, port, path, agent, ca }, (response) => {
    let size = 0;
    response.on('data', (data) => { size += data.length; });
    response.on('end', () => (response.statusCode === 200 && size === 20000 ? done() : failed(new Error(`${size}`))));
  }).on('error', failed);
});
Promise.all(Array.from({ length: Number(count) }, get)).then(() => agent.destroy());
"#;

/// Runs the client of Node.js to its end.
fn ask_from_node(certificate: &Certificate, port: u16, name: &str, count: usize, keeps: bool) {
    let mut node = Command::new(program("node").unwrap());
    node.arg("-e").arg(CLIENT).arg("--").arg(&certificate.certificate);
    node.args([
        port.to_string(),
        name.to_owned(),
        count.to_string(),
        keeps.to_string(),
    ]);
    let output = node.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

/// Asks until calls are stored, then as often as is counted, and holds what is stored against it.
fn over_memory(node: &mut Node, certificate: &Certificate, port: u16, expect: &str) {
    until("a call through TLS is stored", || {
        ask_from_node(certificate, port, "warm", 1, false);
        (node.api().call_count(port) > 0).then_some(())
    });
    ask_from_node(certificate, port, "kept", KEPT, true);
    ask_from_node(certificate, port, "fresh", FRESH, false);
    let others = |calls: &[Call]| {
        let kinds = calls.iter().map(|call| call.row["query_names"][0].as_str());
        kinds.filter(|kind| *kind != Some("warm")).count()
    };
    until("all calls are stored", || {
        (others(&node.api().calls(port)) >= KEPT + FRESH).then_some(())
    });
    println!("{}", node.agent.metrics().nonzero_events());
    node.stop_agent();
    let calls = node.api().calls(port);
    assert_eq!(others(&calls), KEPT + FRESH);
    for (name, count) in [("kept", KEPT), ("fresh", FRESH)] {
        let seen = whole(&calls, name);
        println!("{expect}: {name}: {seen:?}");
        assert_eq!(seen.values().sum::<usize>(), count, "{name}: {seen:?}");
        for (_, side, protocol, facts, library) in seen.keys() {
            assert_eq!(
                (side.as_str(), protocol.as_str(), library.as_str()),
                (expect, "HTTP/1.1", "openssl")
            );
            assert!(facts.starts_with("TLS 1.3 localhost"), "{facts}");
        }
    }
}

/// A node that captures Node.js, wherever it runs.
fn node_of_node() -> Node {
    Node::start(&NodeOptions {
        policy: only(&[program("node").unwrap().to_str().unwrap()]),
        ..NodeOptions::default()
    })
}

#[test]
fn both_ends_over_memory() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let mut node = node_of_node();
    let certificate = Certificate::new(node.directory());
    let mut command = Command::new(program("node").unwrap());
    command.arg("-e").arg(SERVER).arg("--");
    command.arg(&certificate.key).arg(&certificate.certificate);
    let mut server = node.spawn("node", &command);
    let port: u16 = server.until_line("a port", |line| line.strip_prefix("port ")?.parse().ok());
    over_memory(&mut node, &certificate, port, "server");
}

#[test]
fn a_client_over_memory() {
    if !can_capture() {
        return;
    }
    tests::mount_tracefs();
    let programs = Programs::new();
    let mut node = node_of_node();
    let server = nginx_tls(node.directory(), &programs.path("nginx"), &programs.certificate);
    let port = server.address.port();
    over_memory(&mut node, &programs.certificate, port, "client");
}
