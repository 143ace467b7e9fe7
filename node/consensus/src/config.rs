//! Settings of this floor: timing profiles and limits.

use portolan_peer::Pulse;
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The default of [`Config::max_proposals`].
const MAX_PROPOSALS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// The default of [`Config::max_waiting_reads`].
const MAX_WAITING_READS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Timing for the distance between voters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// One site: round trips of a few milliseconds.
    #[default]
    Lan,
    /// Round trips up to 100 ms.
    Wan,
    /// Round trips up to 250 ms.
    Global,
}

/// The three numbers of a [`Profile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats; also the deadline of an append's progress, so it must exceed round trip plus fsync.
    pub heartbeat: Duration,
    /// The shortest silence after which a voter stands for election.
    pub election_min: Duration,
    /// The longest such silence, and the leader's lease. The same on all nodes.
    pub election_max: Duration,
}

impl Profile {
    /// The profile's numbers.
    #[must_use]
    pub const fn timing(self) -> Timing {
        let (heartbeat, min, max) = match self {
            Self::Lan => (200, 800, 1_200),
            Self::Wan => (500, 2_000, 3_000),
            Self::Global => (1_000, 3_000, 5_000),
        };
        Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(min),
            election_max: Duration::from_millis(max),
        }
    }
}

/// Settings of the consensus floor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How far apart the voters are.
    pub profile: Profile,
    /// Log bytes between two snapshots. The log before the last but one is purged: between one and two times this stays,
    /// so that a node that was away briefly needs no snapshot.
    pub snapshot_log_bytes: u64,
    /// The most that one append message carries, in bytes of entries (one larger entry travels alone).
    pub append_max_bytes: u64,
    /// The most entries that one append message carries.
    pub append_max_entries: u64,
    /// Append messages on their way to one follower that it has not yet answered.
    pub append_in_flight: usize,
    /// How long a snapshot transfer may take as a whole.
    pub snapshot_transfer_ms: u64,
    /// Entries that one apply batch may hold.
    pub apply_batch_entries: usize,
    /// Bytes of rows after which an apply batch is written.
    pub apply_batch_bytes: u64,
    /// Proposals of this node that may wait for their outcome at once; more wait for a free place.
    pub max_proposals: NonZeroUsize,
    /// Reads that may wait for one read-index round at once.
    pub max_waiting_reads: NonZeroUsize,
    /// Read-index rounds that may be under way at once; reads that come meanwhile share the next.
    pub max_read_rounds: usize,
    /// Changes that a slow receiver of [`crate::Consensus::changes`] may fall behind before it must rescan.
    pub change_backlog: usize,
    /// Entries of the log whose trace is remembered while spans are exported; older ones are applied without a span.
    pub traced_entries: usize,
    /// Pause before a proposal or a read is tried again.
    pub retry_pause_ms: u64,
    /// How long a leader may take to confirm a read index before it, or its successor, is asked again.
    pub read_round_ms: u64,
    /// How long a leader works on a proposal that another node forwarded.
    pub forwarded_timeout_ms: u64,
    /// Between two looks at what a leader or a log needs: learners to add, snapshots to make, entries to purge.
    pub housekeeping_interval_ms: u64,
    /// Between two pings of every other node. One that is silent is suspect after less than four of them, at once when
    /// nobody listens at its address.
    pub ping_interval_ms: u64,
    /// How long the answer to a ping may take. It exceeds every round trip by far: a ping that is given up is one less
    /// by which to tell a slow node from a dead one.
    pub ping_timeout_ms: u64,
    /// How surprising a node's silence must be before other nodes ask it last: at 8, its answers would come so late by
    /// chance once in a hundred million times (phi accrual).
    pub suspect_phi: f64,
    /// Silence after which a node is committed as down.
    pub down_after_ms: u64,
    /// Silence after which a node is committed as out.
    pub out_after_ms: u64,
    /// Applied entries that a node may lag behind the commit index and still call itself ready for pulls.
    pub ready_lag_entries: u64,
}

impl Config {
    /// Silence after which what a node said of itself no longer counts as what it does: six pings.
    pub(crate) fn silent_after(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms.saturating_mul(6))
    }

    /// How the other nodes are pinged.
    pub(crate) fn pulse(&self) -> Pulse {
        Pulse { every: Duration::from_millis(self.ping_interval_ms.max(1)), phi: self.suspect_phi }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            snapshot_log_bytes: 1 << 30,
            append_max_bytes: 1 << 20,
            append_max_entries: 4_096,
            append_in_flight: 64,
            snapshot_transfer_ms: 30 * 60 * 1_000,
            apply_batch_entries: 256,
            apply_batch_bytes: 8 << 20,
            max_proposals: MAX_PROPOSALS,
            max_waiting_reads: MAX_WAITING_READS,
            max_read_rounds: 32,
            change_backlog: 1_024,
            traced_entries: 4_096,
            retry_pause_ms: 50,
            read_round_ms: 2_000,
            forwarded_timeout_ms: 60_000,
            housekeeping_interval_ms: 1_000,
            ping_interval_ms: 500,
            ping_timeout_ms: 2_000,
            suspect_phi: 8.0,
            down_after_ms: 10_000,
            out_after_ms: 15 * 60 * 1_000,
            ready_lag_entries: 10_000,
        }
    }
}
