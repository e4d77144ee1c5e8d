//! What a query asks for: filters and paging, parsed once at the edge.

use crate::timestamp::Timestamp;

use super::rows::Side;

/// Longest pattern of a text filter, bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Most `*` in one pattern: matching is exponential in them in the worst case.
pub const PATTERN_STARS_MAX: usize = 4;

/// From inclusive, to exclusive; open where `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

impl TimeRange {
    /// Whether both ends are open.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// How a text must look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextMatch {
    /// Exactly so.
    Exact(String),
    /// Starting so.
    Prefix(String),
    /// With `*` for any run of characters.
    Glob(String),
}

impl TextMatch {
    /// A pattern with `*` is a glob, anything else is exact.
    ///
    /// # Errors
    /// A sentence naming the limit that it exceeds.
    pub fn exact_or_glob(text: &str) -> Result<Self, String> {
        Self::parse(text, Self::Exact)
    }

    /// A pattern with `*` is a glob, anything else is a prefix.
    ///
    /// # Errors
    /// A sentence naming the limit that it exceeds.
    pub fn prefix_or_glob(text: &str) -> Result<Self, String> {
        Self::parse(text, Self::Prefix)
    }

    fn parse(text: &str, plain: fn(String) -> Self) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        match text.matches('*').count() {
            0 => Ok(plain(text.to_owned())),
            1..=PATTERN_STARS_MAX => Ok(Self::Glob(text.to_owned())),
            _ => Err(format!("a pattern has at most {PATTERN_STARS_MAX} `*`")),
        }
    }
}

/// Which statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// One code.
    Code(u16),
    /// A hundred of them: 1 to 5.
    Class(u8),
    /// No response was seen.
    NoResponse,
}

impl std::str::FromStr for StatusFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("`{text}` is neither a status such as `404`, nor a class such as `5xx`, nor `none`");
        if text == "none" {
            return Ok(Self::NoResponse);
        }
        match text.as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Ok(Self::Class(class - b'0')),
            [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => text.parse().map(Self::Code).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}

/// Whether something went through TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Through TLS.
    Https,
}

impl std::str::FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(format!("`{text}` is neither `http` nor `https`")),
        }
    }
}

/// Filter of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointFilter {
    /// Called in this range; the endpoint's `window` counts it.
    pub range: TimeRange,
    /// Workload that serves it.
    pub workload: Option<TextMatch>,
    /// Host that it is called by.
    pub host: Option<TextMatch>,
    /// Path template.
    pub path: Option<TextMatch>,
    /// Method.
    pub method: Option<String>,
    /// Answered at least once with this class; codes are not kept per endpoint, so a code means its class.
    pub status: Option<StatusFilter>,
    /// Which end it was seen at.
    pub side: Option<Side>,
    /// Whether it ever answered other than 4xx.
    pub confirmed: Option<bool>,
}

/// Filter of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Started in this range.
    pub range: TimeRange,
    /// Workload at either end.
    pub workload: Option<TextMatch>,
    /// Workload that called.
    pub client: Option<TextMatch>,
    /// Workload that was called.
    pub server: Option<TextMatch>,
    /// Host that was asked for.
    pub host: Option<TextMatch>,
    /// Redacted path.
    pub path: Option<TextMatch>,
    /// Method.
    pub method: Option<String>,
    /// Status.
    pub status: Option<StatusFilter>,
    /// Which end it was seen at.
    pub side: Option<Side>,
    /// Endpoint, by id or alias.
    pub endpoint: Option<String>,
    /// What speaks on top of HTTP.
    pub application: Option<String>,
    /// What is called in terms of the application.
    pub operation: Option<TextMatch>,
    /// Whether it went through TLS.
    pub scheme: Option<Scheme>,
}

/// Filter of edges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeFilter {
    /// With calls in this range; counts are of the range.
    pub range: TimeRange,
    /// Workload at either end.
    pub workload: Option<TextMatch>,
    /// Host that was asked for.
    pub host: Option<TextMatch>,
    /// Which end it was seen at.
    pub side: Option<Side>,
}

/// Filter of workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Seen in this range.
    pub range: TimeRange,
    /// Its name.
    pub workload: Option<TextMatch>,
    /// Node that it runs on.
    pub node: Option<TextMatch>,
}

/// Filter of coverage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoverageFilter {
    /// Minutes that count.
    pub range: TimeRange,
    /// Workload.
    pub workload: Option<TextMatch>,
    /// Node that it runs on.
    pub node: Option<TextMatch>,
    /// Capture rate below this.
    pub below: Option<f64>,
}

/// How much to answer with, and after what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Most rows in the answer, at least 1.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

/// Where a page ended: the sort key of its last row, opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub Vec<CursorPart>);

/// One column of a sort key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum CursorPart {
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
}

impl Cursor {
    /// As a token for URLs: hex of its JSON.
    #[must_use]
    pub fn to_token(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        json.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// # Errors
    /// When it is not a token of [`Cursor::to_token`].
    pub fn from_token(token: &str) -> Result<Self, String> {
        let error = || "the cursor is not one that a page before gave out".to_owned();
        let bytes = super::calls::from_hex(token).ok_or_else(error)?;
        serde_json::from_slice(&bytes).map_err(|_| error())
    }
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in order.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        for (text, want) in [
            ("200", Some(StatusFilter::Code(200))),
            ("5xx", Some(StatusFilter::Class(5))),
            ("1XX", Some(StatusFilter::Class(1))),
            ("none", Some(StatusFilter::NoResponse)),
            ("999", Some(StatusFilter::Code(999))),
            ("6xx", None),
            ("0xx", None),
            ("20", None),
            ("2000", None),
            ("099", None),
            ("", None),
            ("2éx", None),
        ] {
            assert_eq!(text.parse::<StatusFilter>().ok(), want, "{text}");
        }
    }

    #[test]
    fn patterns() {
        assert_eq!(
            TextMatch::prefix_or_glob("/users"),
            Ok(TextMatch::Prefix("/users".into()))
        );
        assert_eq!(
            TextMatch::prefix_or_glob("/u*/x"),
            Ok(TextMatch::Glob("/u*/x".into()))
        );
        assert_eq!(
            TextMatch::exact_or_glob("web"),
            Ok(TextMatch::Exact("web".into()))
        );
        assert!(TextMatch::exact_or_glob(&"*".repeat(PATTERN_STARS_MAX)).is_ok());
        assert!(TextMatch::exact_or_glob(&"*".repeat(PATTERN_STARS_MAX + 1)).is_err());
        assert!(TextMatch::exact_or_glob(&"x".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(TextMatch::exact_or_glob(&"x".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn cursors_survive_a_round_trip_and_garbage_is_refused() {
        let cursor = Cursor(vec![CursorPart::Text("a\"é".into()), CursorPart::Int(-7)]);
        assert_eq!(Cursor::from_token(&cursor.to_token()), Ok(cursor));
        for token in ["x", "7b7d", "é", "0", "5b5b"] {
            assert!(Cursor::from_token(token).is_err(), "{token}");
        }
    }
}
