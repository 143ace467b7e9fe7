//! How a read gets the freshness it promises, and what it gets without a leader (design, section 6).

use crate::clock::{BootInstant, Stale};
use crate::config::ms;
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::telemetry;
use portolan_consensus::{Freshness, ReadError, StateView};
use portolan_meta::policies;
use portolan_meta::policy::{PartitionContract, Policy, TagReads};
use portolan_meta::query;
use portolan_oci::RepoName;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A view and whether it is marked.
pub(crate) struct Confirmed {
    pub(crate) view: StateView,
    /// `None`: the leader confirmed it.
    pub(crate) stale: Option<Stale>,
    /// It did so before this read, within the bound that the policy allows. What was committed since may be missing.
    by_bound: bool,
}

impl Registry {
    /// A view for what a digest names: local, never waits.
    pub(crate) fn local(&self) -> StateView {
        self.floors.consensus.local()
    }

    /// A view that shows everything that was committed when it was asked for.
    pub(crate) async fn linearizable(&self) -> Result<StateView, RegistryError> {
        let sent = BootInstant::now();
        let deadline = Instant::now() + ms(self.config.reads.linearizable_timeout_ms);
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

    /// A view for a tag or a list of a repository (`None`: of all): as fresh as its policy demands, or marked as stale
    /// where its partition contract allows that.
    pub(crate) async fn confirmed(&self, repo: Option<&RepoName>) -> Result<Confirmed, RegistryError> {
        let policy = self.read_policy(repo)?;
        if let TagReads::Bounded { ms: bound } = policy.tag_reads
            && self.fresh.last().is_some_and(|last| last.elapsed() <= ms(bound))
        {
            return Ok(Confirmed { view: self.local(), stale: None, by_bound: true });
        }
        let contract = policy.partition.unwrap_or(self.config.reads.without_leader);
        match self.linearizable().await {
            Ok(view) => Ok(Confirmed { view, stale: None, by_bound: false }),
            Err(RegistryError::NotConfirmed) if contract == PartitionContract::ServeStale => {
                let view = self.local();
                let stale = Some(self.stale(&view)?);
                Ok(Confirmed { view, stale, by_bound: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether what this node knows is confirmed: for answers that are given either way, and marked.
    pub(crate) async fn confirm(&self) -> Result<Option<Stale>, RegistryError> {
        match self.linearizable().await {
            Ok(_) => Ok(None),
            Err(RegistryError::NotConfirmed) => Ok(Some(self.stale(&self.local())?)),
            Err(error) => Err(error),
        }
    }

    /// The mark of an answer from a view that no leader confirmed.
    fn stale(&self, view: &StateView) -> Result<Stale, RegistryError> {
        let age = self.age(view)?;
        telemetry::stale_answers().increment(1);
        Ok(Stale { age })
    }

    /// Looks for what a tag or a list of a repository names, as fresh as its policy demands. "Unknown" is said of no other
    /// state than one that the leader confirmed for this very read: a bound allows an older answer, and a state within
    /// it says nothing of what was committed since.
    ///
    /// # Errors
    /// What `unknown` makes of the confirmed view; `NotConfirmed` when it is not to be had.
    pub(crate) async fn find<T>(
        &self,
        repo: &RepoName,
        look: impl Fn(&StateView) -> Result<Option<T>, RegistryError>,
        unknown: impl FnOnce(&StateView) -> RegistryError,
    ) -> Result<(T, Option<Stale>), RegistryError> {
        let Confirmed { mut view, stale, by_bound } = self.confirmed(Some(repo)).await?;
        let mut found = look(&view)?;
        if found.is_none() && by_bound {
            view = self.linearizable().await?;
            found = look(&view)?;
        }
        match found {
            Some(found) => Ok((found, stale)),
            None if stale.is_some() => Err(RegistryError::NotConfirmed),
            None => Err(unknown(&view)),
        }
    }

    /// What holds for reads of a repository. What concerns all of them is asked as the shortest prefix says.
    fn read_policy(&self, repo: Option<&RepoName>) -> Result<Policy, RegistryError> {
        Ok(self.local().read(|view| match repo {
            Some(repo) => policies::effective(view, repo),
            None => policies::for_all(view),
        })?)
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
