//! Index, OpenAPI document, metrics and health.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::{ApiError, Shared};

/// Content type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn router(document: utoipa::openapi::OpenApi) -> Router<Shared> {
    Router::new()
        .route("/", get(index))
        .route("/api/v1/openapi.json", get(async move || Json(document.clone())))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
}

async fn index() -> Json<serde_json::Value> {
    Json(json!({
        "name": "eastwatch-collector",
        "version": env!("CARGO_PKG_VERSION"),
        "links": [
            "/api/v1/endpoints", "/api/v1/calls", "/api/v1/edges", "/api/v1/workloads", "/api/v1/coverage",
            "/api/v1/agents", "/api/v1/openapi.json", "/metrics", "/healthz", "/readyz",
        ],
    }))
}

async fn metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], shared.metrics.encode()).into_response()
}

/// Ready when the store answers.
async fn ready(State(shared): State<Shared>) -> Result<&'static str, ApiError> {
    match shared.store.ping().await {
        Ok(()) => Ok("ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            let message = "the store does not answer";
            Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store",
                message,
                "the collector's log has the cause",
            ))
        }
    }
}
