//! How a read gets the freshness it promises, and what it gets without a leader (design, section 6).

use crate::clock::Stale;
use crate::config::{PartitionContract, ms};
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::telemetry;
use portolan_consensus::{Freshness, ReadError, StateView};
use portolan_meta::query;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A view and whether it is marked.
pub(crate) struct Confirmed {
    pub(crate) view: StateView,
    /// `None`: the leader confirmed it.
    pub(crate) stale: Option<Stale>,
}

impl Registry {
    /// A view for what a digest names: local, never waits.
    pub(crate) fn local(&self) -> StateView {
        self.floors.consensus.local()
    }

    /// A view that shows everything that was committed when it was asked for.
    pub(crate) async fn linearizable(&self) -> Result<StateView, RegistryError> {
        let sent = Instant::now();
        let deadline = sent + ms(self.config.reads.linearizable_timeout_ms);
        match self.floors.consensus.view(Freshness::Linearizable { deadline }).await {
            Ok(view) => {
                self.fresh.confirmed(sent);
                Ok(view)
            }
            Err(ReadError::Unavailable) => Err(RegistryError::NotConfirmed),
            Err(ReadError::Busy) => Err(RegistryError::Busy("reads")),
            Err(ReadError::Stopped) => Err(RegistryError::Stopping),
        }
    }

    /// A view for a tag or a list: linearizable, or marked as stale where the contract allows it.
    pub(crate) async fn confirmed(&self) -> Result<Confirmed, RegistryError> {
        match self.linearizable().await {
            Ok(view) => Ok(Confirmed { view, stale: None }),
            Err(RegistryError::NotConfirmed) if self.config.reads.without_leader == PartitionContract::ServeStale => {
                let view = self.local();
                let age = self.age(&view)?;
                telemetry::stale_answers().increment(1);
                Ok(Confirmed { view, stale: Some(Stale { age }) })
            }
            Err(error) => Err(error),
        }
    }

    /// How old the state may be: counted from its last confirmation, or, when this start of the node has seen none,
    /// estimated from the state's own clock.
    fn age(&self, view: &StateView) -> Result<Duration, RegistryError> {
        if let Some(last) = self.fresh.last() {
            return Ok(last.elapsed());
        }
        let stamp = Duration::from_millis(view.read(query::clock_ms)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(now.saturating_sub(stamp))
    }
}

impl Confirmed {
    /// What "not there" means: unknown when the view is fresh, not known to be unknown when it is stale.
    pub(crate) fn absent(&self, unknown: RegistryError) -> RegistryError {
        if self.stale.is_some() { RegistryError::NotConfirmed } else { unknown }
    }
}
