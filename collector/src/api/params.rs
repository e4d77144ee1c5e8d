//! Query parameters: refused when unknown, parsed once into the store's filters.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{Cursor, Page, Paging, TextMatch, TimeRange};
use crate::timestamp::Timestamp;

use super::ApiError;

/// Rows in an answer when no limit is given.
pub const LIMIT_DEFAULT: u32 = 100;

/// Most rows in an answer.
pub const LIMIT_MAX: u32 = 1000;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the rows after these; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> From<Page<T>> for List<T> {
    fn from(page: Page<T>) -> Self {
        Self {
            items: page.items,
            next: page.next.map(|cursor| cursor.to_token()),
        }
    }
}

/// The query string as `T`, which denies unknown fields.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| {
                // The cause alone: "unknown field `x`, expected one of …".
                let cause = std::error::Error::source(&rejection)
                    .map_or_else(|| rejection.to_string(), ToString::to_string);
                // It begins with the parameter's name, and so does the sentence after it.
                let sentence = cause
                    .split_once(": ")
                    .filter(|(_, rest)| rest.starts_with("unknown field"))
                    .map_or(cause.as_str(), |(_, rest)| rest);
                ApiError::bad_parameter(sentence.replace("unknown field", "unknown parameter"))
            })
    }
}

/// A parameter that was given, parsed; an empty one counts as not given.
pub fn parse<T: FromStr<Err = String>>(name: &str, value: Option<&str>) -> Result<Option<T>, ApiError> {
    with(name, value, T::from_str)
}

/// As [`parse`], with a parser.
pub fn with<T>(
    name: &str,
    value: Option<&str>,
    parser: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ApiError> {
    let given = value.filter(|text| !text.is_empty());
    given
        .map(parser)
        .transpose()
        .map_err(|reason| ApiError::bad_parameter(format!("{name}: {reason}")))
}

/// `from` and `to`.
pub fn range(from: Option<&str>, to: Option<&str>) -> Result<TimeRange, ApiError> {
    let now = Timestamp::now();
    let from = with("from", from, |text| Timestamp::parse(text, now))?;
    let to = with("to", to, |text| Timestamp::parse(text, now))?;
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(ApiError::bad_parameter(format!(
            "from ({from}) must be before to ({to})"
        ))),
        _ => Ok(TimeRange { from, to }),
    }
}

/// `limit` and `cursor`.
pub fn paging(limit: Option<&str>, cursor: Option<&str>) -> Result<Paging, ApiError> {
    let limit = with("limit", limit, |text| {
        let valid = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        valid.ok_or_else(|| format!("`{text}` is not a number from 1 to {LIMIT_MAX}"))
    })?;
    let after = with("cursor", cursor, Cursor::from_token)?;
    Ok(Paging {
        limit: limit.unwrap_or(LIMIT_DEFAULT),
        after,
    })
}

/// A name, exact or with `*`.
pub fn name(name: &str, value: Option<&str>) -> Result<Option<TextMatch>, ApiError> {
    with(name, value, TextMatch::exact_or_glob)
}

/// A host: lower case in the store.
pub fn host(value: Option<&str>) -> Result<Option<TextMatch>, ApiError> {
    with("host", value, |text| {
        TextMatch::exact_or_glob(&text.to_ascii_lowercase())
    })
}

/// A path, by its start or with `*`.
pub fn path(value: Option<&str>) -> Result<Option<TextMatch>, ApiError> {
    with("path", value, TextMatch::prefix_or_glob)
}

/// What is called in terms of the application, by its start or with `*`.
pub fn operation(value: Option<&str>) -> Result<Option<TextMatch>, ApiError> {
    with("operation", value, TextMatch::prefix_or_glob)
}

/// An application protocol: lower case in the store.
pub fn application(value: Option<&str>) -> Option<String> {
    value.filter(|text| !text.is_empty()).map(str::to_ascii_lowercase)
}

/// A method: upper case in the store.
pub fn method(value: Option<&str>) -> Option<String> {
    value.filter(|text| !text.is_empty()).map(str::to_ascii_uppercase)
}
