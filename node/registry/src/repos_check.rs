//! Whether settings make sense in this cluster, judged before they are proposed: what is wrong, with what value, and what
//! to do. Pure.

use portolan_meta::limits::{POLICY_BOUND_MS, POLICY_COPIES, POLICY_REGIONS};
use portolan_meta::placement::Topology;
use portolan_meta::policies::Policies;
use portolan_meta::policy::{Policy, PolicyRow, Prefix, TagReads};
use portolan_meta::row::NodeRow;
use std::collections::BTreeMap;

/// No link is faster, in bytes per second.
pub(crate) const MOST_BYTES_PER_SECOND: u64 = 1_000_000_000_000;

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A region that is not there.
    #[error("regions: no region is called {region:?}; there are {}", .known.join(", "))]
    UnknownRegion {
        /// What was named.
        region: String,
        /// The regions that there are.
        known: Vec<String>,
    },
    /// A list of no region, or of too many.
    #[error("regions: {count} are named; name 1 to {POLICY_REGIONS}, or say \"all\"")]
    RegionCount {
        /// How many are named.
        count: usize,
    },
    /// No copy, or more than are ever made.
    #[error("copies: {copies} are wanted in each region; give 1 to {POLICY_COPIES}")]
    Copies {
        /// What is wanted.
        copies: u32,
    },
    /// An ack that promises nothing.
    #[error("ack: {regions} regions with {copies} copies each would promise nothing; both must be 1 or more")]
    AckOfNothing {
        /// The regions.
        regions: u32,
        /// The copies.
        copies: u32,
    },
    /// A push would wait for regions that get no copies.
    #[error(
        "ack: pushes {} would wait for {regions} regions, and copies are wanted in {wanted}; lower ack.regions, or let \
         more regions have copies",
        below(prefix)
    )]
    AckRegions {
        /// Where it would be so.
        prefix: Prefix,
        /// The regions that are waited for.
        regions: u32,
        /// The regions that get copies.
        wanted: u32,
    },
    /// A push would wait for copies that nobody makes.
    #[error(
        "ack: pushes {} would wait for {copies} copies in a region, and {wanted} are made there; lower ack.copies, or \
         raise copies",
        below(prefix)
    )]
    AckCopies {
        /// Where it would be so.
        prefix: Prefix,
        /// The copies that are waited for.
        copies: u32,
        /// The copies that are made.
        wanted: u32,
    },
    /// The promise of several regions would be hollow: the metadata would die with one.
    #[error(
        "ack: {regions} regions were to survive the loss of one, but {voters} of the {of} voters are in {region}, a \
         majority: without it no push is known any more. Spread the voters over three regions first"
    )]
    VotersInOneRegion {
        /// The regions that are waited for.
        regions: u32,
        /// Where the voters are.
        region: String,
        /// How many of them.
        voters: usize,
        /// Of how many.
        of: usize,
    },
    /// A bound of nothing, or of too long.
    #[error("tag_reads: a bound of {ms} ms; 1 to {POLICY_BOUND_MS} may be, or \"linearizable\"")]
    Bound {
        /// The bound.
        ms: u64,
    },
    /// A limit that stops everything, or none at all.
    #[error("bytes_per_second: {bytes_per_second}; give 1 to {MOST_BYTES_PER_SECOND}, or leave the limit out")]
    Rate {
        /// What was asked for.
        bytes_per_second: u64,
    },
    /// As many prefixes as may be have settings.
    #[error(
        "{limit} prefixes have settings, and no more may: remove those of another, or set them at a shorter prefix"
    )]
    Prefixes {
        /// How many may be.
        limit: usize,
    },
    /// More limits of bandwidth than may be.
    #[error("limits: {count} are given; {limit} may be")]
    Limits {
        /// How many are given.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// The state machine saw what was not seen here.
    #[error("{0}")]
    Refused(String),
}

/// A prefix as a person is told of it.
pub(crate) fn shown_prefix(prefix: &Prefix) -> String {
    if prefix.as_str().is_empty() { "all repositories".to_owned() } else { format!("{:?}", prefix.as_str()) }
}

fn below(prefix: &Prefix) -> String {
    if prefix.as_str().is_empty() { "anywhere".to_owned() } else { format!("to {}", prefix.as_str()) }
}

/// What a change is judged by.
pub(crate) struct Ground<'a> {
    pub(crate) topology: &'a Topology,
    /// The settings of all prefixes before the change.
    pub(crate) policies: &'a Policies,
    pub(crate) voters: &'a [NodeRow],
}

