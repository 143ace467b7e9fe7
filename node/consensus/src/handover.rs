//! Another leader, because somebody wants one. Any node may be asked; the leader judges, since it alone knows how far the
//! log of each voter is, and says when another leads.
//!
//! A leader that hands over takes no writes and sends no heartbeats any more: if its heir cannot take over, the cluster
//! waits for an election. So the heir is asked first how it is.

use crate::error::{HandoverError, Unfit};
use crate::group::Group;
use crate::types::{decode, encode, index_of};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::WatchReceiver;
use portolan_meta::id::NodeId;
use portolan_peer::{PeerError, Side};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How many entries an heir may lack: it has to have them all before it stands, within an election's time.
const MOST_BEHIND: u64 = 1_000;

/// How many heartbeats beyond an election's time the heir may take until it leads.
const PATIENT_HEARTBEATS: u32 = 2;

/// How often it is tried: an heir may lose the election that it is given, for instance to a voter that has not heard of
/// the handover yet. Each try costs the writers a moment, also one of which the answer did not come.
const TRIES: u32 = 3;

/// Who led, and who leads: the same if that was to be had without a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Who led when the leader was asked.
    pub before: NodeId,
    /// Who leads now.
    pub leader: NodeId,
}

/// What is asked of the leader.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// Who shall lead; whoever is best, when nobody is named.
    to: Option<NodeId>,
}

/// What the leader answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done(Handover),
    Unfit(NodeId, Unfit),
    Nobody,
    NotTaken,
}

/// See [`crate::Consensus::hand_over`].
pub(crate) async fn hand_over(group: &Group, to: Option<NodeId>, deadline: Instant) -> Result<Handover, HandoverError> {
    // Who was the first to be asked and did not say that it is done: it may be.
    let mut unanswered = None;
    let mut tries = 0;
    loop {
        let Some(leader) = group.wait_leader(deadline).await else { return Err(in_vain(unanswered)) };
        if let Some(before) = unanswered.filter(|before| *before != leader)
            && to.is_none_or(|to| to == leader)
        {
            return Ok(Handover { before, leader });
        }
        let is_open = match ask(group, leader, Wish { to }, deadline).await {
            Ok(Reply::Done(Handover { before, leader })) => {
                let done = Handover { before: unanswered.unwrap_or(before), leader };
                // Whoever asks this node next shall hear the same from it.
                group.wait_led_by(done.leader, deadline).await;
                return Ok(done);
            }
            Ok(Reply::Unfit(node, why)) => return Err(HandoverError::Unfit { node, why }),
            Ok(Reply::Nobody) => return Err(HandoverError::Nobody),
            Ok(Reply::NotTaken) => true,
            Err(PeerError::Malformed(error)) => {
                tracing::info!(error, peer = %leader, "the leader does not understand that it is to hand over");
                return Err(HandoverError::NotUnderstood { node: leader });
            }
            Err(error) => {
                tracing::debug!(%error, peer = %leader, "the leader did not say whether it handed over");
                let is_open = leaves_open(&error);
                if is_open && tries + 1 < TRIES {
                    // It may be handing over at this moment: whoever asks again sooner makes it do so twice.
                    let settled = deadline.min(Instant::now() + taking_over(group));
                    let _ = timeout_at(settled, group.wait_leader_gone(leader)).await;
                }
                is_open
            }
        };
        if is_open {
            unanswered.get_or_insert(leader);
            tries += 1;
        }
        let pause = Duration::from_millis(group.config.retry_pause_ms);
        if tries == TRIES || Instant::now() + pause >= deadline {
            return Err(in_vain(unanswered));
        }
        sleep(pause).await;
    }
}

/// What it means that nobody said that it is done.
fn in_vain(unanswered: Option<NodeId>) -> HandoverError {
    if unanswered.is_some() { HandoverError::NotTaken } else { HandoverError::NoLeader }
}

/// How long an heir may take until it leads.
fn taking_over(group: &Group) -> Duration {
    let timing = group.config.profile.timing();
    timing.election_max + timing.heartbeat * PATIENT_HEARTBEATS
}

async fn ask(group: &Group, leader: NodeId, wish: Wish, deadline: Instant) -> Result<Reply, PeerError> {
    if leader == group.node {
        return give(group, wish).await;
    }
    let wish = encode(&wish).map_err(|error| PeerError::Malformed(error.to_string()))?;
    let timeout = deadline.saturating_duration_since(Instant::now());
    let reply = group.peers.hand_over(leader, wish.into(), timeout).await?;
    // Whoever answers has judged, and perhaps handed over: that its words are not known here says nothing of that.
    decode(&reply).map_err(|error| PeerError::Remote(format!("its answer does not decode: {error}")))
}

