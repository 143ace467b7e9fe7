//! The ops port: metrics and health, for machines that watch this node. Answers are short texts.

use crate::headers::empty;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use portolan_registry::{Readiness, Registry, RegistryError};
use std::sync::{Arc, OnceLock};

/// What the ops port serves.
#[derive(Clone)]
pub struct OpsApi {
    /// The use cases, once the node has them: the ops port answers from the first moment of a start.
    pub registry: Arc<OnceLock<Arc<Registry>>>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// `/metrics`; `/healthz` (the process answers), `/readyz` (it can serve pulls), `/readyz/write` (it can take pushes).
pub fn ops_router(api: OpsApi) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n".to_owned()) }))
        .route("/readyz", get(ready))
        .route("/readyz/write", get(ready_to_write))
        .fallback(|| async { empty(StatusCode::NOT_FOUND) })
        .with_state(api)
}

async fn metrics(State(api): State<OpsApi>) -> Response<Body> {
    let mut response = text(StatusCode::OK, (api.metrics)());
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, prometheus);
    response
}

async fn ready(State(api): State<OpsApi>) -> Response<Body> {
    match api.registry.get() {
        Some(registry) => readiness(registry.pull_readiness()),
        None => starting(),
    }
}

async fn ready_to_write(State(api): State<OpsApi>) -> Response<Body> {
    match api.registry.get() {
        Some(registry) => readiness(registry.push_readiness().await),
        None => starting(),
    }
}

fn starting() -> Response<Body> {
    text(StatusCode::SERVICE_UNAVAILABLE, "the node is starting\n".to_owned())
}

/// Unlike the public port this one names the reasons: only the machine's own people can reach it.
fn readiness(readiness: Result<Readiness, RegistryError>) -> Response<Body> {
    match readiness {
        Ok(readiness) if readiness.is_ready() => text(StatusCode::OK, "ready\n".to_owned()),
        Ok(Readiness { reasons }) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n"))),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

fn text(status: StatusCode, message: String) -> Response<Body> {
    let mut response = Response::new(Body::from(message));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
