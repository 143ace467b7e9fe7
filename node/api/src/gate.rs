//! What every public request passes: it gets an id, a place among those under way, a line in the log and its metrics.

use crate::errors::respond;
use crate::headers::{self, REQUEST_ID};
use crate::meter::{Measured, Meter};
use crate::places::Places;
use crate::span;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Response, Version};
use portolan_registry::Traffic;
use std::sync::Arc;
use tracing::Instrument;
use tracing::field::Empty;
use ulid::Ulid;

/// The longest request id that is taken over from a client.
const LONGEST_ID: usize = 128;

/// A request's id, in the log, in the response and in the message of a fault.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// How many requests may be under way, and where they are counted.
pub(crate) struct Gate {
    requests: Places,
    traffic: Arc<Traffic>,
}

impl Gate {
    pub(crate) fn new(limit: usize, traffic: Arc<Traffic>) -> Self {
        Self { requests: Places::new("requests", limit), traffic }
    }
}

/// The middleware. The place, the log line and the metrics last until the response's body has been sent.
pub(crate) async fn gated(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response<Body> {
    let id = identify(&request);
    let mut meter = Meter::begin(
        Arc::clone(&id),
        request.method().as_str(),
        request.uri().path(),
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()),
        Arc::clone(&gate.traffic),
    );
    let (received, version) = (meter.received(), request.version());
    let (mut place, mut traced) = (None, None);
    let mut response = match gate.requests.take() {
        Ok(permit) => {
            place = Some(permit);
            request.extensions_mut().insert(RequestId(Arc::clone(&id)));
            request.extensions_mut().insert(meter.label());
            let request = request.map(|body| Body::new(received.clone().count(body)));
            let span = tracing::info_span!("request", request_id = %id, repo = Empty, reference = Empty);
            traced = span::begin(&span, &request);
            next.run(request).instrument(span).await
        }
        Err(error) => respond(&error, &id),
    };
    response.headers_mut().insert(REQUEST_ID, headers::text(&*id));
    let status = response.status();
    if version < Version::HTTP_2 && (status.is_client_error() || status.is_server_error()) && !received.is_whole() {
        // The client need not send the rest of its body, nor guess whether it is waited for (RFC 9110, section 10.1.1).
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    meter.answered(status);
    if let Some(span) = &traced {
        span::answered(span, status);
    }
    span::lasting(response.map(|body| Body::new(Measured::new(body, meter, place))), traced)
}

/// The client's id, if it is fit for a log line; else a fresh one.
fn identify(request: &Request) -> Arc<str> {
    let theirs = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match theirs {
        Some(id) if !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic()) => {
            id.into()
        }
        _ => Ulid::new().to_string().into(),
    }
}
