//! Trace context in headers, as W3C writes it; gRPC's metadata are headers too.

use crate::context::{bounded, is_exporting, is_traced, set_parent};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, global};
use tracing::Span;

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            self.0.insert(key, value);
        }
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Writes the trace of the running code into the headers of a call; nothing when it is in none. A client's baggage stays
/// behind, and so does a long state of its own: what it made up must not be more than a peer takes.
pub fn inject(headers: &mut HeaderMap) {
    if is_traced() {
        let place = Context::map_current(|context| bounded(context.span().span_context()));
        let context = Context::new().with_remote_span_context(place);
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Outgoing(headers)));
    }
}

/// Where in a trace a caller was.
#[derive(Debug)]
pub struct Remote(Context);

impl Remote {
    /// What the headers of a call say; `None` when they name no trace, or this process exports nothing.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        if !is_exporting() {
            return None;
        }
        let context = global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &Incoming(headers))
        });
        let named = context.span().span_context().is_valid();
        named.then_some(Self(context))
    }

    /// Makes a span that was not entered yet a child of the caller's.
    pub fn adopt(self, span: &Span) {
        set_parent(span, self.0);
    }
}
