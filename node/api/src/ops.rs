//! The ops port: metrics and health, for machines that watch this node. Answers are short texts, or JSON where
//! programs compare them.

use crate::headers::empty;
use crate::listing::{JSON, json};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use portolan_consensus::HashError;
use portolan_registry::{Readiness, Registry, RegistryError};
use serde::Serialize;
use std::sync::{Arc, OnceLock};

/// Seconds after which another hash may be done.
const RETRY_HASH: &str = "1";

/// What the ops port serves.
#[derive(Clone)]
pub struct OpsApi {
    /// The use cases, once the node has them: the ops port answers from the first moment of a start.
    pub registry: Arc<OnceLock<Arc<Registry>>>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// `/metrics`; `/healthz` (the process answers), `/readyz` (it can serve pulls), `/readyz/write` (it can take pushes);
/// `/statehash` (what it has applied, in short).
pub fn ops_router(api: OpsApi) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n".to_owned()) }))
        .route("/readyz", get(ready))
        .route("/readyz/write", get(ready_to_write))
        .route("/statehash", get(state_hash))
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

/// The rows of the replicated state in one hash, and the index up to which the log is in it. Nodes of one version that
/// stand at the same index must tell the same.
#[derive(Serialize)]
struct StateHashReport {
    applied: u64,
    sha256: String,
}

async fn state_hash(State(api): State<OpsApi>) -> Response<Body> {
    let Some(registry) = api.registry.get() else { return starting() };
    match registry.state_hash().await {
        Ok(hash) => json(&StateHashReport { applied: hash.applied, sha256: hash.digest.hex() }, JSON),
        Err(error) => no_hash(&error),
    }
}

fn no_hash(error: &HashError) -> Response<Body> {
    let retried = |status, message: &str| {
        let mut response = text(status, format!("{message}\n"));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_HASH));
        response
    };
    match error {
        HashError::Busy => retried(StatusCode::TOO_MANY_REQUESTS, "the state is being hashed already"),
        HashError::Stopped => retried(StatusCode::SERVICE_UNAVAILABLE, "this node is stopping"),
        HashError::Store(_) => {
            tracing::error!(
                error = error as &(dyn std::error::Error + 'static),
                "the state could not be read to its end for its hash"
            );
            let message = "the state could not be read; see this node's log\n";
            text(StatusCode::INTERNAL_SERVER_ERROR, message.to_owned())
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::no_hash;
    use http::header::RETRY_AFTER;
    use http_body_util::BodyExt;
    use portolan_consensus::HashError;

    #[tokio::test]
    async fn a_state_that_cannot_be_hashed_shows_no_internals_and_says_when_to_ask_again() {
        let broken = std::io::Error::other("/var/lib/secret: bad block");
        for (error, status, retry, words) in [
            (HashError::Busy, 429, true, "the state is being hashed already\n"),
            (HashError::Stopped, 503, true, "this node is stopping\n"),
            (HashError::Store(broken), 500, false, "the state could not be read; see this node's log\n"),
        ] {
            let response = no_hash(&error);
            assert_eq!((response.status().as_u16(), response.headers().contains_key(RETRY_AFTER)), (status, retry));
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), words.as_bytes());
        }
    }
}
