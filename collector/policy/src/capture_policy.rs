//! The whole policy, and its text.

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::locate::{key_at, line_column};
use crate::{CallsPolicy, CaptureRules, FilterPolicy, HeaderPolicy, PolicyError};

/// Longest policy text, bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

/// What agents capture and send. Every key may be left out: an empty text is the default policy.
///
/// ```toml
/// [calls]
/// budget = 50                 # rows per second and node, or "unlimited"
/// error_share = 0.3           # of the budget, for calls that failed
/// rare_share = 0.2            # of the budget, for rarely called endpoints
///
/// [headers]                   # values that may leave the node; credentials are refused
/// request = ["content-type", "user-agent", "x-request-*"]
/// response = ["content-type", "server"]
///
/// [capture]
/// mode = "full"               # or "headers"
/// body_bytes = 0              # of each body, kept on the node while it is looked at
/// decay = true                # capture less of endpoints that bring nothing new; left out: as each node is configured
///
/// [filter]                    # exclude wins; an empty include is everything
/// exclude = [{ executable = "/usr/bin/curl" }, { cgroup = "/system.slice/backup.service" }]
/// include = [{ container = "3f4e5d6c7b8a" }, { port = 8080 }]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CapturePolicy {
    /// Which single calls are sent.
    pub calls: CallsPolicy,
    /// Which header values are sent with them.
    pub headers: HeaderPolicy,
    /// How much of each message the node reads.
    pub capture: CaptureRules,
    /// Whose traffic is captured.
    pub filter: FilterPolicy,
}

impl CapturePolicy {
    /// Reads TOML text. Unknown keys are refused.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place, cause and remedy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            let message = format!(
                "the policy has {} bytes; shorten it to at most {POLICY_BYTES_MAX}",
                text.len()
            );
            return Err(PolicyError {
                line: 1,
                column: 1,
                key: String::new(),
                message,
            });
        }
        let table = DeTable::parse(text).map_err(|error| syntax_error(text, &error))?;
        let tree = table.get_ref().clone();
        Self::deserialize(toml::Deserializer::from(table)).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let (line, column) = line_column(text, offset);
            PolicyError {
                line,
                column,
                key: key_at(&tree, offset),
                message: with_remedy(error.message()),
            }
        })
    }

    /// TOML text of the whole policy, defaults written out; [`Self::parse`] gives the same policy back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Serializing can fail only for what TOML cannot hold (map keys that are no strings, a unit); there is none here.
        toml::to_string(self).unwrap_or_default()
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> PolicyError {
    let (line, column) = line_column(text, error.span().map_or(0, |span| span.start));
    let message = format!("not valid TOML: {}; correct the line", error.message());
    PolicyError {
        line,
        column,
        key: String::new(),
        message,
    }
}

/// Our own messages carry their remedy after a semicolon; the deserializer's say what was expected.
fn with_remedy(message: &str) -> String {
    let message = message.trim_end();
    if message.contains("; ") {
        message.to_owned()
    } else if message.starts_with("unknown field") {
        format!("{message}; correct the key's spelling or remove it")
    } else {
        format!("{message}; correct the value or remove the key to get its default")
    }
}
