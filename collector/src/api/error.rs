//! Errors of the API: `{"error": {"code": …, "message": …, "hint": …}}`.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::StoreError;

/// An error as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// Stable, for programs: `bad_parameter`, `not_found`, `no_such_path`, `no_such_method`, `too_large`, `busy`, `timeout`,
    /// `store`.
    pub code: String,
    /// For people: the cause.
    pub message: String,
    /// For people: the remedy.
    pub hint: String,
}

/// An error and its status.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    detail: ErrorDetail,
}

impl ApiError {
    /// With a code of [`ErrorDetail::code`].
    #[must_use]
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let detail = ErrorDetail {
            code: code.to_owned(),
            message: message.into(),
            hint: hint.into(),
        };
        Self { status, detail }
    }

    /// A query parameter that does not exist or does not parse.
    #[must_use]
    pub fn bad_parameter(message: impl Into<String>) -> Self {
        let hint = "the parameters of this path are listed in /api/v1/openapi.json";
        Self::new(StatusCode::BAD_REQUEST, "bad_parameter", message, hint)
    }

    /// Nothing has this id.
    #[must_use]
    pub fn not_found(what: &str, id: &str, hint: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {what} {id:?}"),
            hint,
        )
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Timeout => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "the query took longer than http.timeout",
                "ask for a shorter time range (from, to) or use more selective filters",
            ),
            StoreError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store",
                "the collector is shutting down",
                "try again in a moment",
            ),
            error => {
                tracing::error!(%error, "a query failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "store",
                    "the store could not answer",
                    "the collector's log has the cause",
                )
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.detail })).into_response()
    }
}

/// Answers paths that do not exist.
pub(super) async fn no_such_path(uri: Uri) -> ApiError {
    let message = format!("there is nothing at {}", uri.path());
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_path",
        message,
        "/ lists what there is",
    )
}

/// Answers methods that a path does not have.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} cannot be used on {}", method, uri.path());
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_such_method",
        message,
        "use GET",
    )
}
