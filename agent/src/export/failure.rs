//! Why there is no collector at the other end: cause and remedy, told once.

use std::error::Error;
use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;

use tonic::{Code, Status};
use wire::WIRE_VERSION;

use super::watched::Ended;

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No welcome yet: anything may be at the other end.
    Introduction,
    /// A collector is.
    Exchange,
}

/// Longest text taken over from the other end, characters.
const FOREIGN_TEXT_MAX: usize = 300;

/// Kinds that differ in what a person has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection.
    Unreachable,
    /// Something listens, and it does not speak gRPC.
    NotGrpc,
    /// gRPC, but no collector.
    NotCollector,
    /// A collector of another age.
    WireVersion,
    /// The collector said no.
    Refused,
    /// The connection ended.
    Closed,
    /// Nothing comes back.
    Hung,
    /// The agent cannot read its own spool.
    Spool,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::NotGrpc,
        Self::NotCollector,
        Self::WireVersion,
        Self::Refused,
        Self::Closed,
        Self::Hung,
        Self::Spool,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::NotGrpc => "not_grpc",
            Self::NotCollector => "not_collector",
            Self::WireVersion => "wire_version",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Hung => "hung",
            Self::Spool => "spool",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "start the collector, open the way to it, or correct the agent's collector URL"
            }
            Self::NotGrpc => {
                "something else listens there: point the agent's collector URL at the collector's gRPC port"
            }
            Self::NotCollector => "another gRPC service listens there: correct the agent's collector URL",
            Self::WireVersion => "upgrade the older of the two; a collector takes agents one version behind",
            Self::Refused => "the collector's log says why",
            Self::Closed => "if it goes on, look into the collector's log",
            Self::Hung => "see whether the collector is overloaded, or a firewall drops the connection",
            Self::Spool => "see to the spool's directory",
        }
    }
}

/// Why an attempt or a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}; {}", kind.remedy())]
pub struct Failure {
    /// What sort.
    pub kind: FailureKind,
    /// In words, without the remedy.
    pub cause: String,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
        }
    }

    /// `what` did not happen within `limit`.
    pub(super) fn hung(what: &str, limit: Duration) -> Self {
        Self::new(
            FailureKind::Hung,
            format!("the collector {what} within {} s", limit.as_secs_f64()),
        )
    }

    /// Connecting failed.
    pub(super) fn connect(error: &tonic::transport::Error) -> Self {
        Self::new(
            FailureKind::Unreachable,
            format!("cannot connect to the collector: {}", chain(error)),
        )
    }

    pub(super) fn wire_version(theirs: u32) -> Self {
        Self::new(
            FailureKind::WireVersion,
            format!(
                "the collector speaks version {theirs} of the wire contract, this agent version {WIRE_VERSION}"
            ),
        )
    }

    /// The call ended with a status; `ended` is what was seen of the connection below it. tonic gives what is wrong below
    /// gRPC no type of its own: the texts of its errors must do.
    pub(super) fn status(status: &Status, ended: Option<Ended>, stage: Stage) -> Self {
        let below = status.source().map(chain);
        let text = match &below {
            Some(below) if !below.is_empty() => format!("{}: {below}", printable(status.message())),
            _ => printable(status.message()),
        };
        let says = |part: &str| text.contains(part);
        if stage == Stage::Introduction {
            if says("grpc-status header missing") || says("content-type") {
                return Self::new(
                    FailureKind::NotGrpc,
                    format!("the server answers without gRPC: {text}"),
                );
            }
            if says("http2 error") || says("frame with invalid size") {
                return Self::new(
                    FailureKind::NotGrpc,
                    format!("the server does not speak HTTP/2: {text}"),
                );
            }
        }
        match (&below, ended) {
            (Some(_), Some(Ended::ByPeer)) => {
                Self::new(FailureKind::Closed, "the collector closed the connection")
            }
            (Some(_), Some(Ended::Broken(kind, error))) => {
                let kind = if kind == ErrorKind::TimedOut {
                    FailureKind::Hung
                } else {
                    FailureKind::Closed
                };
                Self::new(kind, format!("the connection to the collector broke: {error}"))
            }
            // This end closed it, which only happens when a ping was not answered.
            (Some(_), None) if status.code() == Code::Unknown => Self::new(
                FailureKind::Hung,
                format!("the collector does not answer pings: {text}"),
            ),
            _ => Self::answered(status.code(), &text),
        }
    }

    /// A status that the server made.
    fn answered(code: Code, text: &str) -> Self {
        match code {
            Code::Unimplemented => Self::new(
                FailureKind::NotCollector,
                format!("the server has no such service: {text}"),
            ),
            Code::Unavailable | Code::Unknown | Code::Cancelled => Self::new(
                FailureKind::Closed,
                format!("the collector ended the stream: {text}"),
            ),
            Code::DeadlineExceeded => {
                Self::new(FailureKind::Hung, format!("the collector was too slow: {text}"))
            }
            code => Self::new(
                FailureKind::Refused,
                format!("the collector refuses ({code:?}): {text}"),
            ),
        }
    }
}

/// The error and its sources, each said once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = printable(&error.to_string());
    let mut next = error.source();
    while let Some(error) = next {
        let part = printable(&error.to_string());
        if !text.contains(&part) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {part}");
        }
        next = error.source();
    }
    text
}

/// Text of the other end made fit for a log line.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .take(FOREIGN_TEXT_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_names_cause_and_remedy() {
        for kind in FailureKind::ALL {
            let text = Failure::new(kind, "cause").to_string();
            assert!(text.starts_with("cause; ") && text.len() > 20, "{text}");
        }
    }

    #[test]
    fn statuses() {
        for (status, kind) in [
            (Status::unimplemented("nothing here"), FailureKind::NotCollector),
            (Status::failed_precondition("agent too old"), FailureKind::Refused),
            (Status::unauthenticated("no"), FailureKind::Refused),
            (Status::unavailable("going down"), FailureKind::Closed),
            (Status::deadline_exceeded("slow"), FailureKind::Hung),
            (
                Status::unknown("grpc-status header missing, mapped from HTTP status code 404"),
                FailureKind::NotGrpc,
            ),
            (
                Status::internal("protocol error: received message with invalid content-type"),
                FailureKind::NotGrpc,
            ),
        ] {
            assert_eq!(
                Failure::status(&status, None, Stage::Introduction).kind,
                kind,
                "{status:?}"
            );
        }
    }

    #[test]
    fn foreign_text_is_bounded_and_harmless() {
        let text = printable(&format!("a\n\u{1b}[31m{}", "x".repeat(1000)));
        assert_eq!(text.chars().count(), FOREIGN_TEXT_MAX);
        assert!(!text.contains(['\n', '\u{1b}']));
    }
}
