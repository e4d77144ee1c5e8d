//! `/api/v1/agents`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::store::Agent;

use super::params::{self, Params};
use super::{ApiError, ErrorBody, List, Shared};

/// Paging of agents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AgentsQuery {
    /// Most rows in the answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Node agents, what they drop, and what they capture less of to do no harm.
#[utoipa::path(
    get,
    path = "/api/v1/agents",
    tag = "agents",
    operation_id = "list_agents",
    params(AgentsQuery),
    responses(
        (status = 200, description = "A page", body = List<Agent>),
        (status = 400, description = "A parameter is unknown or wrong", body = ErrorBody),
        (status = 503, description = "Too many requests at once, or shutting down", body = ErrorBody),
        (status = 504, description = "The query took too long", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Params(query): Params<AgentsQuery>,
) -> Result<Json<List<Agent>>, ApiError> {
    let paging = params::paging(query.limit.as_deref(), query.cursor.as_deref())?;
    let mut page = shared.store.agents(paging).await?;
    for agent in &mut page.items {
        agent.connected = shared.connected.contains(&agent.node);
    }
    Ok(Json(page.into()))
}
