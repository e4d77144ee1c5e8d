//! The HTTP API: typed questions to the store, self-metrics, health.
//!
//! Invariants: an unknown query parameter is refused, never ignored; every error is JSON with code, message and hint; every
//! request has a time limit and a place in a bounded number of them.

mod agents;
mod calls;
mod coverage;
mod edges;
mod endpoints;
mod error;
mod limits;
mod ops;
mod params;
#[cfg(test)]
mod tests;
mod workloads;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config;
use crate::ingest::Connected;
use crate::metrics::Metrics;
use crate::store::Store;

pub use error::{ApiError, ErrorBody, ErrorDetail};
pub use params::{LIMIT_DEFAULT, LIMIT_MAX, List};

/// What every handler shares.
#[derive(Clone)]
pub struct Shared {
    store: Arc<dyn Store>,
    connected: Connected,
    metrics: Arc<Metrics>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Eastwatch",
        description = "The APIs that run, who calls them, and every call that was kept. Times are UTC; sizes are bytes; \
                       durations are microseconds. Lists are paged: pass `next` as `cursor` to go on."
    ),
    components(schemas(ErrorBody))
)]
struct Document;

fn documented() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(endpoints::list))
        .routes(routes!(endpoints::get))
        .routes(routes!(calls::list))
        .routes(routes!(calls::get))
        .routes(routes!(edges::list))
        .routes(routes!(workloads::list))
        .routes(routes!(coverage::list))
        .routes(routes!(agents::list))
}

/// The OpenAPI document of the API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().split_for_parts().1
}

/// Everything that answers over HTTP.
pub fn router(
    store: Arc<dyn Store>,
    connected: Connected,
    metrics: Arc<Metrics>,
    limits: &config::Http,
) -> Router {
    let shared = Shared {
        store,
        connected,
        metrics,
    };
    let (api, document) = documented().split_for_parts();
    let limited = limits::Limits::new(limits, Arc::clone(&shared.metrics));
    let api = api.layer(from_fn_with_state(limited, limits::limit));
    Router::new()
        .merge(api)
        .merge(ops::router(document))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(from_fn_with_state(Arc::clone(&shared.metrics), limits::count))
        .layer(from_fn(limits::no_sniff))
        .with_state(shared)
}
