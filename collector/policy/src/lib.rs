//! What the collector wants agents to capture and send: the capture policy, as typed values and as TOML text.
//!
//! Invariants: a value of these types is valid (what cannot be allowed cannot be constructed from text), and a header that
//! carries a credential is never let through, whatever the text says. No clock, no files, no sockets.
#![forbid(unsafe_code)]

mod calls;
mod capture;
mod capture_policy;
mod error;
mod filter;
mod headers;
mod lint;
mod locate;
mod pattern;

pub use calls::{CALLS_PER_SECOND_MAX, CallRate, CallsPolicy, Share};
pub use capture::{BODY_BYTES_MAX, BodyBytes, CaptureMode, CaptureRules};
pub use capture_policy::{CapturePolicy, POLICY_BYTES_MAX};
pub use error::PolicyError;
pub use filter::{Decision, FILTERS_MAX, Filter, FilterPolicy, Subject};
pub use headers::{HEADERS_MAX, HeaderList, HeaderPattern, HeaderPolicy, is_secret_header};
pub use lint::{Lint, LintLevel};
pub use pattern::{PATTERN_BYTES_MAX, Pattern};
