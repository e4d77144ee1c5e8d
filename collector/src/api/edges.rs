//! `/api/v1/edges`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::store::{Edge, EdgeFilter, Side};

use super::params::{self, Params};
use super::{ApiError, ErrorBody, List, Shared};

/// Filters of edges.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EdgesQuery {
    /// With calls at or after this time (whole minutes): RFC 3339 in UTC, or relative such as `-15m`. Counts are then those
    /// of the range.
    from: Option<String>,
    /// Before this time.
    to: Option<String>,
    /// Workload at either end; `*` stands for any characters.
    workload: Option<String>,
    /// Host that was asked for; `*` stands for any characters.
    host: Option<String>,
    /// Which end it was seen at.
    #[param(value_type = Option<Side>)]
    side: Option<String>,
    /// Most rows in the answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Who calls whom.
#[utoipa::path(
    get,
    path = "/api/v1/edges",
    tag = "edges",
    operation_id = "list_edges",
    params(EdgesQuery),
    responses(
        (status = 200, description = "A page", body = List<Edge>),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Params(query): Params<EdgesQuery>,
) -> Result<Json<List<Edge>>, ApiError> {
    let filter = EdgeFilter {
        range: params::range(query.from.as_deref(), query.to.as_deref())?,
        workload: params::name("workload", query.workload.as_deref())?,
        host: params::host(query.host.as_deref())?,
        side: params::parse("side", query.side.as_deref())?,
    };
    let paging = params::paging(query.limit.as_deref(), query.cursor.as_deref())?;
    Ok(Json(shared.store.edges(filter, paging).await?.into()))
}
