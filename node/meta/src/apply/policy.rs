//! Settings of a prefix, and of the links between regions.

use super::tx::{Tx, refused};
use crate::family::Family;
use crate::key;
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::policies::Policies;
use crate::policy::{PolicyRow, Prefix, Regions, TagReads};
use crate::row::BandwidthRow;
use crate::view::ViewError;
use std::collections::BTreeSet;

/// Replaces them. Whether they make sense for this cluster was judged before the proposal; here only what would harm the
/// state is refused.
pub(super) fn set(tx: &mut Tx<'_>, prefix: &Prefix, policy: &PolicyRow) -> Result<Outcome, ViewError> {
    if let Some(reason) = unfit(policy) {
        return refused(Refusal::Policy(reason));
    }
    let key = key::policy(prefix);
    if policy.is_empty() {
        tx.delete(Family::Repos, key);
    } else {
        let known = tx.view().get(Family::Repos, &key)?.is_some();
        if !known && Policies::read(tx.view())?.iter().count() >= limits::POLICIES {
            return refused(Refusal::TooMany { what: "prefixes with settings".to_owned(), limit: limits::POLICIES });
        }
        tx.put(Family::Repos, key, policy);
    }
    tx.topology_changed();
    Ok(Outcome::Done)
}

/// Replaces the limits of bandwidth. A limit of nothing would stop what waits for it for ever.
pub(super) fn set_bandwidth(tx: &mut Tx<'_>, row: &BandwidthRow) -> Result<Outcome, ViewError> {
    if row.limits.len() > limits::BANDWIDTH_LIMITS {
        let what = "limits of bandwidth".to_owned();
        return refused(Refusal::TooMany { what, limit: limits::BANDWIDTH_LIMITS });
    }
    if row.limits.iter().any(|limit| limit.bytes_per_second == 0) {
        return refused(Refusal::Policy("a bandwidth of 0 bytes per second would stop copies for ever".to_owned()));
    }
    tx.put(Family::Sys, key::BANDWIDTH.to_vec(), row);
    Ok(Outcome::Done)
}

fn unfit(policy: &PolicyRow) -> Option<String> {
    let named = policy.regions.as_ref().and_then(Regions::named);
    if let Some(count) = named.map(BTreeSet::len)
        && !(1..=limits::POLICY_REGIONS).contains(&count)
    {
        return Some(format!("{count} regions are named, 1 to {} may be", limits::POLICY_REGIONS));
    }
    if let Some(copies) = policy.copies
        && !(1..=limits::POLICY_COPIES).contains(&copies)
    {
        return Some(format!("copies is {copies}, 1 to {} may be", limits::POLICY_COPIES));
    }
    if let Some(ack) = policy.ack
        && (ack.regions == 0 || ack.copies == 0)
    {
        return Some("an ack of no region or no copy would promise nothing".to_owned());
    }
    match policy.tag_reads {
        Some(TagReads::Bounded { ms }) if ms == 0 || ms > limits::POLICY_BOUND_MS => {
            Some(format!("tag reads are bounded by {ms} ms, 1 to {} may be", limits::POLICY_BOUND_MS))
        }
        _ => None,
    }
}
