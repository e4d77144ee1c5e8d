//! Every way that bytes go through a socket: `ways [--list] [WAY…]`.
//!
//! Each way is a server and a client, two processes, that hold a few HTTP/1.1 conversations; the server receives or sends in the named
//! way, the client reads and writes plainly. For each way a line of JSON says what was sent, or why the kernel does not let it:
//! `{"way": …, "sent": exchanges, "port": …, "exchanges": […]}` or `{"way": …, "impossible": "ENOSYS io_uring_setup"}`.
//!
//! Exit codes: 0 done, 1 a way went wrong (it says so as `failed`), 2 usage.

#[cfg(not(target_os = "linux"))]
compile_error!("the ways are those of Linux");

mod client;
mod exchange;
mod int80;
mod pipe;
mod place;
mod process;
mod receive;
mod send;
mod server;
mod sys;
mod table;
mod trouble;
mod uring;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::client::Client;
use crate::exchange::Exchange;
use crate::place::Sockets;
use crate::process::{Child, Shared};
use crate::table::{WAYS, Way};
use crate::trouble::{Done, Trouble, broken};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for way in &WAYS {
            println!("{}", way.name);
        }
        return ExitCode::SUCCESS;
    }
    let known = |name: &String| WAYS.iter().any(|way| way.name == name);
    if let Some(unknown) = arguments.iter().find(|name| !known(name)) {
        eprintln!("ways: no such way: {unknown}; --list tells all");
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    let wanted = |way: &&Way| arguments.is_empty() || arguments.iter().any(|name| name == way.name);
    for way in WAYS.iter().filter(wanted) {
        // A process for each: some change what they run in, and none may end the others.
        let ended = Child::run(|| i32::from(!report(way))).and_then(Child::wait);
        match ended {
            Ok(Some(0)) => {}
            Ok(Some(_)) => code = ExitCode::FAILURE,
            how => {
                say(&json!({"way": way.name, "failed": format!("ended with {how:?}")}));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Goes a way and says how it went. False when it went wrong.
fn report(way: &Way) -> bool {
    let exchanges = Exchange::all(way);
    let gone = go(way, &exchanges);
    let good = !matches!(gone, Err(Trouble::Broken(_)));
    say(&match gone {
        Ok(port) => json!({
            "way": way.name,
            "sent": exchanges.len(),
            "port": port,
            "tcp": way.is_tcp(),
            "exchanges": exchanges.iter().map(|exchange| describe(way, exchange)).collect::<Vec<_>>(),
        }),
        Err(Trouble::Refused(text)) => json!({"way": way.name, "tcp": way.is_tcp(), "impossible": text}),
        Err(Trouble::Broken(text)) => json!({"way": way.name, "tcp": way.is_tcp(), "failed": text}),
    });
    good
}

fn describe(way: &Way, exchange: &Exchange) -> Value {
    let [carried_in, carried_out] = exchange.carried(way);
    json!({
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "request_bytes": exchange.request.0.len(),
        "response_bytes": exchange.response.0.len(),
        "carried_bytes": carried_in + carried_out,
    })
}

fn say(line: &Value) {
    // Whoever does not listen does not want to know.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The server's port, where it has one.
fn go(way: &Way, exchanges: &[Exchange]) -> Done<Option<u16>> {
    let shared = Shared::new()?;
    let mut sockets = Sockets::new(way, Exchange::connections(exchanges).len())?;
    let (reader, writer) = std::io::pipe().map_err(broken("pipe"))?;
    let server = Child::run(|| server::run(way, exchanges, &mut sockets, shared, writer));
    let server = server.map_err(broken("fork"))?;
    let gone = converse(way, exchanges, &mut sockets, shared, server, reader);
    sockets.clean_up();
    gone.map(|()| sockets.port())
}

fn converse(
    way: &Way,
    exchanges: &[Exchange],
    sockets: &mut Sockets,
    shared: &'static Shared,
    server: Child,
    reader: std::io::PipeReader,
) -> Done {
    let mut reports = BufReader::new(reader);
    let mut first = String::new();
    reports.read_line(&mut first).map_err(broken("read"))?;
    if first != server::READY {
        return Err(trouble_of(&first));
    }
    let client = Client {
        way,
        server: server.id,
        shared,
    };
    let heard = client.run(exchanges, sockets);
    if heard.is_err() {
        // It may wait for what will not come; what it has said by then is the cause.
        process::end(&server);
    }
    let mut last = String::new();
    reports.read_to_string(&mut last).map_err(broken("read"))?;
    match heard {
        Err(trouble) if last.is_empty() => Err(trouble),
        _ if last == server::DONE => heard,
        _ => Err(trouble_of(&last)),
    }
}

fn trouble_of(report: &str) -> Trouble {
    match report.trim_end().strip_prefix(server::REFUSED) {
        Some(text) => Trouble::Refused(text.to_owned()),
        None if report.is_empty() => Trouble::Broken("the server said nothing".to_owned()),
        None => Trouble::Broken(report.trim_end().to_owned()),
    }
}
