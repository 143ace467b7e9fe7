//! What clients and operators see of a node: the public API, health and metrics.

use crate::config::Config;
use crate::listeners::tls_incoming;
use crate::part::Part;
use crate::public_tls::PublicTls;
use metrics_exporter_prometheus::PrometheusHandle;
use portolan_api::{OpsApi, PublicApi, ServeLimits, ops_router, public_router, serve, tcp_incoming};
use portolan_auth::Policy;
use portolan_registry::Registry;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;

/// What the ops port takes: a few scrapers and probes.
const OPS_LIMITS: ServeLimits = ServeLimits {
    connections: 64,
    header_timeout: Duration::from_secs(10),
    stall_timeout: Duration::from_secs(10),
    drain: Duration::from_millis(500),
};

/// Serves the public API from here on.
pub(crate) fn start_public(
    config: &Config,
    registry: &Arc<Registry>,
    policy: Policy,
    tls: Option<PublicTls>,
    listener: TcpListener,
) -> Part {
    let mut part = Part::new();
    let router = public_router(PublicApi { registry: Arc::clone(registry), policy: Arc::new(policy) });
    let limits = &config.registry.limits;
    let limits = ServeLimits {
        connections: limits.connections,
        header_timeout: Duration::from_millis(limits.header_timeout_ms),
        stall_timeout: Duration::from_millis(limits.stall_timeout_ms),
        // The rest of the stop has its share of the deadline.
        drain: config.shutdown.mul_f32(0.7),
    };
    let stop = part.stop.clone().cancelled_owned();
    let current = tls.as_ref().map(PublicTls::current);
    part.tasks.spawn(async move {
        let incoming = tcp_incoming(listener);
        let cut = match current {
            None => serve(incoming, router, limits, stop).await,
            Some(current) => serve(tls_incoming(incoming, current), router, limits, stop).await,
        };
        if cut > 0 {
            tracing::warn!(connections = cut, "cut at the deadline");
        }
        ("the public API", Ok(()))
    });
    if let Some(tls) = tls {
        let stop = part.stop.clone();
        part.tasks.spawn(async move {
            tls.keep_renewed(stop).await;
            ("the renewal of the public certificate", Ok(()))
        });
    }
    part
}

/// Serves health and metrics from here on; what needs the registry answers "starting" until it is set.
pub(crate) fn start_ops(
    registry: Arc<OnceLock<Arc<Registry>>>,
    listener: TcpListener,
    metrics: PrometheusHandle,
) -> Part {
    let mut part = Part::new();
    let router = ops_router(OpsApi { registry, metrics: Arc::new(move || metrics.render()) });
    let stop = part.stop.clone().cancelled_owned();
    part.tasks.spawn(async move {
        serve(tcp_incoming(listener), router, OPS_LIMITS, stop).await;
        ("the ops port", Ok(()))
    });
    part
}
