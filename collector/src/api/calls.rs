//! `/api/v1/calls`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::store::{Call, CallFilter, Side};

use super::params::{self, Params};
use super::{ApiError, ErrorBody, List, Shared};

/// Filters of calls.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CallsQuery {
    /// Not before this time: RFC 3339 in UTC, or relative such as `-15m`.
    from: Option<String>,
    /// Before this time.
    to: Option<String>,
    /// Workload at either end; `*` stands for any characters.
    workload: Option<String>,
    /// Workload that called; `*` stands for any characters.
    client: Option<String>,
    /// Workload that was called; `*` stands for any characters.
    server: Option<String>,
    /// Host that was asked for; `*` stands for any characters.
    host: Option<String>,
    /// Start of its path, or a pattern with `*`.
    path: Option<String>,
    /// Its method.
    method: Option<String>,
    /// A code (`404`), a class (`5xx`), or `none` for no response.
    status: Option<String>,
    /// What speaks on top of HTTP: `grpc`, `grpc-web`, `websocket`, `sse`, `graphql`, `json-rpc`, `soap`, `xml-rpc`, or `http` for
    /// nothing that is known.
    application: Option<String>,
    /// Start of what is called in terms of the application (`shop.v1.Orders/`, `query `), or a pattern with `*`.
    operation: Option<String>,
    /// `https` for those that went through TLS, `http` for those in the clear.
    scheme: Option<String>,
    /// Endpoint that it belongs to, by id or an id that it had before.
    endpoint: Option<String>,
    /// Which end it was seen at.
    #[param(value_type = Option<Side>)]
    side: Option<String>,
    /// Most rows in the answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Calls, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/calls",
    tag = "calls",
    operation_id = "list_calls",
    params(CallsQuery),
    responses(
        (status = 200, description = "A page", body = List<Call>),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Params(query): Params<CallsQuery>,
) -> Result<Json<List<Call>>, ApiError> {
    let filter = CallFilter {
        range: params::range(query.from.as_deref(), query.to.as_deref())?,
        workload: params::name("workload", query.workload.as_deref())?,
        client: params::name("client", query.client.as_deref())?,
        server: params::name("server", query.server.as_deref())?,
        host: params::host(query.host.as_deref())?,
        path: params::path(query.path.as_deref())?,
        method: params::method(query.method.as_deref()),
        status: params::parse("status", query.status.as_deref())?,
        side: params::parse("side", query.side.as_deref())?,
        application: params::application(query.application.as_deref()),
        operation: params::operation(query.operation.as_deref())?,
        scheme: params::parse("scheme", query.scheme.as_deref())?,
        endpoint: query.endpoint.filter(|id| !id.is_empty()),
    };
    let paging = params::paging(query.limit.as_deref(), query.cursor.as_deref())?;
    Ok(Json(shared.store.calls(filter, paging).await?.into()))
}

/// One call.
#[utoipa::path(
    get,
    path = "/api/v1/calls/{id}",
    tag = "calls",
    operation_id = "get_call",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The call", body = Call),
        (status = 404, description = "There is none, or it was removed to keep within store.calls_max_rows or calls_max_age",
         body = ErrorBody),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn get(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<Call>, ApiError> {
    let parsed = id.parse().map_err(ApiError::bad_parameter)?;
    let found = shared.store.call(parsed).await?;
    let hint = "calls are kept for a limited time and in a limited number (store.calls_max_age, store.calls_max_rows)";
    found
        .map(Json)
        .ok_or_else(|| ApiError::not_found("call", &id, hint))
}

/// No parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}
