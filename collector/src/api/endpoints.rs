//! `/api/v1/endpoints`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::store::{Endpoint, EndpointDetail, EndpointFilter, Side};

use super::params::{self, Params};
use super::{ApiError, ErrorBody, List, Shared};

/// Filters of endpoints.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndpointsQuery {
    /// Called at or after this time (whole minutes): RFC 3339 in UTC, or relative such as `-15m`. The answer has a `window`
    /// that counts the range.
    from: Option<String>,
    /// Before this time.
    to: Option<String>,
    /// Workload that serves it; `*` stands for any characters.
    workload: Option<String>,
    /// Host that it is called by; `*` stands for any characters.
    host: Option<String>,
    /// Start of its path template, or a pattern with `*`.
    path: Option<String>,
    /// Its method.
    method: Option<String>,
    /// Answered at least once with this class: `5xx`, or `none` for no response. A code means its class.
    status: Option<String>,
    /// Which end it was seen at.
    #[param(value_type = Option<Side>)]
    side: Option<String>,
    /// `true` for those that ever answered other than 4xx, `false` for the others: perhaps a scanner's inventions.
    #[param(value_type = Option<bool>)]
    confirmed: Option<String>,
    /// Most rows in the answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Endpoints by host, path and method.
#[utoipa::path(
    get,
    path = "/api/v1/endpoints",
    tag = "endpoints",
    operation_id = "list_endpoints",
    params(EndpointsQuery),
    responses(
        (status = 200, description = "A page", body = List<Endpoint>),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Params(query): Params<EndpointsQuery>,
) -> Result<Json<List<Endpoint>>, ApiError> {
    let filter = EndpointFilter {
        range: params::range(query.from.as_deref(), query.to.as_deref())?,
        workload: params::name("workload", query.workload.as_deref())?,
        host: params::host(query.host.as_deref())?,
        path: params::path(query.path.as_deref())?,
        method: params::method(query.method.as_deref()),
        status: params::parse("status", query.status.as_deref())?,
        side: params::parse("side", query.side.as_deref())?,
        confirmed: params::with("confirmed", query.confirmed.as_deref(), |text| {
            text.parse()
                .map_err(|_| format!("`{text}` is neither `true` nor `false`"))
        })?,
    };
    let paging = params::paging(query.limit.as_deref(), query.cursor.as_deref())?;
    Ok(Json(shared.store.endpoints(filter, paging).await?.into()))
}

/// Which of its minutes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndpointQuery {
    /// Not before this time: RFC 3339 in UTC, or relative such as `-15m`.
    from: Option<String>,
    /// Before this time.
    to: Option<String>,
}

/// One endpoint with its minutes and histograms.
#[utoipa::path(
    get,
    path = "/api/v1/endpoints/{id}",
    tag = "endpoints",
    operation_id = "get_endpoint",
    params(("id" = String, Path, description = "Its id, or one that it had before"), EndpointQuery),
    responses(
        (status = 200, description = "The endpoint", body = EndpointDetail),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn get(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Params(query): Params<EndpointQuery>,
) -> Result<Json<EndpointDetail>, ApiError> {
    let range = params::range(query.from.as_deref(), query.to.as_deref())?;
    let found = shared.store.endpoint(id.clone(), range).await?;
    found
        .map(Json)
        .ok_or_else(|| ApiError::not_found("endpoint", &id, "/api/v1/endpoints lists them"))
}
