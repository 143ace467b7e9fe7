//! Limits of replication: table `[replication]` of the configuration.

use serde::Deserialize;
use std::time::Duration;

/// How much replication may do at once, and how long it waits for what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Blobs of this size and more count as large: few of them travel at once.
    pub large_bytes: u64,
    /// How many large blobs the worker fetches at once.
    pub large_fetches: usize,
    /// How many other blobs the worker fetches at once.
    pub small_fetches: usize,
    /// Over how many streams at a time a large blob is read.
    pub parallel_ranges: usize,
    /// How many bytes of a large blob one stream reads before it takes the next piece from the front.
    pub range_bytes: u64,
    /// How many such streams there may be beside the first of each transfer; without one a transfer has the first only.
    pub max_range_streams: usize,
    /// How many bytes of ranges may be on their way to clients without being stored; beyond it a pull is "busy". One range
    /// counts for 16 MiB at most.
    pub max_cold_bytes: u64,
    /// Blobs of at most this size travel in batches, many in one stream; 1 MiB is the most.
    pub batch_blob_bytes: u64,
    /// How many blobs a batch may have, and how many bytes together: each batch is in memory until it is durable.
    pub batch_blobs: usize,
    /// See [`Self::batch_blobs`].
    pub batch_bytes: u64,
    /// How many batches the worker fetches at once.
    pub batches: usize,
    /// How many transfers may exist at once, those that pulls began included; beyond it a pull is answered "busy".
    pub max_fetches: usize,
    /// How many pulls may stream through without being stored (no room on the disk); beyond it a pull is "busy".
    pub max_passthroughs: usize,
    /// How many reads of peers are served at once; beyond it a peer is told "busy" and takes another holder.
    pub max_served: usize,
    /// How long a holder may take to begin its answer.
    pub open_timeout_ms: u64,
    /// How long a transfer may stand still before its source is replaced.
    pub stall_timeout_ms: u64,
    /// How many reads of a holder may fail in a row before it is tried last for a while. One is enough where nobody
    /// listens.
    pub eject_failures: u32,
    /// How long that lasts at first; then one read may try it, and if that fails too, it lasts twice as long.
    pub eject_ms: u64,
    /// How long it lasts at most.
    pub eject_max_ms: u64,
    /// How long a holder whose bytes had another digest is tried last.
    pub suspect_wrong_ms: u64,
    /// How often one transfer may start over after its bytes were wrong.
    pub max_restarts: u32,
    /// How many finished files may wait for their confirmation before the worker fetches no more.
    pub max_unconfirmed: usize,
    /// For how long after its commit a blob is somebody's push: its copies go before what only repairs.
    pub recent_ms: u64,
    /// How many bytes per second a class of traffic from another region gets while a higher one moves: pulls go before
    /// recent pushes, and those before repairs.
    pub yield_bytes_per_second: u64,
    /// How long a copy is kept that no policy wants here, and that a pull brought.
    pub surplus_keep_ms: u64,
    /// How often such copies are looked for, and files that are to be unlinked.
    pub reclaim_ms: u64,
    /// How many copies one confirmation may name.
    pub confirm_batch: usize,
    /// How many confirmations may be under way at once: each is a round trip to the leader and its quorum.
    pub confirmations: usize,
    /// How long one confirmation may take before its outcome counts as unknown and it is proposed again.
    pub confirm_timeout_ms: u64,
    /// How many accused files may wait to be hashed again; further accusations are dropped.
    pub max_accusations: usize,
    /// How long after a file was hashed and found right further accusations are ignored.
    pub accusation_pause_ms: u64,
    /// How many blobs may be known missing at once; what is beyond is found by the next scan.
    pub max_planned: usize,
    /// How many blobs one step of a scan reads.
    pub scan_page: usize,
    /// How often everything is compared with policy, whatever the events said.
    pub rescan_ms: u64,
    /// The first pause after a failed fetch; it doubles with every further failure of that blob.
    pub backoff_ms: u64,
    /// The longest pause after failed fetches.
    pub max_backoff_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            large_bytes: 64 << 20,
            large_fetches: 4,
            small_fetches: 16,
            parallel_ranges: 4,
            range_bytes: 8 << 20,
            max_range_streams: 12,
            max_cold_bytes: 256 << 20,
            batch_blob_bytes: 256 << 10,
            batch_blobs: 512,
            batch_bytes: 8 << 20,
            batches: 8,
            max_fetches: 256,
            max_passthroughs: 16,
            max_served: 256,
            open_timeout_ms: 5_000,
            stall_timeout_ms: 10_000,
            eject_failures: 3,
            eject_ms: 1_000,
            eject_max_ms: 60_000,
            suspect_wrong_ms: 600_000,
            max_restarts: 4,
            max_unconfirmed: 10_000,
            recent_ms: 600_000,
            yield_bytes_per_second: 16 << 20,
            surplus_keep_ms: 600_000,
            reclaim_ms: 5_000,
            confirm_batch: 1_024,
            confirmations: 4,
            confirm_timeout_ms: 10_000,
            max_accusations: 1_024,
            accusation_pause_ms: 60_000,
            max_planned: 100_000,
            scan_page: 1_000,
            rescan_ms: 60_000,
            backoff_ms: 500,
            max_backoff_ms: 60_000,
        }
    }
}

impl Config {
    pub(crate) const fn open_timeout(&self) -> Duration {
        Duration::from_millis(self.open_timeout_ms)
    }

    pub(crate) const fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }

    pub(crate) const fn confirm_timeout(&self) -> Duration {
        Duration::from_millis(self.confirm_timeout_ms)
    }

    pub(crate) const fn surplus_keep(&self) -> Duration {
        Duration::from_millis(self.surplus_keep_ms)
    }

    pub(crate) const fn reclaim(&self) -> Duration {
        Duration::from_millis(self.reclaim_ms)
    }

    pub(crate) const fn rescan(&self) -> Duration {
        Duration::from_millis(self.rescan_ms)
    }

    /// The pause before the next try of a blob that failed so many times in a row.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let doubled = self.backoff_ms.saturating_mul(1_u64 << failures.saturating_sub(1).min(20));
        Duration::from_millis(doubled.min(self.max_backoff_ms))
    }
}
