//! The names of this crate's metrics, and the gauges.

use crate::status::{Exposure, RegionLag, RegionMissing};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use portolan_meta::id::NodeId;
use portolan_meta::row::Traffic;

/// Where an opened blob's bytes come from, and how opening one fails, as labels.
const OPENED: [&str; 6] = ["local", "following", "peer", "through", "not_found", "failed"];

/// How a transfer ends, as a label.
const ENDS: [&str; 8] = ["sealed", "full", "gone", "lost", "wrong", "broken", "unwanted", "stopped"];

/// Says what each metric means, and begins what would else be absent until it first happens: a rate needs a beginning.
/// Repeating it is harmless.
pub(crate) fn describe(peers: impl Iterator<Item = NodeId>) {
    describe_transfers();
    describe_backlog();
    describe_health();
    damaged().increment(0);
    dropped().increment(0);
    swept_files().increment(0);
    swept_bytes().increment(0);
    copies().increment(0);
    served_bytes().increment(0);
    drop(confirm_seconds());
    for source in OPENED {
        opened(source).increment(0);
    }
    for end in ENDS {
        ended(end).increment(0);
    }
    for purpose in [Purpose::Pull, Purpose::Ack, Purpose::Repair, Purpose::Through] {
        class_bytes(purpose).increment(0);
    }
    for peer in peers {
        fetched_bytes(peer).increment(0);
        source_failures(peer).increment(0);
        ejections(peer).increment(0);
        wrong_bytes(peer).increment(0);
    }
}

fn describe_transfers() {
    describe_counter!("portolan_blob_open_total", "Blobs opened for pulls, by where their bytes came from.");
    describe_counter!("portolan_replication_fetches_total", "Transfers that ended, by how.");
    describe_counter!("portolan_replication_fetched_bytes_total", Unit::Bytes, "Bytes read from each peer.");
    describe_counter!("portolan_replication_bytes_total", Unit::Bytes, "Bytes read from peers, by what for.");
    describe_counter!("portolan_replication_served_bytes_total", Unit::Bytes, "Bytes of blobs given to peers.");
    describe_counter!(
        "portolan_replication_source_failures_total",
        "Reads from a peer that failed; another source took over if there was one."
    );
    describe_counter!(
        "portolan_replication_wrong_bytes_total",
        "Transfers whose bytes had another digest, by each peer that had a part in them."
    );
    describe_counter!("portolan_replication_damaged_total", "Own files found damaged and put aside.");
    describe_counter!(
        "portolan_replication_dropped_total",
        "Own copies given up because policy does not want them here and every target has one."
    );
    describe_counter!(
        "portolan_replication_swept_files_total",
        "Files of earlier starts that nobody listed and nobody needed, and that were unlinked."
    );
    describe_counter!("portolan_replication_swept_bytes_total", Unit::Bytes, "The bytes of those swept files.");
    describe_counter!("portolan_replication_copies_total", "Copies whose location was committed.");
    describe_histogram!(
        "portolan_replication_confirm_seconds",
        Unit::Seconds,
        "From the proposal of finished copies to their committed locations."
    );
}

fn describe_health() {
    describe_counter!(
        "portolan_replication_ejections_total",
        "Times that reads of a peer failed so often that it is asked last for a while."
    );
    describe_gauge!(
        "portolan_replication_peer_phi",
        "How surprising a peer's silence is: minus the decimal logarithm of its chance."
    );
    describe_gauge!(
        "portolan_replication_peer_ejected",
        "1 while a peer is asked last because reads of it failed or its bytes were wrong."
    );
    describe_gauge!(
        "portolan_replication_peer_ewma_seconds",
        Unit::Seconds,
        "Time to the first byte of reads of a peer: a moving average that rises at once."
    );
}

fn describe_backlog() {
    describe_gauge!("portolan_replication_queue", "Blobs that this node lacks and does not fetch yet.");
    describe_gauge!("portolan_replication_queue_bytes", Unit::Bytes, "The bytes of that queue.");
    describe_gauge!("portolan_replication_in_flight", "Blobs that the worker fetches.");
    describe_gauge!("portolan_replication_unconfirmed", "Finished files whose location is not committed yet.");
    describe_gauge!(
        "portolan_replication_missing_copies",
        "Copies that placement wants and nobody made yet, by region."
    );
    describe_gauge!("portolan_replication_missing_bytes", Unit::Bytes, "The bytes of those copies.");
    describe_gauge!(
        "portolan_replication_lag_seconds",
        Unit::Seconds,
        "Age of the oldest blob that one region holds and another lacks."
    );
    describe_gauge!("portolan_replication_lag_bytes", Unit::Bytes, "Bytes that one region holds and another lacks.");
    describe_gauge!("portolan_replication_lag_blobs", "Blobs that one region holds and another lacks.");
    describe_gauge!("portolan_rpo_blobs", "Blobs whose live copies are all in one region: its loss would take them.");
    describe_gauge!("portolan_rpo_bytes", Unit::Bytes, "The bytes of those blobs.");
    describe_gauge!("portolan_rpo_oldest_seconds", Unit::Seconds, "Age of the oldest of those blobs.");
    describe_gauge!(
        "portolan_rpo_unreachable_blobs",
        "Blobs that a region has and nobody that answers: they can be read again when it is back."
    );
    describe_gauge!("portolan_rpo_unreachable_bytes", Unit::Bytes, "The bytes of those unreachable blobs.");
    describe_gauge!(
        "portolan_rpo_damaged_blobs",
        "Blobs of which no copy is left anywhere; pushing them again mends them."
    );
    describe_gauge!(
        "portolan_replication_incomplete",
        "1 while more may be missing than is told: a scan is under way, or too much is missing to remember."
    );
}

