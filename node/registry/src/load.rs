//! What this node does, counted once per interval for the pings of the others: however many of them ask, an answer is a
//! copy.

use crate::registry::Registry;
use portolan_peer::NodeLoad;
use std::time::Duration;

/// Between two counts. As often as nodes ping: what any of them tells of another is two of these old at most.
const INTERVAL: Duration = Duration::from_secs(1);

impl Registry {
    /// Tells consensus what this node does, now and once per interval, until this node stops.
    pub(crate) async fn tell_load(&self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.floors.consensus.set_load(self.load());
        }
    }

    /// What this node did since its start, and has to do now.
    pub(crate) fn load(&self) -> NodeLoad {
        let replication = &self.floors.replication;
        let (queue, queue_bytes) = replication.queued();
        NodeLoad {
            up_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            requests: self.traffic.requests(),
            faults: self.traffic.faults(),
            received_bytes: self.traffic.received_bytes(),
            sent_bytes: self.traffic.sent_bytes(),
            queue: queue as u64,
            queue_bytes,
            fetches: replication.fetching() as u64,
            uploads: self.sessions.len() as u64,
            disk_free_bytes: self.floors.blobs.free_bytes().ok(),
        }
    }
}
