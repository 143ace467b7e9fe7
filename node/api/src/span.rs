//! A request's span in traces: it goes on from the caller's, and lasts until the response's body has been sent.

use axum::body::Body;
use axum::extract::Request;
use http::{Response, StatusCode};
use portolan_trace::{InSpan, Remote, describe, fail, is_exporting};
use tracing::Span;

/// Makes a request's span, which was not entered yet, known to traces; `None` when nothing is exported.
pub(crate) fn begin(span: &Span, request: &Request) -> Option<Span> {
    if !is_exporting() {
        return None;
    }
    if let Some(remote) = Remote::of(request.headers()) {
        remote.adopt(span);
    }
    // Not as fields of the span: the log has them in the line of the request.
    describe(span, "http.request.method", request.method().to_string());
    describe(span, "url.path", request.uri().path().to_owned());
    Some(span.clone())
}

/// The head is known.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    describe(span, "http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        fail(span);
    }
}

/// Keeps the span until the body has been sent.
pub(crate) fn lasting(response: Response<Body>, span: Option<Span>) -> Response<Body> {
    match span {
        Some(span) => response.map(|body| Body::new(InSpan::new(body, span))),
        None => response,
    }
}
