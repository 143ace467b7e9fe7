//! The trace that the running code belongs to.

use opentelemetry::trace::{SpanContext, Status, TraceContextExt, TraceState};
use opentelemetry::{Context, Value, global};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The longest `tracestate` that stays with a log entry or goes to a peer, in bytes; W3C asks for as much. A client makes
/// it up, and many entries are remembered.
const LONGEST_STATE: usize = 512;

static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Spans are exported from here on.
pub(crate) fn begin() {
    EXPORTING.store(true, Ordering::Relaxed);
}

/// Whether this process exports spans at all.
#[must_use]
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// Whether the running code is within a span that belongs to a trace, be it one that is not sampled.
#[must_use]
pub fn is_traced() -> bool {
    is_exporting() && Context::map_current(|context| context.span().span_context().is_valid())
}

/// Adds an attribute to a span for traces alone: the log shows nothing of it.
pub fn describe(span: &Span, key: &'static str, value: impl Into<Value>) {
    span.set_attribute(key, value);
}

/// Marks a span as failed.
pub fn fail(span: &Span) {
    span.set_status(Status::error(""));
}

/// The same place, without a state that is too long.
pub(crate) fn bounded(context: &SpanContext) -> SpanContext {
    if context.trace_state().header().len() <= LONGEST_STATE {
        return context.clone();
    }
    let (trace, span) = (context.trace_id(), context.span_id());
    SpanContext::new(trace, span, context.trace_flags(), context.is_remote(), TraceState::NONE)
}

/// A place in a sampled trace, to be remembered for what is done elsewhere or later on its behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(Arc<SpanContext>);

/// A [`TraceContext`] on its way to another process, as W3C writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// `traceparent`.
    pub traceparent: String,
    /// `tracestate`; empty when there is none.
    pub tracestate: String,
}

impl TraceContext {
    /// Where the running code is; `None` when it is in no trace, or in one that is not sampled.
    #[must_use]
    pub fn current() -> Option<Self> {
        if !is_exporting() {
            return None;
        }
        Context::map_current(|context| Self::of(context.span().span_context()))
    }

    fn of(context: &SpanContext) -> Option<Self> {
        (context.is_valid() && context.is_sampled()).then(|| Self(Arc::new(bounded(context))))
    }

    /// Makes a span that was not entered yet a child of this place.
    pub fn adopt(&self, span: &Span) {
        set_parent(span, self.context());
    }

    /// What to send; `None` when `OTEL_PROPAGATORS` leaves trace context out.
    #[must_use]
    pub fn to_wire(&self) -> Option<Wire> {
        let mut fields = HashMap::new();
        global::get_text_map_propagator(|propagator| propagator.inject_context(&self.context(), &mut fields));
        let traceparent = fields.remove("traceparent")?;
        Some(Wire { traceparent, tracestate: fields.remove("tracestate").unwrap_or_default() })
    }

    /// What was sent; `None` when it is malformed, not sampled, or of no use because this process exports nothing.
    #[must_use]
    pub fn from_wire(wire: Wire) -> Option<Self> {
        if !is_exporting() {
            return None;
        }
        let fields =
            HashMap::from([("traceparent".to_owned(), wire.traceparent), ("tracestate".to_owned(), wire.tracestate)]);
        let context =
            global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &fields));
        Self::of(context.span().span_context())
    }

    fn context(&self) -> Context {
        Context::new().with_remote_span_context((*self.0).clone())
    }
}

/// A span that the subscriber left out, or that has begun, keeps what it has: a trace is lost, nothing else.
pub(crate) fn set_parent(span: &Span, context: Context) {
    let _ = span.set_parent(context);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic fails the test")]

    use super::{LONGEST_STATE, TraceContext, Wire, begin};
    use crate::propagators;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn wire(traceparent: &str, tracestate: &str) -> Wire {
        Wire { traceparent: traceparent.to_owned(), tracestate: tracestate.to_owned() }
    }

    #[test]
    fn a_sampled_context_survives_the_wire_and_anything_else_is_none() {
        begin();
        propagators::install("tracecontext,baggage");
        let there = wire(PARENT, "vendor=a");
        assert_eq!(TraceContext::from_wire(there.clone()).unwrap().to_wire(), Some(there));
        let long = format!("vendor={}", "x".repeat(LONGEST_STATE));
        let back = TraceContext::from_wire(wire(PARENT, &long)).unwrap().to_wire();
        assert_eq!(back, Some(wire(PARENT, "")), "a state without bound is left behind");
        let cases =
            ["", "00-xyz", "00-00000000000000000000000000000000-b7ad6b7169203331-01", &PARENT.replace("-01", "-00")];
        for traceparent in cases {
            assert_eq!(TraceContext::from_wire(wire(traceparent, "")), None, "{traceparent:?}");
        }
        assert_eq!(TraceContext::current(), None, "no span is entered");
    }
}
