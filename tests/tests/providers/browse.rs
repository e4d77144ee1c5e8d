//! Clients and servers that know nothing of each other.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use tests::http::Client;
use tests::servers::{self, Server, free_port, load_server};
use tests::{Node, until};

use crate::evidence::{Evidence, Losses, Sent};

/// Requests of each kind on the connection that is kept.
const KEPT: u64 = 20;

/// Runs of a client that makes one request each.
const RUNS: u64 = 8;

fn evidence(server: Server, clients: &'static [&'static str], sent: Vec<Sent>) -> Evidence {
    Evidence {
        port: server.address.port(),
        sent,
        clients,
        server: server.workload,
        losses: Losses::None,
        _process: Some(server),
    }
}

fn loadserver(node: &Node) -> Server {
    load_server(env!("CARGO_BIN_EXE_loadserver"), node.directory())
}

/// GET and POST in turn on one connection; every size is compared.
pub fn keep_alive(node: &Node) -> Evidence {
    let server = loadserver(node);
    let mut client = Client::connect(server.address).unwrap();
    let mut sent = Vec::new();
    for sequence in 0..2 * KEPT {
        let head = format!("host: {}\r\nx-seq: {sequence}\r\n", server.address);
        let body = format!(
            "{{\"item\":{sequence},\"text\":\"{}\"}}",
            "x".repeat(sequence as usize * 50)
        );
        let request = if sequence % 2 == 0 {
            format!("GET /api/items HTTP/1.1\r\n{head}\r\n")
        } else {
            let length = body.len();
            format!(
                "POST /api/items HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        };
        let response = client.ask(&request);
        assert_eq!(response.status, 200);
        sent.push(Sent::counted(&request, Some(sequence), &response));
    }
    evidence(server, &["providers"], sent)
}

/// busybox's client, a process and a connection for each request.
pub fn wget(node: &Node) -> Evidence {
    let server = loadserver(node);
    let mut sent = Vec::new();
    for sequence in 0..2 * RUNS {
        let method = if sequence % 2 == 0 { "GET" } else { "POST" };
        let mut wget = busybox_wget(server.address, sequence);
        if method == "POST" {
            wget.args(["--post-data", "{\"name\":\"value\"}"]);
        }
        let status = wget.status().unwrap();
        assert!(status.success(), "wget: {status}");
        sent.push(Sent::plain(method, Some(sequence)));
    }
    evidence(server, &["busybox"], sent)
}

/// A request by curl, with a number that the server repeats.
pub fn curl(address: SocketAddr, sequence: u64) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "-o", "/dev/null", "-H"])
        .arg(format!("x-seq: {sequence}"))
        .arg(format!("http://{address}/api/items"));
    curl
}

/// A request by a process of its own, with a number that the server repeats.
pub fn busybox_wget(address: SocketAddr, sequence: u64) -> Command {
    let mut wget = Command::new("busybox");
    wget.args(["wget", "-q", "-O", "/dev/null", "--header"])
        .arg(format!("x-seq: {sequence}"))
        .arg(format!("http://{address}/api/items"));
    wget
}

/// busybox's server, which forks for each connection and sends files with `sendfile`.
pub fn httpd(node: &Node) -> Evidence {
    let root = node.directory().join("httpd");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("page"), "a page\n".repeat(5000)).unwrap();
    let port = free_port();
    let mut command = Command::new("busybox");
    command
        .args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"])
        .arg(&root);
    let process = node.spawn("httpd", &command);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until("httpd listens", || TcpStream::connect(address).ok());
    let server = Server {
        name: "httpd",
        process,
        address,
        workload: "busybox",
    };
    let mut sent = Vec::new();
    for _ in 0..RUNS {
        let request = format!("GET /page HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        let response = Client::connect(address).unwrap().ask(&request);
        assert_eq!(response.body.len(), 35_000);
        sent.push(Sent::counted(&request, None, &response));
    }
    evidence(server, &["providers"], sent)
}

/// curl on one connection, nginx with its workers and `sendfile`.
pub fn curl_nginx(node: &Node) -> Evidence {
    let server = servers::nginx(node.directory());
    let url = |path: &str| format!("http://{}{path}", server.address);
    let mut curl = Command::new("curl");
    let mut sent = Vec::new();
    for number in 0..2 * RUNS {
        if number > 0 {
            curl.arg("--next");
        }
        curl.args(["--silent", "--show-error", "--fail", "-o", "/dev/null"]);
        if number % 2 == 0 {
            curl.arg(url("/large"));
            sent.push(Sent::plain("GET", None));
        } else {
            curl.args(["--json", "{\"name\":\"value\"}"])
                .arg(url("/upload/sink"));
            sent.push(Sent {
                status: 201,
                ..Sent::plain("POST", None)
            });
        }
    }
    let status = curl.status().unwrap();
    assert!(status.success(), "curl: {status}");
    evidence(server, &["curl"], sent)
}
