//! Logs, traces and metrics of a serving node.

use crate::error::Failure;
use crate::recorder;
use metrics_exporter_prometheus::PrometheusHandle;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Levels when `RUST_LOG` is not set: the engines are quiet unless something is wrong. openraft warns of each heartbeat
/// that finds a node down, many in a second, and calls every message that comes while it stops an error; that a node is
/// down is told by `portolan_consensus`, once.
const DEFAULT_LEVELS: &str = "info,openraft=error,openraft::raft=off,h2=warn,hyper=warn,tonic=warn,rustls=warn";
/// How long a stop waits for the last traces to be sent.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// How often old samples are folded into the histograms, and the process's own gauges are read.
const UPKEEP: Duration = Duration::from_secs(5);

/// What must be kept while the node serves.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: PrometheusHandle,
    terminal: bool,
}

/// Standard error for lines of JSON, each of which gets the node's name: logs of several nodes end up in one place.
struct NamedLines {
    start: String,
}

impl NamedLines {
    fn new(node: &str) -> Self {
        Self { start: format!("{{\"node\":{},", serde_json::Value::from(node)) }
    }
}

impl Write for &NamedLines {
    /// Gets a whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let rest = line.strip_prefix(b"{").unwrap_or(line);
        let whole = [self.start.as_bytes(), rest].concat();
        io::stderr().lock().write_all(&whole)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Telemetry {
    /// Installs the log, the trace exporter (only when `OTEL_EXPORTER_OTLP_ENDPOINT` is set) and the metrics recorder.
    /// Must be called inside the runtime.
    ///
    /// # Errors
    /// When the exporter's settings are wrong, or something is installed already.
    pub(crate) fn install(node: &str) -> Result<Self, Failure> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LEVELS));
        let terminal = io::stderr().is_terminal();
        let lines = tracing_subscriber::fmt::layer();
        let lines = if terminal {
            lines.with_writer(io::stderr).with_ansi(std::env::var_os("NO_COLOR").is_none()).boxed()
        } else {
            lines.with_writer(Arc::new(NamedLines::new(node))).json().flatten_event(true).boxed()
        };
        let traces = if wants_traces() { Some(trace_provider(node)?) } else { None };
        let spans =
            traces.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("portolan")));
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .with(spans)
            .try_init()
            .map_err(Failure::start("the log"))?;
        let metrics = recorder::install()?;
        Ok(Self { traces, metrics, terminal })
    }

    /// Renders all metrics in Prometheus format.
    pub(crate) fn renderer(&self) -> PrometheusHandle {
        self.metrics.clone()
    }

    /// Keeps the histograms small, and the process's own gauges and those that `gauges` records fresh, until it is
    /// told to stop.
    pub(crate) async fn upkeep(metrics: PrometheusHandle, gauges: impl Fn(), stop: CancellationToken) {
        let process = metrics_process::Collector::default();
        process.describe();
        let mut ticks = tokio::time::interval(UPKEEP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            metrics.run_upkeep();
            gauges();
            process.collect();
        }
    }

    /// Whether the log goes to a terminal.
    pub(crate) fn is_read_by_a_person(&self) -> bool {
        self.terminal
    }

    /// Sends what traces are left, for a moment.
    pub(crate) fn flush(&self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown_with_timeout(LAST_TRACES)
        {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

fn wants_traces() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    let none = std::env::var("OTEL_TRACES_EXPORTER").is_ok_and(|value| value == "none");
    let endpoint = set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    endpoint && !disabled && !none
}

fn trace_provider(node: &str) -> Result<SdkTracerProvider, Failure> {
    // The exporter and the resource read the standard OTEL_* variables themselves.
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .build()
        .map_err(Failure::start("the trace exporter"))?;
    let mut resource = opentelemetry_sdk::Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("portolan");
    }
    let resource =
        resource.with_attribute(opentelemetry::KeyValue::new("service.instance.id", node.to_owned())).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
