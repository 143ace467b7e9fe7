//! Whether this node is ready: what a pull needs, and what a push needs.

use crate::config::ms;
use crate::error::RegistryError;
use crate::registry::Registry;
use portolan_meta::query;
use portolan_meta::row::NodeRow;
use serde::Serialize;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// A disk that takes longer to list a folder does not serve pulls.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// Whether this node can do its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// What keeps it from it; empty when it is ready.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Whether it can.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Registry {
    /// Whether this node can serve pulls: it knows the cluster, its state does not lag far behind what it knows to be
    /// committed, this start of it was confirmed by the cluster, its disk can be read, and it is not stopping. A missing
    /// leader does not make it unready: digests can be pulled without.
    ///
    /// # Errors
    /// The state could not be read.
    pub fn pull_readiness(&self) -> Result<Readiness, RegistryError> {
        let mut reasons = Vec::new();
        if self.left.is_cancelled() || self.stop.is_cancelled() {
            reasons.push("the node is stopping".to_owned());
        }
        reasons.extend(self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let known = self.local().read(|view| query::node(view, self.node))?;
        match known {
            None => reasons.push("this node is not known to its cluster yet".to_owned()),
            Some(row) if !self.is_confirmed(&row) => {
                reasons.push("this start is not confirmed by the cluster yet".to_owned());
            }
            Some(_) => {}
        }
        let status = self.floors.consensus.status();
        let lag = status.committed.saturating_sub(status.applied);
        if lag > self.config.reads.ready_lag_entries {
            reasons.push(format!("the state lags {lag} entries behind"));
        }
        Ok(Readiness { reasons })
    }

    /// Whether this start of the node has caught up with the cluster once: it applied its own boot, or passed a read
    /// barrier. Until then its state is as old as its last stop, by more entries than it knows of, so that a lag of 0
    /// says nothing, and whatever is new since is 503 here while other nodes serve it.
    ///
    /// That is a reason to wait, not to stay away: a node that finds no quorum serves every digest that it can reach
    /// (design, P7), and a region that was cut off and restarted must not lose its pulls. After `reads.ready_wait_ms` it
    /// counts as one whose leader went away while it ran.
    fn is_confirmed(&self, own: &NodeRow) -> bool {
        own.incarnation >= self.floors.consensus.incarnation()
            || self.fresh.last().is_some()
            || self.started.elapsed() >= ms(self.config.reads.ready_wait_ms)
    }

    /// Looks again and again whether the disk can be read, for [`Self::pull_readiness`], until it is told to stop. On a
    /// disk that hangs one look hangs, not one after the other.
    pub async fn watch_disk(&self, every: Duration, stop: &CancellationToken) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looking = None;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let blobs = Arc::clone(&self.floors.blobs);
            let look = looking.get_or_insert_with(|| spawn_blocking(move || blobs.check_readable()));
            let found = timeout(DISK_PATIENCE, &mut *look).await;
            if found.is_ok() {
                looking = None;
            }
            self.note_disk(match found {
                Ok(Ok(Ok(()))) => None,
                Ok(Ok(Err(error))) => Some(format!("the disk cannot be read: {error}")),
                Ok(Err(error)) => Some(format!("the disk cannot be looked at: {error}")),
                Err(_) => Some("the disk does not answer".to_owned()),
            });
        }
    }

    fn note_disk(&self, reason: Option<String>) {
        let mut known = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = reason.as_ref().filter(|_| known.is_none()) {
            tracing::error!(reason, "no blob can be served from here");
        }
        *known = reason;
    }

    /// Whether this node can take pushes: it can serve pulls, its disk has room, and a leader answers.
    ///
    /// # Errors
    /// The state could not be read.
    pub async fn push_readiness(&self) -> Result<Readiness, RegistryError> {
        let mut readiness = self.pull_readiness()?;
        if let Err(error) = self.floors.blobs.check_space() {
            readiness.reasons.push(error.to_string());
        }
        if let Err(error) = self.linearizable().await {
            readiness.reasons.push(error.to_string());
        }
        Ok(readiness)
    }
}