/// Judges the settings of a prefix, with those that it inherits and those that inherit from it. Gives what is worth a
/// warning. What stays as it was is not judged: the cluster may have changed since, and an operator in need must be able
/// to change one thing without mending another first.
///
/// # Errors
/// The first thing that cannot be.
pub(crate) fn check(ground: &Ground<'_>, prefix: &Prefix, row: &PolicyRow) -> Result<Vec<String>, PolicyError> {
    let before = ground.policies;
    let own = before.iter().find(|(known, _)| *known == prefix).map(|(_, row)| row.clone()).unwrap_or_default();
    alone(ground, &changed(&own, row))?;
    let after = before.with(prefix, row);
    for (below, _) in after.iter().filter(|(other, _)| prefix.contains(other)) {
        let (then, now) = (before.below(below), after.below(below));
        if (then.ack, then.copies, &then.regions) != (now.ack, now.copies, &now.regions) {
            together(ground, below, &now)?;
        }
    }
    Ok(warnings(ground, &after.below(prefix), row))
}

/// The fields that are set anew.
fn changed(before: &PolicyRow, row: &PolicyRow) -> PolicyRow {
    fn anew<T: Clone + PartialEq>(before: &Option<T>, now: &Option<T>) -> Option<T> {
        now.clone().filter(|_| now != before)
    }
    PolicyRow {
        regions: anew(&before.regions, &row.regions),
        copies: anew(&before.copies, &row.copies),
        ack: anew(&before.ack, &row.ack),
        tag_reads: anew(&before.tag_reads, &row.tag_reads),
        partition: anew(&before.partition, &row.partition),
    }
}

/// What a field has to be, whatever the others are.
fn alone(ground: &Ground<'_>, row: &PolicyRow) -> Result<(), PolicyError> {
    let known: Vec<&str> = ground.topology.all_regions().collect();
    if let Some(named) = row.regions.as_ref().and_then(|regions| regions.named()) {
        if !(1..=POLICY_REGIONS).contains(&named.len()) {
            return Err(PolicyError::RegionCount { count: named.len() });
        }
        if let Some(region) = named.iter().find(|region| !known.contains(&region.as_str())) {
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(PolicyError::UnknownRegion { region: region.clone(), known });
        }
    }
    // More than a region has nodes for is only a warning: there are as many copies as it has nodes, and a node that is
    // added gets its own.
    if let Some(copies) = row.copies.filter(|copies| !(1..=POLICY_COPIES).contains(copies)) {
        return Err(PolicyError::Copies { copies });
    }
    if let Some(ack) = row.ack {
        if ack.regions == 0 || ack.copies == 0 {
            return Err(PolicyError::AckOfNothing { regions: ack.regions, copies: ack.copies });
        }
        if ack.regions >= 2
            && let Some((region, voters)) = majority(ground.voters)
        {
            let (regions, of) = (ack.regions, ground.voters.len());
            return Err(PolicyError::VotersInOneRegion { regions, region: region.to_owned(), voters, of });
        }
    }
    match row.tag_reads {
        Some(TagReads::Bounded { ms }) if !(1..=POLICY_BOUND_MS).contains(&ms) => Err(PolicyError::Bound { ms }),
        _ => Ok(()),
    }
}

/// Whether a push could ever be acknowledged.
fn together(ground: &Ground<'_>, prefix: &Prefix, policy: &Policy) -> Result<(), PolicyError> {
    let Some(ack) = policy.ack else { return Ok(()) };
    let wanted = ground.topology.all_regions().filter(|region| policy.regions.want(region)).count();
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    if ack.regions > wanted {
        return Err(PolicyError::AckRegions { prefix: prefix.clone(), regions: ack.regions, wanted });
    }
    if ack.copies > policy.copies {
        return Err(PolicyError::AckCopies { prefix: prefix.clone(), copies: ack.copies, wanted: policy.copies });
    }
    Ok(())
}

/// What can be and may surprise.
fn warnings(ground: &Ground<'_>, policy: &Policy, row: &PolicyRow) -> Vec<String> {
    let wanted = || ground.topology.all_regions().filter(|region| policy.regions.want(region));
    let few =
        |copies: u32| -> Vec<&str> { wanted().filter(|region| full_nodes(ground.topology, region) < copies).collect() };
    let mut warnings = Vec::new();
    if let Some(copies) = row.copies.filter(|copies| !few(*copies).is_empty()) {
        let regions = few(copies).join(", ");
        warnings.push(format!("fewer than {copies} full nodes in {regions}: as many copies as it has nodes there"));
    }
    if let Some(ack) = policy.ack {
        let able = wanted().count() - few(ack.copies).len();
        if able < ack.regions as usize {
            warnings.push(format!(
                "pushes wait for {} copies in each of {} regions, and {able} have so many full nodes now: until more do, \
                 every push is answered with ACK_PENDING",
                ack.copies, ack.regions
            ));
        }
    }
    warnings
}

fn full_nodes(topology: &Topology, region: &str) -> u32 {
    u32::try_from(topology.full_nodes(region)).unwrap_or(u32::MAX)
}

/// The region in which some majority of the voters lies, with how many.
fn majority(voters: &[NodeRow]) -> Option<(&str, usize)> {
    let mut regions: BTreeMap<&str, usize> = BTreeMap::new();
    for voter in voters {
        *regions.entry(&voter.region).or_default() += 1;
    }
    regions.into_iter().find(|(_, count)| *count > voters.len() / 2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
