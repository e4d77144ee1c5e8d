//! What the program `ways` says.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One exchange, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Method.
    pub method: String,
    /// Path, no other exchange's.
    pub path: String,
    /// Status.
    pub status: u64,
    /// On the wire.
    pub request_bytes: u64,
    /// On the wire.
    pub response_bytes: u64,
    /// Bytes of both that the way carries.
    pub carried_bytes: u64,
}

/// How a way was gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All these exchanges took place, at a server with this port if it had any.
    Sent {
        /// Exchanges.
        exchanges: Vec<Exchange>,
        /// The server's port.
        port: Option<u64>,
    },
    /// The kernel does not let it.
    Impossible(String),
    /// It went wrong.
    Failed(String),
}

/// A way and how it was gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Name.
    pub name: String,
    /// Over TCP.
    pub is_tcp: bool,
    /// How it was gone.
    pub outcome: Outcome,
}

impl Way {
    fn parse(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let outcome = match (text("impossible"), text("failed")) {
            (Some(reason), _) => Outcome::Impossible(reason),
            (_, Some(reason)) => Outcome::Failed(reason),
            _ => Outcome::Sent {
                exchanges: line["exchanges"]
                    .as_array()?
                    .iter()
                    .map(exchange)
                    .collect::<Option<_>>()?,
                port: line["port"].as_u64(),
            },
        };
        Some(Self {
            name: text("way")?,
            is_tcp: line["tcp"].as_bool().unwrap_or(true),
            outcome,
        })
    }
}

fn exchange(row: &Value) -> Option<Exchange> {
    let number = |name: &str| row[name].as_u64();
    Some(Exchange {
        method: row["method"].as_str()?.to_owned(),
        path: row["path"].as_str()?.to_owned(),
        status: number("status")?,
        request_bytes: number("request_bytes")?,
        response_bytes: number("response_bytes")?,
        carried_bytes: number("carried_bytes")?,
    })
}

fn output(program: &Path, argument: &str) -> String {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Names of all ways.
///
/// # Panics
/// The program cannot be run.
#[must_use]
pub fn list(program: &Path) -> Vec<String> {
    output(program, "--list").lines().map(str::to_owned).collect()
}

/// Goes a way.
///
/// # Panics
/// The program cannot be run, or says nothing that is understood.
#[must_use]
pub fn go(program: &Path, name: &str) -> Way {
    let said = output(program, name);
    said.lines()
        .find_map(Way::parse)
        .unwrap_or_else(|| panic!("{name}: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let sent = r#"{"way":"read","tcp":true,"port":80,"sent":1,"exchanges":[{"method":"GET","path":"/ways/read/0","status":200,
            "request_bytes":1,"response_bytes":2,"carried_bytes":1}]}"#;
        let way = Way::parse(sent).unwrap();
        let Outcome::Sent { exchanges, port } = way.outcome else {
            panic!("{way:?}");
        };
        assert_eq!((way.name.as_str(), port, exchanges.len()), ("read", Some(80), 1));
        assert_eq!(exchanges[0].response_bytes, 2);
        let refused = Way::parse(r#"{"way":"ktls-send","tcp":true,"impossible":"ENOENT tls"}"#).unwrap();
        assert_eq!(refused.outcome, Outcome::Impossible("ENOENT tls".into()));
        let failed = Way::parse(r#"{"way":"unix-path","tcp":false,"failed":"x"}"#).unwrap();
        assert_eq!(
            (failed.is_tcp, failed.outcome),
            (false, Outcome::Failed("x".into()))
        );
        assert_eq!(Way::parse("not JSON"), None);
    }
}
