//! The only home of OpenTelemetry: where spans go, and how a trace crosses processes.
//!
//! Spans are made with `tracing`, at the seams of every floor; nothing of OpenTelemetry is named there. This crate
//! sends them to a collector when the standard `OTEL_*` variables ask for it ([`Exporter`]), carries the trace of a
//! call in the headers of HTTP and gRPC ([`inject`], [`Remote`]), and that of a log entry beside it ([`TraceContext`]).
//! What may not be here: anything of a registry, and spans.
//!
//! While nothing is exported, everything here is one load of an atomic: no span has a trace, so that nothing is carried.

mod body;
mod context;
mod export;
mod headers;
mod propagators;
mod watched;

pub use body::InSpan;
pub use context::{TraceContext, Wire, describe, fail, is_exporting, is_traced};
pub use export::{ExportError, Exporter};
pub use headers::{Remote, inject};