/// Whether the leader may have handed over without its answer having come.
fn leaves_open(error: &PeerError) -> bool {
    match error {
        PeerError::NotLeader { .. }
        | PeerError::UnknownNode(_)
        | PeerError::NoIdentity
        | PeerError::Starting
        | PeerError::Refused { by: Side::Peer, .. }
        | PeerError::NotFound
        | PeerError::Busy
        | PeerError::Malformed(_) => false,
        PeerError::Refused { by: Side::Us, .. }
        | PeerError::Unreachable(_)
        | PeerError::Deadline
        | PeerError::Corrupt { .. }
        | PeerError::Remote(_)
        | PeerError::Stopped => true,
    }
}

/// On the leader: hands over, and waits until another leads.
pub(crate) async fn give(group: &Group, wish: Wish) -> Result<Reply, PeerError> {
    let before = group.standing();
    if !group.leads() {
        return Err(PeerError::NotLeader { leader: group.leader() });
    }
    let heir = match wish.to {
        Some(to) if to == group.node => return Ok(Reply::Done(Handover { before: to, leader: to })),
        Some(to) => match judge(group, to).await {
            Ok(_) => to,
            Err(why) => return Ok(Reply::Unfit(to, why)),
        },
        None => match best(group).await {
            Some(heir) => heir,
            None => return Ok(Reply::Nobody),
        },
    };
    tracing::info!(peer = %heir, "handing the leadership over");
    let stopped = |error: openraft::errors::Fatal<_>| PeerError::Remote(error.to_string());
    group.raft.trigger().transfer_leader(heir.0).await.map_err(stopped)?;
    match group.wait_leader_after(before.term, Instant::now() + taking_over(group)).await {
        Some(leader) if leader == heir || (wish.to.is_none() && leader != group.node) => {
            Ok(Reply::Done(Handover { before: group.node, leader }))
        }
        other => {
            tracing::warn!(peer = %heir, leader = ?other, "the leadership was not taken over by whom it was handed to");
            Ok(Reply::NotTaken)
        }
    }
}

/// The voter that lacks least of the log, of those that answer within a heartbeat; when none does, whoever is the first to
/// answer later. All are asked at once: a leader that stops has no time for one that is silent.
async fn best(group: &Group) -> Option<NodeId> {
    let others = voters(group).into_iter().filter(|node| *node != group.node);
    let judged = others.map(|node| async move { (judge(group, node).await, node) });
    let mut judged: FuturesUnordered<_> = judged.collect();
    let soon = Instant::now() + group.config.profile.timing().heartbeat;
    let mut fit = BTreeSet::new();
    while let Ok(Some((lacks, node))) = timeout_at(soon, judged.next()).await {
        fit.extend(lacks.map(|lacks| (lacks, node)));
    }
    while fit.is_empty()
        && let Some((lacks, node)) = judged.next().await
    {
        fit.extend(lacks.map(|lacks| (lacks, node)));
    }
    fit.first().map(|(_, node)| *node)
}

/// Whether a node can take over now; tells how many entries it lacks.
async fn judge(group: &Group, node: NodeId) -> Result<u64, Unfit> {
    if !voters(group).contains(&node) {
        return Err(Unfit::NoVote);
    }
    let patience = Duration::from_millis(group.config.ping_timeout_ms);
    let deadline = Instant::now() + patience;
    if let Err(error) = group.peers.ping(node, patience).await {
        tracing::debug!(%error, peer = %node, "does not answer, and is not handed the leadership");
        return Err(Unfit::Silent);
    }
    match known_behind(group, node, deadline).await {
        entries if entries > MOST_BEHIND => Err(Unfit::Behind { entries }),
        entries => Ok(entries),
    }
}

/// As [`behind`], once this leader knows: of a fresh one nobody has told yet what it has.
async fn known_behind(group: &Group, node: NodeId, deadline: Instant) -> u64 {
    let mut metrics = group.raft.metrics();
    let told = async {
        loop {
            let has = metrics.borrow_watched().replication.as_ref().and_then(|all| all.get(&node.0).copied());
            if has.flatten().is_some() || metrics.changed().await.is_err() {
                return;
            }
        }
    };
    // Who tells nothing lacks everything.
    let _ = timeout_at(deadline, told).await;
    behind(group, node)
}

fn voters(group: &Group) -> Vec<NodeId> {
    group.raft.metrics().borrow_watched().membership_config.membership().voter_ids().map(NodeId).collect()
}

/// How many entries of this leader's log a node is not known to have.
fn behind(group: &Group, node: NodeId) -> u64 {
    let metrics = group.raft.metrics();
    let metrics = metrics.borrow_watched();
    let has = metrics.replication.as_ref().and_then(|all| all.get(&node.0)).copied().flatten();
    metrics.last_log_index.unwrap_or(0).saturating_sub(index_of(has))
}
