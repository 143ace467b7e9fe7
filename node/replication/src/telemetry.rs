//! The names of this crate's metrics, and the gauges.

use crate::status::{RegionLag, RegionMissing};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use portolan_meta::id::NodeId;

/// Says what each metric means. Repeating it is harmless.
pub(crate) fn describe() {
    describe_counter!("portolan_blob_open_total", "Blobs opened for pulls, by where their bytes came from.");
    describe_counter!("portolan_replication_fetches_total", "Transfers that ended, by how.");
    describe_counter!("portolan_replication_fetched_bytes_total", Unit::Bytes, "Bytes read from each peer.");
    describe_counter!("portolan_replication_bytes_total", Unit::Bytes, "Bytes read from peers, by what for.");
    describe_counter!("portolan_replication_served_bytes_total", Unit::Bytes, "Bytes of blobs given to peers.");
    describe_counter!("portolan_replication_source_failures_total", "Sources replaced in the middle or before.");
    describe_counter!("portolan_replication_wrong_bytes_total", "Transfers whose bytes had another digest, by peer.");
    describe_counter!("portolan_replication_damaged_total", "Own files found damaged and put aside.");
    describe_counter!("portolan_replication_copies_total", "Copies whose location was committed.");
    describe_histogram!("portolan_replication_confirm_seconds", Unit::Seconds, "How long a confirmation takes.");
    describe_gauge!("portolan_replication_queue", "Blobs that this node lacks and does not fetch yet.");
    describe_gauge!("portolan_replication_queue_bytes", Unit::Bytes, "The bytes of those.");
    describe_gauge!("portolan_replication_in_flight", "Blobs that the worker fetches.");
    describe_gauge!("portolan_replication_unconfirmed", "Finished files whose location is not committed yet.");
    describe_gauge!(
        "portolan_replication_missing_copies",
        "Copies that placement wants and nobody made yet, by region."
    );
    describe_gauge!("portolan_replication_missing_bytes", Unit::Bytes, "The bytes of those.");
    describe_gauge!(
        "portolan_replication_lag_seconds",
        Unit::Seconds,
        "Age of the oldest blob that one region holds and another lacks."
    );
    describe_gauge!("portolan_replication_lag_bytes", Unit::Bytes, "Bytes that one region holds and another lacks.");
    // A rate needs a beginning: what never happened is zero rather than absent.
    counter!("portolan_replication_damaged_total").increment(0);
    counter!("portolan_replication_copies_total").increment(0);
    counter!("portolan_replication_served_bytes_total").increment(0);
    for purpose in [Purpose::Pull, Purpose::Policy, Purpose::Through] {
        counter!("portolan_replication_bytes_total", "class" => purpose.label()).increment(0);
    }
}

/// What bytes are read from a peer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody pulls; they are stored on the way.
    Pull,
    /// Placement wants a copy here.
    Policy,
    /// Somebody pulls, and there is no room to store them.
    Through,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Policy => "policy",
            Self::Through => "through",
        }
    }
}

/// Bytes came from a peer.
pub(crate) fn fetched(from: NodeId, purpose: Purpose, bytes: usize) {
    counter!("portolan_replication_fetched_bytes_total", "peer" => from.to_string()).increment(bytes as u64);
    counter!("portolan_replication_bytes_total", "class" => purpose.label()).increment(bytes as u64);
}

/// How many of something, as a gauge takes it.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; beyond 2^53 nobody reads the last digits")]
fn number(count: u64) -> f64 {
    count as f64
}

/// This node's own queue.
pub(crate) fn queue(waiting: usize, bytes: u64, in_flight: usize, unconfirmed: usize) {
    gauge!("portolan_replication_queue").set(number(waiting as u64));
    gauge!("portolan_replication_queue_bytes").set(number(bytes));
    gauge!("portolan_replication_in_flight").set(number(in_flight as u64));
    gauge!("portolan_replication_unconfirmed").set(number(unconfirmed as u64));
}

/// What each region lacks.
pub(crate) fn regions(regions: &[RegionMissing]) {
    for row in regions {
        gauge!("portolan_replication_missing_copies", "region" => row.region.clone()).set(number(row.copies));
        gauge!("portolan_replication_missing_bytes", "region" => row.region.clone()).set(number(row.bytes));
    }
}

/// How far each region is behind each other one.
pub(crate) fn lags(lags: &[RegionLag]) {
    for lag in lags {
        let labels = [("from", lag.from.clone()), ("to", lag.to.clone())];
        gauge!("portolan_replication_lag_seconds", &labels).set(number(lag.age_ms) / 1000.0);
        gauge!("portolan_replication_lag_bytes", &labels).set(number(lag.bytes));
    }
}
