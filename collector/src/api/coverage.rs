//! `/api/v1/coverage`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::store::{Coverage, CoverageFilter};

use super::params::{self, Params};
use super::{ApiError, ErrorBody, List, Shared};

/// Filters of coverage.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CoverageQuery {
    /// Bytes counted in this minute or later: RFC 3339 in UTC, or relative such as `-15m`. All minutes that are kept when not given.
    from: Option<String>,
    /// Bytes counted before this time.
    to: Option<String>,
    /// Workload; `*` stands for any characters.
    workload: Option<String>,
    /// Node that it runs on; `*` stands for any characters.
    node: Option<String>,
    /// Only where the capture rate is below this, 0 to 1.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 1)]
    below: Option<String>,
    /// Most rows in the answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| format!("`{text}` is not a number from 0 to 1"))
}

/// How much of what workloads said and heard was read, and why not the rest.
#[utoipa::path(
    get,
    path = "/api/v1/coverage",
    tag = "workloads",
    operation_id = "list_coverage",
    params(CoverageQuery),
    responses(
        (status = 200, description = "A page", body = List<Coverage>),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Params(query): Params<CoverageQuery>,
) -> Result<Json<List<Coverage>>, ApiError> {
    let filter = CoverageFilter {
        range: params::range(query.from.as_deref(), query.to.as_deref())?,
        workload: params::name("workload", query.workload.as_deref())?,
        node: params::name("node", query.node.as_deref())?,
        below: params::with("below", query.below.as_deref(), rate)?,
    };
    let paging = params::paging(query.limit.as_deref(), query.cursor.as_deref())?;
    Ok(Json(shared.store.coverage(filter, paging).await?.into()))
}
