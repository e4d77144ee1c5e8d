//! The services of the demo and their traffic, all on loopback and, as far as they write, in one directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::children::{Children, Output};
use crate::command;
use crate::daemons::free_address;
use crate::workspace::Workspace;

/// Time for a service to accept connections.
const READY_DEADLINE: Duration = Duration::from_secs(30);

const PAGE: &str = "<!doctype html><title>Shop</title><link rel=stylesheet href=/static/shop.css><h1>Shop</h1><img src=/static/logo.svg>\n";
const STYLE: &str = "body { font-family: sans-serif; margin: 2em }\n";
const LOGO: &str =
    "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><circle cx='20' cy='20' r='18'/></svg>\n";

/// Starts everything, the client last. Returns the URL of the shop.
pub fn start(workspace: &Workspace, children: &mut Children, directory: &Path) -> Result<String> {
    let sources = workspace.root.join("tests/services/demo");
    let orders = free_address()?.port().to_string();

    let mut payments = Command::new("node");
    payments.arg(sources.join("payments.mjs")).args(["0", &orders]);
    let payments = children
        .start("payments", &payments, Output::Kept, READY_DEADLINE, ready_port)?
        .to_string();

    let mut service = Command::new("python3");
    service.arg(sources.join("orders.py")).args([&orders, &payments]);
    children.start("orders", &service, Output::Kept, READY_DEADLINE, ready_port)?;

    let shop = free_address()?.port();
    let nginx = nginx(directory, shop, &orders)?;
    let accepts = |line: &str| line.contains("start worker process").then_some(());
    children.start("nginx", &nginx, Output::Kept, READY_DEADLINE, accepts)?;

    let mut client = Command::new("python3");
    client
        .arg(sources.join("client.py"))
        .args([&shop.to_string(), &payments]);
    let begins = |line: &str| (line == "ready").then_some(());
    children.start("client", &client, Output::Kept, READY_DEADLINE, begins)?;
    Ok(format!("http://127.0.0.1:{shop}"))
}

/// The line of a service that accepts connections: `ready PORT`.
fn ready_port(line: &str) -> Option<u16> {
    line.strip_prefix("ready ")?.parse().ok()
}

/// nginx in the foreground, logging to its standard error: static files, and the orders service below `/api/`.
fn nginx(directory: &Path, port: u16, orders: &str) -> Result<Command> {
    let home = directory.join("nginx");
    let write = |name: &str, content: &str| -> Result<()> {
        let file = home.join(name);
        let parent = file.parent().context("a file lies in a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&file, content).with_context(|| format!("writing {}", file.display()))
    };
    write("html/index.html", PAGE)?;
    write("html/static/shop.css", STYLE)?;
    write("html/static/logo.svg", LOGO)?;
    write("nginx.conf", &configuration(&home, port, orders))?;
    // The workers are not root: they must get through to the files. What is secret beside them has its own permissions.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o711))
        .context("opening the directory to nginx")?;

    let program =
        command::find_program("nginx").context("nginx is not installed; run `cargo xtask setup --demo`")?;
    let mut nginx = Command::new(program);
    nginx
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(&home)
        .arg("-c")
        .arg(home.join("nginx.conf"));
    Ok(nginx)
}

fn configuration(home: &Path, port: u16, orders: &str) -> String {
    let home = home.display();
    format!(
        "daemon off;
user nobody nogroup;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    types {{ text/html html; text/css css; image/svg+xml svg; }}
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    upstream orders {{ server 127.0.0.1:{orders}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        root {home}/html;
        location /api/ {{
            proxy_pass http://orders/;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
        }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    /// Sends one request and returns the whole answer.
    fn ask(shop: &str, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(shop.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(READY_DEADLINE)).unwrap();
        let length = body.len();
        let rest = "host: shop\r\nconnection: close\r\ncontent-type: application/json";
        write!(
            stream,
            "{head} HTTP/1.1\r\n{rest}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Needs the servers of the demo; where they are not installed it says so, and fails where CI runs.
    #[test]
    fn the_shop_serves_files_and_orders_that_are_paid() {
        let missing: Vec<_> = ["nginx", "node", "python3", "setpriv"]
            .into_iter()
            .filter(|name| command::find_program(name).is_none())
            .collect();
        if !missing.is_empty() || !nix::unistd::geteuid().is_root() {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI has root and the servers of the demo, not without {missing:?}"
            );
            eprintln!("skipped: needs root and {missing:?}");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::locate().unwrap();
        let mut children = Children::new().unwrap();
        let shop = start(&workspace, &mut children, directory.path()).unwrap();

        let page = ask(&shop, "GET /", "");
        assert!(page.starts_with("HTTP/1.1 200") && page.ends_with(PAGE), "{page}");
        let user = ask(&shop, "GET /api/users/7", "");
        assert!(
            user.starts_with("HTTP/1.1 200") && user.contains(r#""id": 7"#),
            "{user}"
        );
        let order = ask(&shop, "POST /api/orders", r#"{"user": 7, "amount": 12}"#);
        // One payment in eleven is declined; which one depends on the client's traffic.
        let paid = order.starts_with("HTTP/1.1 201") && order.contains(r#""payment": ""#);
        assert!(paid || order.starts_with("HTTP/1.1 402"), "{order}");
        assert!(ask(&shop, "GET /api/nothing", "").starts_with("HTTP/1.1 404"));
        children.end();
        assert!(TcpStream::connect(shop.trim_start_matches("http://")).is_err());
    }
}
