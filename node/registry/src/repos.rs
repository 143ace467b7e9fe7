//! What is wanted for repositories: settings by prefix, replicated, and what each repository gets of them.

use crate::clock::Stale;
use crate::error::RegistryError;
use crate::fresh::Confirmed;
use crate::propose::refused;
use crate::registry::Registry;
use crate::repos_check::{Ground, PolicyError, check};
use portolan_meta::command::Command;
use portolan_meta::outcome::{Outcome, Refusal};
use portolan_meta::placement::Topology;
use portolan_meta::policies::Policies;
use portolan_meta::policy::{self, PartitionContract, PolicyRow, Prefix, Regions};
use portolan_meta::query;
use portolan_meta::row::{AckPolicy, NodeRow, NodeState};
use portolan_meta::view::{View, ViewError};
use portolan_oci::RepoName;
use serde::{Deserialize, Serialize};

/// The settings of a prefix, as people and programs write them; what is absent or `null` is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepoSettings {
    /// Where copies lie.
    pub regions: Option<Regions>,
    /// How many copies each of these regions has.
    pub copies: Option<u32>,
    /// What a push waits for.
    pub ack: Option<Ack>,
    /// How fresh tag reads are.
    pub tag_reads: Option<TagReads>,
    /// What they get without a leader.
    pub partition: Option<PartitionContract>,
}

/// What a push waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// In how many regions.
    pub regions: u32,
    /// How many copies in each.
    pub copies: u32,
}

/// How fresh tag reads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagReads {
    /// The leader confirms each.
    Linearizable,
    /// It was confirmed at most so many milliseconds before.
    BoundedMs(u64),
}

/// From which prefix each setting of a repository comes; `null`: none sets it, it is the default. The empty prefix is
/// that of all repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsFrom {
    /// That of `regions`.
    pub regions: Option<Prefix>,
    /// That of `copies`.
    pub copies: Option<Prefix>,
    /// That of `ack`.
    pub ack: Option<Prefix>,
    /// That of `tag_reads`.
    pub tag_reads: Option<Prefix>,
    /// That of `partition`.
    pub partition: Option<Prefix>,
}

/// Prefixes with settings, and repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReposReport {
    /// The prefixes that have settings of their own, in lexical order: all, or those that were asked about.
    pub prefixes: Vec<PrefixReport>,
    /// A page of repositories, in lexical order, or the one that was asked about.
    pub repositories: Vec<RepoReport>,
    /// The last of the page, to go on after, when there are more.
    pub next: Option<String>,
}

/// The settings of one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixReport {
    /// The prefix; the empty one is that of all repositories.
    pub prefix: Prefix,
    /// What it sets.
    pub settings: RepoSettings,
}

/// What holds for one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoReport {
    /// The repository.
    pub name: RepoName,
    /// Whether anything was ever pushed to it; settings hold for what is to come, too.
    pub known: bool,
    /// What holds. `null` as `ack`: two copies in one region where two of its full nodes are up, else one; as
    /// `partition`: what the asked node's configuration says.
    pub settings: RepoSettings,
    /// Where each comes from.
    pub from: SettingsFrom,
}

/// A prefix has other settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// The prefix.
    pub prefix: Prefix,
    /// What it set before.
    pub before: RepoSettings,
    /// What it sets now.
    pub settings: RepoSettings,
    /// What may surprise.
    pub warnings: Vec<String>,
}

/// A report, and whether a leader confirmed it.
#[derive(Clone, Debug)]
pub struct ReposAnswer {
    /// The report.
    pub report: ReposReport,
    /// Whether no leader confirmed it.
    pub stale: Option<Stale>,
}

