//! Spans of calls, at both ends, around every call, so that none can forget its own. Only what belongs to a trace gets
//! one: pings and elections would fill the collector with traces that nobody asked for.

use crate::identity::PeerIdentity;
use futures::future::BoxFuture;
use portolan_meta::id::NodeId;
use portolan_trace::{InSpan, Remote, fail, inject, is_traced};
use std::future::Future;
use tonic::body::Body;
use tracing::field::display;
use tracing::{Instrument, Span, debug_span};

/// What the paths of all calls begin with.
const PACKAGE: &str = "/portolan.v1.";

/// A call's name in spans: service and method.
fn name<B>(request: &http::Request<B>) -> &str {
    let path = request.uri().path();
    path.strip_prefix(PACKAGE).unwrap_or(path)
}

/// The caller's span; its trace travels with the request.
pub(crate) fn call<B>(request: &mut http::Request<B>, target: Option<NodeId>) -> Span {
    if !is_traced() {
        return Span::none();
    }
    let peer = target.map(display);
    let span = debug_span!("call", otel.kind = "client", call = name(request), peer);
    span.in_scope(|| inject(request.headers_mut()));
    span
}

/// The callee's span, if the request came with a trace.
pub(crate) fn answer<B>(request: &http::Request<B>) -> Span {
    let Some(remote) = Remote::of(request.headers()) else { return Span::none() };
    let peer = request.extensions().get::<PeerIdentity>().map(|peer| display(peer.node));
    let span = debug_span!(parent: None, "answer", otel.kind = "server", call = name(request), peer);
    remote.adopt(&span);
    span
}

type Answered<E> = BoxFuture<'static, Result<http::Response<Body>, E>>;

/// Lets a call happen within its span, up to the last byte of its answer.
pub(crate) fn within<E>(
    span: Span,
    answer: impl Future<Output = Result<http::Response<Body>, E>> + Send + 'static,
) -> Answered<E> {
    if span.is_disabled() {
        return Box::pin(answer);
    }
    Box::pin(async move {
        let answered = answer.instrument(span.clone()).await;
        match answered {
            Ok(response) => {
                if is_refusal(&response) {
                    fail(&span);
                }
                Ok(response.map(|body| Body::new(InSpan::new(body, span))))
            }
            Err(error) => {
                fail(&span);
                Err(error)
            }
        }
    })
}

/// Whether the answer is an error alone, whose status stands in its head.
fn is_refusal(response: &http::Response<Body>) -> bool {
    response.headers().get("grpc-status").is_some_and(|status| status != "0")
}
