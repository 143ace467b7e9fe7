//! How a command gets its outcome before a deadline.

use crate::config::ms;
use crate::error::RegistryError;
use crate::registry::Registry;
use portolan_consensus::ProposeError;
use portolan_meta::command::Command;
use portolan_meta::limits::LOG_ENTRY_BYTES;
use portolan_meta::outcome::{Outcome, Refusal};
use tokio::time::Instant;

impl Registry {
    /// Until when a write that starts now may look for a quorum.
    pub(crate) fn commit_deadline(&self) -> Instant {
        Instant::now() + ms(self.config.uploads.commit_timeout_ms)
    }

    /// Proposes and waits until this node has applied it. A refusal is an outcome like any other.
    pub(crate) async fn propose(&self, command: Command, deadline: Instant) -> Result<Outcome, RegistryError> {
        match self.floors.consensus.propose(command, deadline).await {
            Ok(outcome) => Ok(outcome),
            Err(ProposeError::NoLeader | ProposeError::Deadline) => Err(RegistryError::NoQuorum),
            Err(ProposeError::Stopped) => Err(RegistryError::Stopping),
            Err(ProposeError::TooLarge { .. }) => {
                Err(RegistryError::TooMany { what: "bytes of facts in a manifest".into(), limit: LOG_ENTRY_BYTES })
            }
        }
    }
}

/// A refusal that means nothing special to the use case at hand.
pub(crate) fn refused(refusal: Refusal) -> RegistryError {
    match refusal {
        Refusal::TooMany { what, limit } => RegistryError::TooMany { what, limit },
        Refusal::ChildrenUnknown(digests) => RegistryError::ChildrenUnknown(digests),
        Refusal::ListedByIndex(parents) => RegistryError::ListedByIndex(parents),
        Refusal::ReferredTo(parents) => RegistryError::ReferredTo(parents),
        other => RegistryError::Refused(other),
    }
}
