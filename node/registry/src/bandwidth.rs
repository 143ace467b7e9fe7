//! How fast bytes may move between regions: limits that are replicated, and change while bytes move.

use crate::error::RegistryError;
use crate::propose::refused;
use crate::registry::Registry;
use crate::repos_check::{MOST_BYTES_PER_SECOND, PolicyError};
use portolan_meta::command::Command;
use portolan_meta::limits::BANDWIDTH_LIMITS;
use portolan_meta::outcome::{Outcome, Refusal};
use portolan_meta::placement::Topology;
use portolan_meta::query;
use portolan_meta::row::{BandwidthLimit, BandwidthRow, Traffic};
use serde::{Deserialize, Serialize};

/// All limits, in the order in which they are tried: the first that fits counts. What none fits is as fast as the link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// The limits.
    pub limits: Vec<RateLimit>,
}

/// How fast bytes of one class may come from one region to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The region that sends; absent or `null` is any.
    #[serde(default)]
    pub from: Option<String>,
    /// The region that receives; absent or `null` is any.
    #[serde(default)]
    pub to: Option<String>,
    /// What they are moved for; absent or `null` is each class, with a limit of its own.
    #[serde(default)]
    pub class: Option<Traffic>,
    /// For all nodes of the receiving region together.
    pub bytes_per_second: u64,
}

impl Registry {
    /// The limits. Never stale, whatever policy says of reads: a change of one limit begins with all of them, and would
    /// take away again what it did not see.
    ///
    /// # Errors
    /// `NotConfirmed`.
    pub async fn bandwidth(&self) -> Result<Bandwidth, RegistryError> {
        Ok(self.linearizable().await?.read(query::bandwidth)?.into())
    }

    /// Replaces all limits.
    ///
    /// # Errors
    /// `Policy`, `NotConfirmed`, `NoQuorum`.
    pub async fn set_bandwidth(&self, bandwidth: Bandwidth) -> Result<Bandwidth, RegistryError> {
        let view = self.linearizable().await?;
        view.read(|view| check(&Topology::read(view)?, &bandwidth))?;
        let row = BandwidthRow::from(bandwidth.clone());
        match self.propose(Command::SetBandwidth(row), self.commit_deadline()).await? {
            Outcome::Done => {
                tracing::info!(?bandwidth, "the limits of bandwidth were changed");
                Ok(bandwidth)
            }
            Outcome::Refused(Refusal::Policy(reason)) => Err(PolicyError::Refused(reason).into()),
            Outcome::Refused(refusal) => Err(refused(refusal)),
            _ => Err(RegistryError::Outcome("SetBandwidth")),
        }
    }
}

fn check(topology: &Topology, bandwidth: &Bandwidth) -> Result<(), RegistryError> {
    let (count, limit) = (bandwidth.limits.len(), BANDWIDTH_LIMITS);
    if count > limit {
        return Err(PolicyError::Limits { count, limit }.into());
    }
    let known: Vec<&str> = topology.all_regions().collect();
    for limit in &bandwidth.limits {
        let bytes_per_second = limit.bytes_per_second;
        if !(1..=MOST_BYTES_PER_SECOND).contains(&bytes_per_second) {
            return Err(PolicyError::Rate { bytes_per_second }.into());
        }
        let mut named = limit.from.iter().chain(&limit.to);
        if let Some(region) = named.find(|region| !known.contains(&region.as_str())) {
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(PolicyError::UnknownRegion { region: region.clone(), known }.into());
        }
    }
    Ok(())
}

impl From<BandwidthRow> for Bandwidth {
    fn from(row: BandwidthRow) -> Self {
        let limit =
            |BandwidthLimit { from, to, class, bytes_per_second }| RateLimit { from, to, class, bytes_per_second };
        Self { limits: row.limits.into_iter().map(limit).collect() }
    }
}

impl From<Bandwidth> for BandwidthRow {
    fn from(bandwidth: Bandwidth) -> Self {
        let limit =
            |RateLimit { from, to, class, bytes_per_second }| BandwidthLimit { from, to, class, bytes_per_second };
        Self { limits: bandwidth.limits.into_iter().map(limit).collect() }
    }
}
