//! `eastwatch-agent tail`: calls as they happen on this node.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::output::{Output, bytes, micros, time_of_day};
use crate::capture::{Capture, Sinks};
use crate::config::Config;
use crate::control::{Line, client};
use crate::export::PolicyState;
use crate::status::Published;
use crate::tap::{TapCall, TapFilter, Taps};

/// Shows calls until the agent ends, `limit` is reached or the reader goes away.
///
/// # Errors
/// Neither can an agent be asked nor can this process capture.
pub async fn tail(config: Config, filter: TapFilter, output: Output, limit: Option<u64>) -> Result<()> {
    if let Err(error) = filter.check() {
        bail!("{error}");
    }
    let mut printer = Printer {
        output,
        left: limit,
        header: false,
    };
    match client::tail(&config.control.socket, &filter).await? {
        Some(mut calls) => {
            while let Some(line) = calls.next().await? {
                let more = match line {
                    Line::Call(call) => printer.call(&call)?,
                    Line::Missed(count) => printer.missed(count),
                    Line::Error(error) => bail!("the agent refused: {error}"),
                };
                if !more {
                    return Ok(());
                }
            }
            bail!("the agent has ended")
        }
        None => alone(config, &filter, &mut printer).await,
    }
}

/// No agent runs: capture in this process, for its own eyes.
async fn alone(config: Config, filter: &TapFilter, printer: &mut Printer) -> Result<()> {
    eprintln!(
        "no agent answers on {}: capturing in this process",
        config.control.socket.display()
    );
    let taps = Taps::default();
    let mut calls = taps.subscribe();
    let (_keep, policy) = watch::channel(Arc::<PolicyState>::default());
    let sinks = Sinks {
        outbox: None,
        export: None,
        policy,
        taps,
        published: Published::default(),
    };
    let capture = tokio::task::spawn_blocking(move || Capture::start(&config, "", "", sinks)).await??;
    let stop = Arc::new(AtomicBool::new(false));
    let thread = {
        let stop = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || capture.run(&stop))?
    };
    eprintln!("listening");
    loop {
        let more = tokio::select! {
            call = calls.recv() => match call {
                Ok(call) if filter.matches(&call) => printer.call(&call)?,
                Ok(_) => true,
                Err(RecvError::Lagged(count)) => printer.missed(count),
                Err(RecvError::Closed) => false,
            },
            _ = tokio::signal::ctrl_c() => false,
        };
        if !more {
            break;
        }
    }
    stop.store(true, Ordering::Release);
    thread.thread().unpark();
    if thread.join().is_err() {
        bail!("the capture thread ended by itself: this is a defect, please report it");
    }
    Ok(())
}

struct Printer {
    output: Output,
    left: Option<u64>,
    header: bool,
}

impl Printer {
    /// False when nothing more is wanted.
    fn call(&mut self, call: &TapCall) -> Result<bool> {
        let mut out = std::io::stdout().lock();
        let written = match self.output {
            Output::Json => serde_json::to_writer(&mut out, call)
                .map_err(Into::into)
                .and_then(|()| writeln!(out)),
            Output::Table => {
                let mut first = Ok(());
                if !self.header {
                    self.header = true;
                    first = writeln!(out, "{}", HEADER);
                }
                first.and_then(|()| writeln!(out, "{}", table_line(call)))
            }
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(false),
            other => other?,
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            return Ok(*left > 0);
        }
        Ok(true)
    }

    fn missed(&self, count: u64) -> bool {
        eprintln!("{count} calls went by too fast to be shown");
        true
    }
}

const HEADER: &str = "TIME          CLIENT → SERVER                                STATUS  DURATION      SIZE  METHOD HOST TARGET";

