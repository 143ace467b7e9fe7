//! Who belongs to the group: the static list of the configuration.

use crate::error::MembersError;
use portolan_meta::id::NodeId;
use portolan_meta::row::Role;
use std::collections::BTreeSet;

/// This node's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// The cluster's id.
    pub cluster_id: String,
    /// The cluster's epoch.
    pub epoch: u64,
    /// Its id.
    pub id: NodeId,
    /// The identity of its data folder.
    pub storage_uuid: String,
    /// Counts its starts.
    pub incarnation: u64,
    /// Its software version.
    pub version: String,
}

/// One entry of the static member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMember {
    /// Its id: its place in the list, from 1.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its zone; empty when there is none.
    pub zone: String,
    /// What it does.
    pub role: Role,
    /// Where its peers reach it, `host:port`.
    pub peer: String,
    /// Whether it votes.
    pub voter: bool,
}

/// Refuses a list that no group can be made of.
pub(crate) fn check(members: &[StaticMember], local: NodeId) -> Result<(), MembersError> {
    if members.is_empty() {
        return Err(MembersError::Empty);
    }
    let mut seen = BTreeSet::new();
    for member in members {
        if !seen.insert(member.id) {
            return Err(MembersError::Twice(member.id.0));
        }
    }
    if !seen.contains(&local) {
        return Err(MembersError::SelfMissing(local.0));
    }
    if !members.iter().any(|member| member.voter) {
        return Err(MembersError::NoVoter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MembersError, NodeId, Role, StaticMember, check};

    fn member(id: u64, voter: bool) -> StaticMember {
        StaticMember {
            id: NodeId(id),
            name: format!("n{id}"),
            region: "r".into(),
            zone: String::new(),
            role: Role::Full,
            peer: format!("n{id}:7000"),
            voter,
        }
    }

    #[test]
    fn a_list_that_makes_no_group_is_refused() {
        let cases = [
            (vec![], Err(MembersError::Empty)),
            (vec![member(1, false)], Err(MembersError::NoVoter)),
            (vec![member(2, true)], Err(MembersError::SelfMissing(1))),
            (vec![member(1, true), member(1, true)], Err(MembersError::Twice(1))),
            (vec![member(1, false), member(2, true)], Ok(())),
        ];
        for (list, expected) in cases {
            assert_eq!(check(&list, NodeId(1)), expected, "{list:?}");
        }
    }
}
