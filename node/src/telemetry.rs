//! Logs, traces and metrics of a serving node.

use crate::error::Failure;
use crate::recorder;
use metrics_exporter_prometheus::PrometheusHandle;
use portolan_trace::Exporter;
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
    traces: Option<Exporter>,
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
    /// Installs the log, the exporter of spans (if the `OTEL_*` variables ask for it) and the metrics recorder. Must be
    /// called inside the runtime.
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
        let traces = Exporter::from_environment("portolan", node).map_err(Failure::start("the trace exporter"))?;
        let registry = tracing_subscriber::registry();
        let installed = match &traces {
            None => registry.with(lines.and_then(filter)).try_init(),
            // Each with a filter of its own: how much is logged says nothing about what is traced.
            Some(traces) => registry.with(lines.with_filter(filter)).with(traces.layer()).try_init(),
        };
        installed.map_err(Failure::start("the log"))?;
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
            && let Err(error) = traces.shutdown(LAST_TRACES)
        {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}