/// Blobs opened from there, or that failed to open so.
pub(crate) fn opened(source: &'static str) -> Counter {
    counter!("portolan_blob_open_total", "source" => source)
}

/// Transfers that ended so.
pub(crate) fn ended(end: &'static str) -> Counter {
    counter!("portolan_replication_fetches_total", "end" => end)
}

/// Own files found damaged.
pub(crate) fn damaged() -> Counter {
    counter!("portolan_replication_damaged_total")
}

/// Copies whose location was committed.
pub(crate) fn copies() -> Counter {
    counter!("portolan_replication_copies_total")
}

/// Bytes given to peers.
pub(crate) fn served_bytes() -> Counter {
    counter!("portolan_replication_served_bytes_total")
}

/// Own copies that were given up because policy does not want them here.
pub(crate) fn dropped() -> Counter {
    counter!("portolan_replication_dropped_total")
}

/// Files of earlier starts that nobody listed, and that were unlinked.
pub(crate) fn swept_files() -> Counter {
    counter!("portolan_replication_swept_files_total")
}

/// The bytes of those files.
pub(crate) fn swept_bytes() -> Counter {
    counter!("portolan_replication_swept_bytes_total")
}

/// How long a confirmation takes.
pub(crate) fn confirm_seconds() -> Histogram {
    histogram!("portolan_replication_confirm_seconds")
}

/// Reads from a peer that failed.
pub(crate) fn source_failures(peer: NodeId) -> Counter {
    counter!("portolan_replication_source_failures_total", "peer" => peer.to_string())
}

/// Times that a peer was ejected.
pub(crate) fn ejections(peer: NodeId) -> Counter {
    counter!("portolan_replication_ejections_total", "peer" => peer.to_string())
}

/// How well a peer would serve a read, as far as this node knows.
pub(crate) fn peer(peer: NodeId, phi: f64, is_ejected: bool, latency_seconds: f64) {
    let label = || peer.to_string();
    gauge!("portolan_replication_peer_phi", "peer" => label()).set(phi);
    gauge!("portolan_replication_peer_ejected", "peer" => label()).set(f64::from(u8::from(is_ejected)));
    gauge!("portolan_replication_peer_ewma_seconds", "peer" => label()).set(latency_seconds);
}

/// Transfers in which a peer had a part and whose bytes had another digest.
pub(crate) fn wrong_bytes(peer: NodeId) -> Counter {
    counter!("portolan_replication_wrong_bytes_total", "peer" => peer.to_string())
}

fn fetched_bytes(peer: NodeId) -> Counter {
    counter!("portolan_replication_fetched_bytes_total", "peer" => peer.to_string())
}

fn class_bytes(purpose: Purpose) -> Counter {
    counter!("portolan_replication_bytes_total", "class" => purpose.label())
}

/// What bytes are read from a peer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody pulls; they are stored on the way.
    Pull,
    /// Placement wants a copy here of what was pushed of late.
    Ack,
    /// Placement wants a copy here.
    Repair,
    /// Somebody pulls, and there is no room to store them.
    Through,
}

impl Purpose {
    /// Whose turn it is when bandwidth is short.
    pub(crate) const fn traffic(self) -> Traffic {
        match self {
            Self::Pull | Self::Through => Traffic::Pull,
            Self::Ack => Traffic::Ack,
            Self::Repair => Traffic::Repair,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Ack => "ack",
            Self::Repair => "repair",
            Self::Through => "through",
        }
    }
}

/// Bytes came from a peer.
pub(crate) fn fetched(from: NodeId, purpose: Purpose, bytes: usize) {
    fetched_bytes(from).increment(bytes as u64);
    class_bytes(purpose).increment(bytes as u64);
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

/// How far each region is behind each other one, and whether that is all.
pub(crate) fn lags(lags: &[RegionLag], incomplete: bool) {
    gauge!("portolan_replication_incomplete").set(f64::from(u8::from(incomplete)));
    for lag in lags {
        let labels = [("from", lag.from.clone()), ("to", lag.to.clone())];
        gauge!("portolan_replication_lag_seconds", &labels).set(number(lag.age_ms) / 1000.0);
        gauge!("portolan_replication_lag_bytes", &labels).set(number(lag.bytes));
        gauge!("portolan_replication_lag_blobs", &labels).set(number(lag.blobs));
    }
}

/// What would be lost with each region, and what nobody can read.
pub(crate) fn exposure(exposure: &Exposure, now_ms: u64) {
    gauge!("portolan_rpo_damaged_blobs").set(number(exposure.damaged));
    for row in &exposure.regions {
        let age_ms = row.oldest_at_ms.map_or(0, |at_ms| now_ms.saturating_sub(at_ms));
        gauge!("portolan_rpo_blobs", "region" => row.region.clone()).set(number(row.blobs));
        gauge!("portolan_rpo_bytes", "region" => row.region.clone()).set(number(row.bytes));
        gauge!("portolan_rpo_oldest_seconds", "region" => row.region.clone()).set(number(age_ms) / 1000.0);
    }
    for row in &exposure.unreachable {
        gauge!("portolan_rpo_unreachable_blobs", "region" => row.region.clone()).set(number(row.blobs));
        gauge!("portolan_rpo_unreachable_bytes", "region" => row.region.clone()).set(number(row.bytes));
    }
}