fn table_line(call: &TapCall) -> String {
    let end = |workload: &str, address: &str| {
        if workload.is_empty() {
            address.to_owned()
        } else {
            workload.to_owned()
        }
    };
    let ends = format!(
        "{} → {}",
        end(&call.client_workload, &call.client),
        end(&call.server_workload, &call.server)
    );
    let status = if call.status == 0 {
        "-".to_owned()
    } else {
        call.status.to_string()
    };
    let flags = if call.flags.is_empty() {
        String::new()
    } else {
        format!("  [{}]", call.flags.join(" "))
    };
    let application = application(call);
    format!(
        "{}  {ends:<45}  {status:>6}  {:>8}  {:>9}  {} {} {}{application}{flags}",
        time_of_day(call.ts_us),
        micros(call.duration_us),
        bytes(call.response_bytes),
        known(&call.method),
        host(call),
        known(&call.target),
    )
}

/// What was said before the connection was joined is not known.
fn known(text: &str) -> &str {
    if text.is_empty() { "?" } else { text }
}

/// With `https` where it went through TLS.
fn host(call: &TapCall) -> String {
    match (&call.tls, call.host.as_str()) {
        (None, host) => host.to_owned(),
        (Some(_), "") => "https".to_owned(),
        (Some(_), host) => format!("https://{host}"),
    }
}

/// What the call is in terms of its application, where it is more than HTTP: `  grpc 5`, `  graphql query Orders`.
fn application(call: &TapCall) -> String {
    if matches!(call.application.as_str(), "" | "http") {
        return String::new();
    }
    let mut words = vec![call.application.clone()];
    // The path of gRPC says it already.
    if !call.operation.is_empty() && !call.target.ends_with(&call.operation) {
        words.push(call.operation.clone());
    }
    words.extend(call.rpc_status.map(|code| code.to_string()));
    let [sent, answered] = call.messages;
    if sent + answered > 0 {
        words.push(format!("{sent} → {answered}"));
    }
    format!("  {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::TapTls;

    fn call() -> TapCall {
        TapCall {
            ts_us: 1_767_268_800_000_000,
            side: "server".into(),
            read_at: "server".into(),
            client_workload: "curl".into(),
            client: "127.0.0.1:1".into(),
            server_workload: "shop".into(),
            server: "127.0.0.1:2".into(),
            host: "shop.test".into(),
            method: "POST".into(),
            target: "/graphql".into(),
            protocol: "HTTP/2".into(),
            application: "http".into(),
            operation: String::new(),
            rpc_status: None,
            messages: [0, 0],
            status: 200,
            request_bytes: 10,
            response_bytes: 1000,
            duration_us: 1500,
            ttfb_us: 1000,
            flags: Vec::new(),
            pid: 1,
            tls: None,
        }
    }

    #[test]
    fn a_line_says_what_the_application_adds() {
        let said = |call: &TapCall| {
            let line = table_line(call);
            line.split_once("POST ").map(|(_, said)| said.to_owned()).unwrap()
        };
        assert_eq!(said(&call()), "shop.test /graphql");
        let graphql = TapCall {
            application: "graphql".into(),
            operation: "query Orders".into(),
            ..call()
        };
        assert_eq!(said(&graphql), "shop.test /graphql  graphql query Orders");
        let grpc = TapCall {
            target: "/shop.v1.Orders/Get".into(),
            application: "grpc".into(),
            operation: "shop.v1.Orders/Get".into(),
            rpc_status: Some(5),
            messages: [1, 2],
            flags: vec!["late_join".into()],
            ..call()
        };
        assert_eq!(
            said(&grpc),
            "shop.test /shop.v1.Orders/Get  grpc 5 1 → 2  [late_join]"
        );
        let secure = TapCall {
            tls: Some(TapTls::default()),
            ..call()
        };
        assert_eq!(said(&secure), "https://shop.test /graphql");
        let nameless = TapCall {
            host: String::new(),
            ..secure
        };
        assert_eq!(said(&nameless), "https /graphql");
        let whole = TapCall {
            flags: Vec::new(),
            ..grpc
        };
        let width = table_line(&whole).chars().count();
        assert!(width <= 140, "{width}");
    }
}