impl Registry {
    /// All prefixes with settings, and repositories after `last`: at most `n`, by default and at most
    /// `limits.page_entries`.
    ///
    /// # Errors
    /// `NotConfirmed`.
    pub async fn repos(&self, n: Option<usize>, last: Option<&RepoName>) -> Result<ReposAnswer, RegistryError> {
        let Confirmed { view, stale, .. } = self.confirmed(None).await?;
        let most = self.config.limits.page_entries.max(1);
        let (limit, last) = (n.map_or(most, |n| n.min(most)), last.cloned());
        let read = move || {
            let read = |view: &dyn View| Ok((Policies::read(view)?, query::catalog(view, last.as_ref(), limit + 1)?));
            let (policies, mut names) = view.read(read)?;
            let more = limit > 0 && names.len() > limit;
            names.truncate(limit);
            let next = names.last().filter(|_| more).map(RepoName::to_string);
            let repositories = names.into_iter().map(|name| repo_report(&policies, name, true)).collect();
            Ok::<_, ViewError>(ReposReport { prefixes: prefixes(&policies, |_| true), repositories, next })
        };
        Ok(ReposAnswer { report: self.readings.run(read).await??, stale })
    }

    /// What holds for one repository, which need not exist yet, and the prefixes that cover it.
    ///
    /// # Errors
    /// `NotConfirmed`.
    pub async fn repo_settings(&self, name: &RepoName) -> Result<ReposAnswer, RegistryError> {
        let Confirmed { view, stale, .. } = self.confirmed(None).await?;
        let name = name.clone();
        let read = move || {
            let read = |view: &dyn View| Ok((Policies::read(view)?, query::repo(view, &name)?));
            let (policies, row) = view.read(read)?;
            let covering = prefixes(&policies, |prefix| prefix.covers(&name));
            let repositories = vec![repo_report(&policies, name, row.is_some_and(|row| row.ever_held))];
            Ok::<_, ViewError>(ReposReport { prefixes: covering, repositories, next: None })
        };
        Ok(ReposAnswer { report: self.readings.run(read).await??, stale })
    }

    /// What one prefix sets itself: one entry, or none. Never stale: it is what a change of some settings begins with.
    ///
    /// # Errors
    /// `NotConfirmed`.
    pub async fn prefix_settings(&self, prefix: &Prefix) -> Result<ReposAnswer, RegistryError> {
        let view = self.linearizable().await?;
        let policies = self.readings.run(move || view.read(|view| Policies::read(view))).await??;
        let prefixes = prefixes(&policies, |found| found == prefix);
        let report = ReposReport { prefixes, repositories: Vec::new(), next: None };
        Ok(ReposAnswer { report, stale: None })
    }

    /// Replaces the settings of a prefix; empty ones remove it. Returns once the other nodes go by them too: each judges
    /// by its own state how fresh a read has to be. Those of which that is not known are named in the warnings.
    ///
    /// # Errors
    /// `Policy`, `NotConfirmed`, `NoQuorum`.
    pub async fn set_repos(&self, prefix: &Prefix, settings: RepoSettings) -> Result<SettingsChange, RegistryError> {
        let row = PolicyRow::from(settings.clone());
        let view = self.linearizable().await?;
        let status = self.floors.consensus.status();
        let (before, mut warnings) = view.read(|view| {
            let topology = Topology::read(view)?;
            let voters: Vec<NodeRow> =
                query::nodes(view)?.into_iter().filter(|node| status.voters.contains(&node.id)).collect();
            let ground = Ground { topology: &topology, policies: topology.policies(), voters: &voters };
            let warnings = check(&ground, prefix, &row)?;
            Ok::<_, RegistryError>((own(topology.policies(), prefix), warnings))
        })?;
        let command = Command::SetPolicy { prefix: prefix.clone(), policy: row };
        match self.propose(command, self.commit_deadline()).await? {
            Outcome::Done => {
                tracing::info!(%prefix, ?settings, "settings of repositories were changed");
                let before = before.unwrap_or_default();
                warnings.extend(self.behind().await?);
                Ok(SettingsChange { prefix: prefix.clone(), before, settings, warnings })
            }
            Outcome::Refused(Refusal::Policy(reason)) => Err(PolicyError::Refused(reason).into()),
            Outcome::Refused(Refusal::TooMany { limit, .. }) => Err(PolicyError::Prefixes { limit }.into()),
            Outcome::Refused(refusal) => Err(refused(refusal)),
            _ => Err(RegistryError::Outcome("SetPolicy")),
        }
    }

