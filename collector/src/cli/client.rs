//! The client of the API.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::api::{ErrorBody, LIMIT_MAX, List};

use super::{EXIT_ERROR, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE};

/// How long the collector may take to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take; the collector gives up a query before.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// Code of a question that is wrong.
const BAD_PARAMETER: &str = "bad_parameter";

/// Query parameters that were given.
pub type Query<'a> = Vec<(&'static str, &'a str)>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// `--url` is no URL of HTTP.
    #[error("--url {url:?} is not a URL such as http://127.0.0.1:4461: {cause}")]
    Url {
        /// What was given.
        url: String,
        /// Why not.
        cause: String,
    },
    /// No connection, or it broke.
    #[error(
        "cannot reach the collector at {url}: {cause}. Is `eastwatch-collector serve` running there? --url names another one"
    )]
    Unreachable {
        /// The API.
        url: String,
        /// Why.
        cause: String,
    },
    /// The collector refused the question.
    #[error("{message} ({hint})")]
    Refused {
        /// Stable code.
        code: String,
        /// Cause.
        message: String,
        /// Remedy.
        hint: String,
    },
    /// The answer is none of the API's.
    #[error("{url} does not answer as an Eastwatch collector of this version: {cause}")]
    Answer {
        /// The API.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The answer cannot be printed.
    #[error("cannot print the answer: {0}")]
    Print(#[from] std::io::Error),
}

impl CliError {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            // Whoever reads has read enough.
            Self::Print(error) if error.kind() == std::io::ErrorKind::BrokenPipe => EXIT_OK,
            Self::Url { .. } => EXIT_USAGE,
            Self::Refused { code, .. } if code == BAD_PARAMETER => EXIT_USAGE,
            Self::Refused { .. } | Self::Answer { .. } | Self::Print(_) => EXIT_ERROR,
            Self::Unreachable { .. } => EXIT_UNREACHABLE,
        }
    }
}

/// A collector to ask.
pub struct Client {
    url: Url,
    http: reqwest::Client,
}

impl Client {
    /// # Errors
    /// [`CliError::Url`]
    pub fn new(url: &str) -> Result<Self, CliError> {
        let error = |cause: String| CliError::Url {
            url: url.to_owned(),
            cause,
        };
        let parsed = Url::parse(url).map_err(|cause| error(cause.to_string()))?;
        if parsed.scheme() != "http" || parsed.host().is_none() {
            return Err(error("it must start with http:// and name a host".to_owned()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(ANSWER_TIME_MAX)
            // The collector is named by its own URL: a proxy for the web is not meant.
            .no_proxy()
            .build()
            .map_err(|cause| error(cause.to_string()))?;
        Ok(Self { url: parsed, http })
    }

    /// Asks for one document below `/api/v1/`; each part is one segment of the path.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>) -> Result<T, CliError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        let at = self.url.to_string();
        let unreachable = |error: reqwest::Error| CliError::Unreachable {
            url: at.clone(),
            cause: root_cause(&error),
        };
        let answer = |cause: String| CliError::Answer {
            url: at.clone(),
            cause,
        };
        let response = self
            .http
            .get(url)
            .query(query)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| answer(error.to_string()));
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            // What is a parameter there is an option here.
            Ok(ErrorBody { error }) if error.code == BAD_PARAMETER => Err(CliError::Refused {
                code: error.code,
                message: error.message,
                hint: "--help lists what can be given".to_owned(),
            }),
            Ok(ErrorBody { error }) => Err(CliError::Refused {
                code: error.code,
                message: error.message,
                hint: error.hint,
            }),
            Err(_) => Err(answer(format!("status {status}"))),
        }
    }

    /// Asks for a list, page by page, up to this many rows.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
        limit: u32,
    ) -> Result<List<T>, CliError> {
        let mut items: Vec<T> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
            let page_limit = missing.clamp(1, LIMIT_MAX).to_string();
            let mut page_query = query.clone();
            page_query.push(("limit", &page_limit));
            page_query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: List<T> = self.get(&[path], &page_query).await?;
            items.extend(page.items);
            if page.next.is_none() || items.len() >= limit as usize {
                return Ok(List {
                    items,
                    next: page.next,
                });
            }
            cursor = page.next;
        }
    }
}

/// The parameters that were given.
pub fn given<'a>(pairs: &[(&'static str, &'a Option<String>)]) -> Query<'a> {
    pairs
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
        .collect()
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
