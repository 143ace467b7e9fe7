//! Waits until blobs are as durable as an ack policy demands. The apply of put-manifest decides; this only saves it
//! from being asked too early.

use crate::error::SettleError;
use portolan_consensus::{Change, Consensus};
use portolan_meta::id::NodeId;
use portolan_meta::placement::{self, Topology};
use portolan_meta::view::ViewError;
use portolan_oci::{Digest, RepoName};
use std::collections::HashSet;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

/// See [`crate::Replication::settle`].
pub(crate) async fn settle(
    consensus: &Consensus,
    me: NodeId,
    repo: &RepoName,
    digests: &[Digest],
    deadline: Instant,
) -> Result<(), SettleError> {
    // Before the first look, so that nothing is applied unseen in between.
    let mut changes = consensus.changes();
    let mut pending: HashSet<Digest> = digests.iter().copied().collect();
    loop {
        retain_pending(consensus, me, repo, &mut pending)?;
        if pending.is_empty() {
            return Ok(());
        }
        loop {
            match timeout_at(deadline, changes.recv()).await {
                Ok(Ok(Change::Blobs(changed))) if !changed.iter().any(|digest| pending.contains(digest)) => {}
                Ok(Ok(Change::Blobs(_) | Change::Topology | Change::Reset) | Err(RecvError::Lagged(_))) => break,
                Ok(Err(RecvError::Closed)) => return Err(SettleError::Stopped),
                Err(_) => return Err(SettleError::Pending(pending.into_iter().collect())),
            }
        }
    }
}

fn retain_pending(
    consensus: &Consensus,
    me: NodeId,
    repo: &RepoName,
    pending: &mut HashSet<Digest>,
) -> Result<(), ViewError> {
    consensus.local().read(|view| {
        let topology = Topology::read(view)?;
        let policy = topology.policies().of(repo);
        let ack = placement::ack_policy(&topology, &policy, me);
        let mut durable = Vec::new();
        for digest in pending.iter() {
            if placement::durable(view, &topology, digest, &policy.regions, ack)? {
                durable.push(*digest);
            }
        }
        for digest in durable {
            pending.remove(&digest);
        }
        Ok(())
    })
}
