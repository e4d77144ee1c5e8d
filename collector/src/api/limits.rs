//! Limits on requests, and counting them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::config;
use crate::metrics::{Dropped, HttpLabel, Metrics};

use super::ApiError;

/// What requests to the API must keep to. Cheap to clone.
#[derive(Clone)]
pub(super) struct Limits {
    permits: Arc<Semaphore>,
    body_bytes_max: usize,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Limits {
    pub fn new(limits: &config::Http, metrics: Arc<Metrics>) -> Self {
        let permits = limits.concurrency_max.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            body_bytes_max: limits.body_bytes_max,
            timeout: limits.timeout,
            metrics,
        }
    }
}

/// Refuses what exceeds a limit.
pub(super) async fn limit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    // No handler reads a body, so only one that is announced needs an answer; others are never taken from the socket.
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limits.body_bytes_max as u64) {
        let message = format!(
            "the request's body is larger than {} bytes",
            limits.body_bytes_max
        );
        let hint = "questions need no body; http.body_bytes_max is the limit";
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, hint).into_response();
    }
    let Ok(_permit) = limits.permits.try_acquire() else {
        limits.metrics.count_dropped(Dropped::HttpConcurrency, 1);
        let hint = "try again in a moment, or raise http.concurrency_max";
        let message = "too many requests are being answered at once";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message, hint).into_response();
    };
    // The store interrupts a query at the same limit; waiting for a connection before it counts as well.
    match tokio::time::timeout(limits.timeout.saturating_mul(2), next.run(request)).await {
        Ok(response) => {
            if response.status() == StatusCode::GATEWAY_TIMEOUT {
                limits.metrics.count_dropped(Dropped::HttpTimeout, 1);
            }
            response
        }
        Err(_) => {
            limits.metrics.count_dropped(Dropped::HttpTimeout, 1);
            ApiError::from(crate::store::StoreError::Timeout).into_response()
        }
    }
}

/// Counts requests by route and status.
pub(super) async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    // The route as registered: a client cannot make up label values.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", MatchedPath::as_str)
        .to_owned();
    let response = next.run(request).await;
    let label = HttpLabel {
        route,
        status: response.status().as_u16(),
    };
    metrics.http_requests.get_or_create(&label).inc();
    response
}

/// What agents saw came from anyone: a browser must not take it for a page.
pub(super) async fn no_sniff(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;

    fn router(limits: &config::Http, metrics: &Arc<Metrics>, handler: axum::routing::MethodRouter) -> Router {
        let limits = Limits::new(limits, Arc::clone(metrics));
        Router::new()
            .route("/", handler)
            .layer(from_fn_with_state(limits, limit))
    }

    fn request() -> Request {
        Request::new(Body::empty())
    }

    #[test]
    fn requests_beyond_the_concurrency_are_refused_and_counted() {
        crate::testing::run(async {
            let metrics = Arc::new(Metrics::default());
            let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let handler = {
                let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
                get(async move || {
                    entered.notify_one();
                    leave.notified().await;
                })
            };
            let limits = config::Http {
                concurrency_max: 1,
                ..config::Http::default()
            };
            let router = router(&limits, &metrics, handler);
            let first = tokio::spawn(router.clone().oneshot(request()));
            entered.notified().await;
            let second = router.clone().oneshot(request()).await.unwrap();
            assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(metrics.dropped(Dropped::HttpConcurrency), 1);
            leave.notify_one();
            assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
            leave.notify_one();
            assert_eq!(router.oneshot(request()).await.unwrap().status(), StatusCode::OK);
        });
    }

    #[test]
    fn bodies_beyond_the_limit_are_refused() {
        crate::testing::run(async {
            let limits = config::Http {
                body_bytes_max: 10,
                ..config::Http::default()
            };
            let router = router(&limits, &Arc::default(), get(async || ()));
            for (length, status) in [("10", StatusCode::OK), ("11", StatusCode::PAYLOAD_TOO_LARGE)] {
                let mut request = request();
                request
                    .headers_mut()
                    .insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
                assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status);
            }
        });
    }

    #[test]
    fn requests_beyond_their_time_are_given_up_and_counted() {
        crate::testing::run(async {
            let metrics = Arc::new(Metrics::default());
            let limits = config::Http {
                timeout: Duration::from_millis(10),
                ..config::Http::default()
            };
            let router = router(&limits, &metrics, get(async || pending::<()>().await));
            assert_eq!(
                router.oneshot(request()).await.unwrap().status(),
                StatusCode::GATEWAY_TIMEOUT
            );
            assert_eq!(metrics.dropped(Dropped::HttpTimeout), 1);
        });
    }
}
