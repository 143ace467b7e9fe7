//! Our settings as openraft's.

use crate::config::Config;
use crate::error::ConsensusError;
use openraft::SnapshotPolicy;
use std::time::Duration;

/// The settings of openraft, checked.
pub(crate) fn raft_settings(config: &Config, cluster_id: &str) -> Result<openraft::Config, ConsensusError> {
    let timing = config.profile.timing();
    let millis = |span: Duration| crate::clock::millis(span);
    let settings = openraft::Config {
        cluster_name: cluster_id.to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        enable_pre_vote: Some(true),
        // A leader that lost its quorum, but whose heartbeats still reach some, would keep those from electing: after
        // its lease it falls silent for as long as an election takes.
        quorum_loss_probe_interval: Some(2 * millis(timing.election_max)),
        // The state is not flushed per apply, so that a leader that restarts must not lead on without an election.
        enable_leader_restore: Some(false),
        max_payload_entries: config.append_max_entries,
        install_snapshot_timeout: config.snapshot_transfer_ms,
        // Snapshots and purges go by bytes: see `compaction`. openraft must do neither on its own.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        backoff: "100ms 200ms 400ms ...1s".to_owned(),
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| ConsensusError::Settings(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{Config, raft_settings};
    use crate::config::Profile;

    #[test]
    fn every_profile_is_valid_and_has_what_the_defaults_lack() {
        for profile in [Profile::Lan, Profile::Wan, Profile::Global] {
            let config = Config { profile, ..Config::default() };
            let settings = raft_settings(&config, "c").expect("valid");
            assert_eq!(settings.enable_pre_vote, Some(true));
            assert_eq!(settings.enable_leader_restore, Some(false));
            let probe = settings.quorum_loss_probe_interval.expect("set");
            assert!(probe >= 2 * settings.election_timeout_max, "{profile:?}");
        }
    }
}