    /// Which nodes may go by older settings than this one: those that do not say in time that they have applied what it
    /// has, and those that are down, which are not waited for and may serve their clients all the same.
    async fn behind(&self) -> Result<Option<String>, RegistryError> {
        let down = self.local().read(query::nodes)?.into_iter();
        let down = down.filter(|node| matches!(node.state, NodeState::Down | NodeState::Out)).map(|node| node.name);
        let mut names: Vec<String> = down.chain(self.fence().await?.silent).collect();
        names.sort();
        names.dedup();
        Ok((!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!("it is not known of {names} that the change has arrived: until then the older settings hold there")
        }))
    }

    /// Removes the settings of a prefix, so that everything is inherited there.
    ///
    /// # Errors
    /// `PolicyUnknown`, and as [`Self::set_repos`]: what lies below may need what is to go.
    pub async fn clear_repos(&self, prefix: &Prefix) -> Result<SettingsChange, RegistryError> {
        let policies = self.linearizable().await?.read(|view| Policies::read(view))?;
        if own(&policies, prefix).is_none() {
            return Err(RegistryError::PolicyUnknown(prefix.clone()));
        }
        self.set_repos(prefix, RepoSettings::default()).await
    }
}

/// What a prefix sets itself.
fn own(policies: &Policies, prefix: &Prefix) -> Option<RepoSettings> {
    policies.iter().find(|(found, _)| *found == prefix).map(|(_, row)| RepoSettings::from(row.clone()))
}

fn prefixes(policies: &Policies, wanted: impl Fn(&Prefix) -> bool) -> Vec<PrefixReport> {
    let found = policies.iter().filter(|(prefix, _)| wanted(prefix));
    found.map(|(prefix, row)| PrefixReport { prefix: prefix.clone(), settings: row.clone().into() }).collect()
}

fn repo_report(policies: &Policies, name: RepoName, known: bool) -> RepoReport {
    let policy = policies.of(&name);
    let mut from = SettingsFrom::default();
    // Prefixes of one name sort by their length: the last one that sets a field counts.
    for (prefix, row) in policies.iter().filter(|(prefix, _)| prefix.covers(&name)) {
        let set = |is_set: bool, from: &mut Option<Prefix>| {
            if is_set {
                *from = Some(prefix.clone());
            }
        };
        set(row.regions.is_some(), &mut from.regions);
        set(row.copies.is_some(), &mut from.copies);
        set(row.ack.is_some(), &mut from.ack);
        set(row.tag_reads.is_some(), &mut from.tag_reads);
        set(row.partition.is_some(), &mut from.partition);
    }
    let settings = RepoSettings {
        regions: Some(policy.regions),
        copies: Some(policy.copies),
        ack: policy.ack.map(Ack::from),
        tag_reads: Some(policy.tag_reads.into()),
        partition: policy.partition,
    };
    RepoReport { name, known, settings, from }
}

impl From<AckPolicy> for Ack {
    fn from(AckPolicy { regions, copies }: AckPolicy) -> Self {
        Self { regions, copies }
    }
}

impl From<Ack> for AckPolicy {
    fn from(Ack { regions, copies }: Ack) -> Self {
        Self { regions, copies }
    }
}

impl From<policy::TagReads> for TagReads {
    fn from(reads: policy::TagReads) -> Self {
        match reads {
            policy::TagReads::Linearizable => Self::Linearizable,
            policy::TagReads::Bounded { ms } => Self::BoundedMs(ms),
        }
    }
}

impl From<TagReads> for policy::TagReads {
    fn from(reads: TagReads) -> Self {
        match reads {
            TagReads::Linearizable => Self::Linearizable,
            TagReads::BoundedMs(ms) => Self::Bounded { ms },
        }
    }
}

impl From<PolicyRow> for RepoSettings {
    fn from(row: PolicyRow) -> Self {
        let PolicyRow { regions, copies, ack, tag_reads, partition } = row;
        Self { regions, copies, ack: ack.map(Ack::from), tag_reads: tag_reads.map(TagReads::from), partition }
    }
}

impl From<RepoSettings> for PolicyRow {
    fn from(settings: RepoSettings) -> Self {
        let RepoSettings { regions, copies, ack, tag_reads, partition } = settings;
        Self { regions, copies, ack: ack.map(AckPolicy::from), tag_reads: tag_reads.map(Into::into), partition }
    }
}
