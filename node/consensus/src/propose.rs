//! Changing the state: a key for each command, the leader found and found again, the outcome once it is applied here.

use crate::error::ProposeError;
use crate::group::{Attempt, Group};
use crate::metrics;
use crate::sequencer::{Sequencer, Ticket};
use portolan_meta::codec;
use portolan_meta::command::{Command, Proposal};
use portolan_meta::id::NodeId;
use portolan_meta::limits::LOG_ENTRY_BYTES;
use portolan_meta::outcome::Outcome;
use portolan_peer::{PeerError, ProposeCall, Side};
use portolan_sabotage::Sabotage;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument, debug_span};

/// Proposes for this process.
pub(crate) struct Proposer {
    group: Arc<Group>,
    sequencer: Arc<Sequencer>,
    places: Semaphore,
}

impl Proposer {
    pub(crate) fn new(group: Arc<Group>, incarnation: u64) -> Self {
        let places = Semaphore::new(group.config.max_proposals.get());
        let sequencer = Sequencer::new(group.node, incarnation);
        Self { group, sequencer, places }
    }

    /// See [`crate::Consensus::propose`].
    pub(crate) async fn propose(&self, command: Command, deadline: Instant) -> Result<Outcome, ProposeError> {
        let began = Instant::now();
        let span = debug_span!("propose", command = command.name());
        let result = tokio::select! {
            biased;
            () = self.group.stopping.cancelled() => Err(ProposeError::Stopped),
            result = self.run(command, deadline).instrument(span) => result,
        };
        metrics::proposed(began.elapsed(), &result);
        result
    }

    async fn run(&self, command: Command, deadline: Instant) -> Result<Outcome, ProposeError> {
        let place = timeout_at(deadline, self.places.acquire()).await.map_err(|_| ProposeError::NoLeader)?;
        let _place = place.map_err(|_| ProposeError::Stopped)?;
        let mut ticket = self.ticket(deadline).await?;
        let mut proposal = Proposal { key: ticket.key, at_ms: u64::MAX, command };
        check_size(&proposal)?;
        let mut handed_over = false;
        loop {
            let give_up = if handed_over { ProposeError::Deadline } else { ProposeError::NoLeader };
            let Some(leader) = self.group.wait_leader(deadline).await else { return Err(give_up) };
            let mut until = deadline;
            if portolan_sabotage::is(Sabotage::RetryUnderNewSequence) && !handed_over {
                // Sabotaged: the first attempt gets too little time, and a key that the second one does not have.
                until = deadline.min(Instant::now() + Duration::from_millis(20));
            }
            match attempt(&self.group, leader, &mut proposal, until).await {
                Attempt::Applied { index, outcome } => {
                    if portolan_sabotage::is(Sabotage::NoDedupe) {
                        repeat_later(&self.group, leader, proposal);
                    }
                    let seen = self.group.wait_applied(index, deadline).await;
                    return if seen { Ok(outcome) } else { Err(ProposeError::Deadline) };
                }
                Attempt::NotTaken { .. } => {}
                Attempt::Unknown => {
                    handed_over = true;
                    if portolan_sabotage::is(Sabotage::RetryUnderNewSequence) {
                        ticket = self.ticket(deadline).await?;
                        proposal.key = ticket.key;
                    }
                }
                Attempt::Stopped => return Err(ProposeError::Stopped),
            }
            if !self.pause(deadline).await {
                return Err(if handed_over { ProposeError::Deadline } else { ProposeError::NoLeader });
            }
        }
    }

    async fn ticket(&self, deadline: Instant) -> Result<Ticket, ProposeError> {
        loop {
            if let Some(ticket) = self.sequencer.ticket() {
                return Ok(ticket);
            }
            if !self.pause(deadline).await {
                return Err(ProposeError::NoLeader);
            }
        }
    }

    /// A fresh leader refuses for a moment, and a lost one takes an election to replace: a short pause is right for
    /// both. Tells whether there is time left.
    async fn pause(&self, deadline: Instant) -> bool {
        let pause = Duration::from_millis(self.group.config.retry_pause_ms);
        if Instant::now() + pause >= deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}

/// Has the leader write a proposal, be it this node or another.
async fn attempt(group: &Group, leader: NodeId, proposal: &mut Proposal, deadline: Instant) -> Attempt {
    if leader == group.node {
        return group.write(proposal, deadline).await;
    }
    let call = ProposeCall { proposal: codec::encode_proposal(proposal).into() };
    let timeout = deadline.saturating_duration_since(Instant::now());
    let span = debug_span!("forward", peer = %leader);
    let reply = tokio::select! {
        reply = group.peers.propose(leader, call, timeout).instrument(span) => reply,
        // The call may hang for as long as the old leader's host is silent; its successor is already known.
        () = group.wait_leader_gone(leader) => return Attempt::Unknown,
    };
    match reply {
        Ok(reply) => match codec::decode_outcome(&reply.outcome) {
            Ok(outcome) => Attempt::Applied { index: reply.index, outcome },
            Err(error) => {
                tracing::error!(%error, peer = %leader, "the leader's answer does not decode");
                Attempt::Unknown
            }
        },
        Err(error) => not_applied(leader, &error),
    }
}

/// Sabotaged: the network delivers a proposal once more, sooner or later. That is harmless where somebody remembers what
/// was applied.
fn repeat_later(group: &Arc<Group>, leader: NodeId, mut proposal: Proposal) {
    let group = Arc::clone(group);
    tokio::spawn(async move {
        sleep(Duration::from_millis(50 + proposal.key.sequence * 37 % 450)).await;
        attempt(&group, leader, &mut proposal, Instant::now() + Duration::from_secs(1)).await;
    });
}

/// What a failed call says about the proposal it carried.
fn not_applied(leader: NodeId, error: &PeerError) -> Attempt {
    tracing::debug!(%error, peer = %leader, "forwarding a proposal failed");
    match error {
        PeerError::NotLeader { leader } => Attempt::NotTaken { leader: *leader },
        PeerError::UnknownNode(_)
        | PeerError::NoIdentity
        | PeerError::Starting
        | PeerError::Refused { by: Side::Peer, .. }
        | PeerError::NotFound
        | PeerError::Busy
        | PeerError::Malformed(_) => Attempt::NotTaken { leader: None },
        // Refused here is the answer: whoever gave it may have taken the question.
        PeerError::Refused { by: Side::Us, .. }
        | PeerError::Unreachable(_)
        | PeerError::Deadline
        | PeerError::Corrupt { .. }
        | PeerError::Remote(_)
        | PeerError::Stopped => Attempt::Unknown,
    }
}

/// Measured with the widest stamp, since the leader puts in its own.
fn check_size(proposal: &Proposal) -> Result<(), ProposeError> {
    let bytes = codec::encode_proposal(proposal).len();
    if bytes > LOG_ENTRY_BYTES { Err(ProposeError::TooLarge { bytes, limit: LOG_ENTRY_BYTES }) } else { Ok(()) }
}
