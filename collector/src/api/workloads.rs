//! `/api/v1/workloads`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::store::{Workload, WorkloadFilter};

use super::params::{self, Params};
use super::{ApiError, ErrorBody, List, Shared};

/// Filters of workloads.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WorkloadsQuery {
    /// Seen at or after this time: RFC 3339 in UTC, or relative such as `-15m`.
    from: Option<String>,
    /// Seen before this time.
    to: Option<String>,
    /// Its name; `*` stands for any characters.
    workload: Option<String>,
    /// Node that it runs on; `*` stands for any characters.
    node: Option<String>,
    /// Most rows in the answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What runs on the nodes and speaks HTTP.
#[utoipa::path(
    get,
    path = "/api/v1/workloads",
    tag = "workloads",
    operation_id = "list_workloads",
    params(WorkloadsQuery),
    responses(
        (status = 200, description = "A page", body = List<Workload>),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Params(query): Params<WorkloadsQuery>,
) -> Result<Json<List<Workload>>, ApiError> {
    let filter = WorkloadFilter {
        range: params::range(query.from.as_deref(), query.to.as_deref())?,
        workload: params::name("workload", query.workload.as_deref())?,
        node: params::name("node", query.node.as_deref())?,
    };
    let paging = params::paging(query.limit.as_deref(), query.cursor.as_deref())?;
    Ok(Json(shared.store.workloads(filter, paging).await?.into()))
}
