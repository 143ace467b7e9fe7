//! Where spans go: to a collector, over OTLP, when the standard variables ask for it.

use crate::context;
use crate::propagators;
use crate::watched::Watched;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::env;
use std::time::Duration;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

/// The targets of our own spans and events begin with it; those of the engines are left out of traces.
const OURS: &str = "portolan";

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// `OTEL_EXPORTER_OTLP_PROTOCOL` names a protocol that this node does not speak.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}; this node speaks grpc and http/protobuf")]
    Protocol(String),
    /// The endpoint, the headers or the timeout are wrong.
    #[error("the OTEL_EXPORTER_OTLP_* variables make no exporter")]
    Exporter(#[source] ExporterBuildError),
    /// The last spans could not be sent in time.
    #[error("the last spans were not sent")]
    Last(#[source] OTelSdkError),
}

/// Sends spans to a collector, in batches, from a thread of its own.
pub struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    /// The exporter that the `OTEL_*` variables ask for; `None` unless they name an endpoint. `service` and `instance`
    /// are the resource's `service.name` (unless `OTEL_SERVICE_NAME` names another) and `service.instance.id`.
    /// Must be called inside a tokio runtime, once per process.
    ///
    /// # Errors
    /// The variables are wrong.
    pub fn from_environment(service: &'static str, instance: &str) -> Result<Option<Self>, ExportError> {
        if !is_asked_for() {
            return Ok(None);
        }
        let mut resource = Resource::builder();
        if variable("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(service);
        }
        let resource = resource.with_attribute(KeyValue::new("service.instance.id", instance.to_owned())).build();
        // Sampler, batches and the limits of a span are read from the variables by the SDK.
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(Watched::new(exporter()?)).with_resource(resource).build();
        propagators::install(variable("OTEL_PROPAGATORS").as_deref().unwrap_or(propagators::DEFAULT));
        context::begin();
        Ok(Some(Self { provider }))
    }

    /// The layer that takes spans. It has a filter of its own: how much is logged says nothing about what is traced.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let filter = filter_fn(is_for_traces).with_max_level_hint(LevelFilter::DEBUG);
        let tracer = self.provider.tracer(OURS);
        // Threads of the runtime and lines of source say nothing about a request.
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_threads(false)
            .with_location(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(filter)
    }

    /// Sends what is left, for so long. Blocks.
    ///
    /// # Errors
    /// It was not all sent.
    pub fn shutdown(&self, within: Duration) -> Result<(), ExportError> {
        self.provider.shutdown_with_timeout(within).map_err(ExportError::Last)
    }
}

/// Our spans, and the warnings within them.
fn is_for_traces(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OURS) && (metadata.is_span() || *metadata.level() <= Level::WARN)
}

/// A variable's value; empty is as good as unset.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_asked_for() -> bool {
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let none = variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    let endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    !disabled && !none && endpoint.into_iter().any(|name| variable(name).is_some())
}

/// Endpoint, headers and timeout are read from the variables by the exporter.
fn exporter() -> Result<SpanExporter, ExportError> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    let protocol = names.into_iter().find_map(variable);
    let built = match protocol.as_deref() {
        None | Some("grpc") => SpanExporter::builder().with_tonic().with_protocol(Protocol::Grpc).build(),
        Some("http/protobuf") => SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build(),
        Some(other) => return Err(ExportError::Protocol(other.to_owned())),
    };
    built.map_err(ExportError::Exporter)
}
