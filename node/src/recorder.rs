//! The metrics of a serving node: how histograms are sorted, and what a node says of itself once.

use crate::config::Config;
use crate::error::Failure;
use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use portolan_consensus::LocalNode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use x509_parser::time::ASN1Time;

/// Seconds that requests and transfers are sorted by: from a local read to a slow line.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Seconds that a disk is sorted by: from what a fast one needs to sync to what only a broken one takes.
const DISK_SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds that round trips are sorted by: from one machine to the other side of the world.
const ROUND_TRIP_SECONDS: [f64; 14] =
    [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 1.0];
/// Bytes that sizes are sorted by: from an answer without a body to a large layer.
const BYTES: [f64; 10] = [
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    1_048_576.0,
    16_777_216.0,
    134_217_728.0,
    1_073_741_824.0,
    8_589_934_592.0,
];

/// What the disk decides.
const OF_THE_DISK: [&str; 4] = [
    "portolan_raft_fsync_seconds",
    "portolan_raft_append_seconds",
    "portolan_raft_apply_seconds",
    "registry_storage_action_seconds",
];

/// Installs the recorder of all metrics.
///
/// # Errors
/// When there is one already.
pub(crate) fn install() -> Result<PrometheusHandle, Failure> {
    let exact = |name: &str| Matcher::Full(name.to_owned());
    let mut builder = PrometheusBuilder::new()
        .set_buckets(&SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES))
        .and_then(|builder| {
            builder.set_buckets_for_metric(exact("portolan_peer_round_trip_seconds"), &ROUND_TRIP_SECONDS)
        });
    for name in OF_THE_DISK {
        builder = builder.and_then(|builder| builder.set_buckets_for_metric(exact(name), &DISK_SECONDS));
    }
    builder.and_then(PrometheusBuilder::install_recorder).map_err(Failure::start("the metrics recorder"))
}

/// Says who this node is, for dashboards that go by region.
pub(crate) fn introduce(config: &Config, local: &LocalNode) {
    describe_gauge!("portolan_node_info", "1; the labels say who this node is.");
    let labels = [
        ("node", local.id.to_string()),
        ("name", config.node.name.clone()),
        ("region", config.node.region.clone()),
        ("zone", config.node.zone.clone()),
        ("version", local.version.clone()),
    ];
    gauge!("portolan_node_info", &labels).set(1.0);
}

/// Says until when this node's certificates hold, as they are at its start: a renewed one of the peers counts from the
/// next start on, that of the public port once it is served.
pub(crate) fn introduce_certificates(config: &Config) {
    describe_gauge!(
        "portolan_certificate_expiry_timestamp_seconds",
        Unit::Seconds,
        "When a certificate that this node uses ends, in Unix time; of a chain the one that ends first."
    );
    let files = [("peer", &config.peer.cert), ("peer_ca", &config.peer.ca)];
    let public = config.public.tls.iter().map(|(cert, _)| ("public", cert));
    for (use_for, path) in files.into_iter().chain(public) {
        match expiry(path) {
            Some(ends) => certificate_ends(use_for, Some(ends)),
            None => tracing::warn!(path = %path.display(), "until when this certificate holds cannot be read"),
        }
    }
}

/// Says until when the certificate for a use holds, if that can be told.
#[expect(clippy::cast_precision_loss, reason = "a time in seconds is far below 2^53")]
pub(crate) fn certificate_ends(use_for: &'static str, ends: Option<ASN1Time>) {
    let ends = ends.map_or(f64::NAN, |ends| ends.timestamp() as f64);
    gauge!("portolan_certificate_expiry_timestamp_seconds", "certificate" => use_for).set(ends);
}

/// When the first certificate of a file ends.
fn expiry(path: &Path) -> Option<ASN1Time> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path).ok()?.collect::<Result<_, _>>().ok()?;
    first_end(&chain)
}

/// When the first certificate of a chain ends.
pub(crate) fn first_end(chain: &[CertificateDer<'_>]) -> Option<ASN1Time> {
    let ends = chain.iter().map(|certificate| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(parsed.validity().not_after)
    });
    ends.collect::<Option<Vec<_>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::expiry;

    fn certificate(ends: i32) -> String {
        let mut params = rcgen::CertificateParams::new(vec!["portolan-peer".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn of_a_chain_the_certificate_that_ends_first_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.pem");
        std::fs::write(&path, certificate(2040) + &certificate(2030)).unwrap();
        // 2030-01-01T00:00:00Z
        assert_eq!(expiry(&path).map(|ends| ends.timestamp()), Some(1_893_456_000));
        std::fs::write(&path, "no certificate").unwrap();
        assert_eq!(expiry(&path), None);
        assert_eq!(expiry(&dir.path().join("absent")), None);
    }
}
