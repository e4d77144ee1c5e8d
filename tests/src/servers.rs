//! Real servers, each with a port of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, program};

/// Size of the large file of the web servers and of `/large` elsewhere.
pub const LARGE_BYTES: usize = 300_000;

/// Size of the page of the web servers: more than goes with a head, less than what is skipped in the kernel.
pub const PAGE_BYTES: usize = 20_000;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// What it is called in messages.
    pub name: &'static str,
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// Part of the name that the agent gives its workload.
    pub workload: &'static str,
}

/// A loopback port that nobody listens on.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("services")
}

pub(crate) fn start(
    name: &'static str,
    workload: &'static str,
    directory: &Path,
    command: &Command,
    host: &str,
) -> Server {
    let mut process = Process::start(name, directory, command);
    let port: u16 = process.until_line("is ready", |line| line.strip_prefix("ready ")?.parse().ok());
    let host = if host == "::" { "127.0.0.1" } else { host };
    Server {
        name,
        process,
        address: SocketAddr::new(host.parse().unwrap(), port),
        workload,
    }
}

/// The server of this package for volume, given its path (`env!("CARGO_BIN_EXE_loadserver")`).
#[must_use]
pub fn load_server(binary: &str, directory: &Path) -> Server {
    start(
        "loadserver",
        "loadserver",
        directory,
        &Command::new(binary),
        "127.0.0.1",
    )
}

/// Python's standard library.
#[must_use]
pub fn python(directory: &Path, host: &str) -> Server {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(sources().join("server.py")).args(["0", host]);
    start("python", "server.py", directory, &command, host)
}

/// Node's standard library.
#[must_use]
pub fn node(directory: &Path, host: &str) -> Server {
    let mut command = Command::new("node");
    command.arg(sources().join("server.mjs")).args(["0", host]);
    start("node", "server.mjs", directory, &command, host)
}

/// The JDK's own server.
#[must_use]
pub fn java(directory: &Path, host: &str) -> Server {
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg(sources().join("Server.java"))
        .args(["0", host]);
    start("java", "Server", directory, &command, host)
}

/// Go's standard library; built first.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn go(directory: &Path, host: &str) -> Server {
    let binary = directory.join("goserver");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg("server.go")
        .current_dir(sources())
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let mut command = Command::new(binary);
    command.args(["0", host]);
    start("go", "goserver", directory, &command, host)
}

/// The files that both web servers serve.
fn web_root(directory: &Path) -> PathBuf {
    let root = directory.join("html");
    fs::create_dir_all(root.join("static")).unwrap();
    fs::write(root.join("echo"), "echo\n").unwrap();
    fs::write(root.join("static/hello"), "hello\n").unwrap();
    fs::write(root.join("page"), vec![b'p'; PAGE_BYTES]).unwrap();
    fs::write(root.join("large"), vec![b'x'; LARGE_BYTES]).unwrap();
    root
}

/// nginx with two workers that are not root, sending files with sendfile.
#[must_use]
pub fn nginx(directory: &Path) -> Server {
    nginx_of(directory, &program("nginx").unwrap())
}

/// As [`nginx`], of this binary: a copy is a workload of its own.
#[must_use]
pub fn nginx_of(directory: &Path, binary: &Path) -> Server {
    nginx_with(directory, binary, None)
}

/// As [`nginx_of`], with TLS: HTTP/2 for who asks for it.
#[must_use]
pub fn nginx_tls(directory: &Path, binary: &Path, certificate: &Certificate) -> Server {
    nginx_with(directory, binary, Some(certificate))
}

/// A certificate for `localhost` and its key, self-signed.
#[derive(Debug)]
pub struct Certificate {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one, with files in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        let mut openssl = Command::new(program("openssl").unwrap());
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        openssl.args(["-nodes", "-days", "1", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        openssl.arg("-out").arg(&certificate).arg("-keyout").arg(&key);
        let output = openssl.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self { certificate, key }
    }
}

fn nginx_with(directory: &Path, binary: &Path, certificate: Option<&Certificate>) -> Server {
    let root = web_root(directory);
    let (home, port) = (directory.join("nginx"), free_port());
    let tls = certificate.map_or_else(String::new, |certificate| {
        format!(
            "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
            certificate.certificate.display(),
            certificate.key.display()
        )
    });
    let over = if certificate.is_some() { " ssl http2" } else { "" };
    fs::create_dir_all(&home).unwrap();
    let configuration = format!(
        "daemon off; user nobody nogroup; worker_processes 2; pid {home}/pid; error_log stderr notice;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; keepalive_requests 1000000; client_max_body_size 64m;
 client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
 uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
 server {{ listen 127.0.0.1:{port}{over}; {tls} root {root};
  location = /status/health {{ return 204; }}
  location = /upload {{ proxy_pass http://127.0.0.1:{port}/upload/sink; }}
  location = /upload/sink {{ return 201 \"stored\\n\"; }}
 }} }}\n",
        home = home.display(),
        root = root.display(),
    );
    fs::write(home.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new(binary);
    command.args(["-e", "stderr", "-p"]).arg(&home);
    command.arg("-c").arg(home.join("nginx.conf"));
    let mut process = Process::start("nginx", directory, &command);
    process.until_line("is ready", |line| {
        line.contains("start worker process ").then_some(())
    });
    Server {
        name: "nginx",
        process,
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        workload: "nginx",
    }
}

/// Apache with its event workers.
#[must_use]
pub fn apache(directory: &Path) -> Server {
    let root = web_root(directory);
    let (home, port) = (directory.join("apache"), free_port());
    fs::create_dir_all(&home).unwrap();
    let configuration = format!(
        "ServerRoot \"{home}\"\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {home}/pid\nErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
User nobody\nGroup nogroup\nStartServers 1\nThreadsPerChild 16\nMaxRequestWorkers 32\nKeepAlive On\nMaxKeepAliveRequests 0
DefaultRuntimeDir {home}\nMutex pthread
DocumentRoot \"{root}\"\n<Directory \"{root}\">\nRequire all granted\n</Directory>
Redirect 204 /status/health\n",
        home = home.display(),
        root = root.display(),
    );
    fs::write(home.join("httpd.conf"), configuration).unwrap();
    let mut command = Command::new(program("apache2").unwrap());
    command
        .args(["-D", "FOREGROUND", "-f"])
        .arg(home.join("httpd.conf"));
    let mut process = Process::start("apache", directory, &command);
    process.until_line("is ready", |line| {
        line.contains("resuming normal operations").then_some(())
    });
    Server {
        name: "apache",
        process,
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        workload: "apache2",
    }
}
