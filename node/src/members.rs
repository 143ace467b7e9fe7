//! The static list of members as the floors below want it.

use crate::config::Config;
use portolan_consensus::StaticMember;
use portolan_meta::id::NodeId;
use portolan_meta::placement;
use portolan_meta::row::Role;
use portolan_peer::Member;

/// The names of those members (name, region) that vote in a cluster that begins with this list.
pub(crate) fn voters(members: &[(String, String)]) -> Vec<&str> {
    let pairs: Vec<(&str, &str)> = members.iter().map(|(name, region)| (name.as_str(), region.as_str())).collect();
    let votes = placement::voters(&pairs);
    pairs.iter().zip(votes).filter(|(_, votes)| *votes).map(|((name, _), _)| *name).collect()
}

/// The list with who votes.
pub(crate) fn static_members(config: &Config) -> Vec<StaticMember> {
    let pairs: Vec<(String, String)> =
        config.members.iter().map(|member| (member.name.clone(), member.region.clone())).collect();
    let voters = voters(&pairs);
    (1..)
        .zip(&config.members)
        .map(|(id, member)| {
            let own = member.name == config.node.name;
            StaticMember {
                id: NodeId(id),
                name: member.name.clone(),
                region: member.region.clone(),
                // Others tell their own zone and role when they boot.
                zone: if own { config.node.zone.clone() } else { String::new() },
                role: if own { config.node.role } else { Role::Full },
                peer: if own { config.peer.advertise.clone() } else { member.peer.clone() },
                voter: voters.contains(&member.name.as_str()),
            }
        })
        .collect()
}

/// Everybody else on the list.
pub(crate) fn peer_members(config: &Config) -> Vec<Member> {
    static_members(config)
        .into_iter()
        .filter(|member| member.name != config.node.name)
        .map(|member| Member {
            node: member.id,
            name: member.name,
            region: member.region,
            zone: member.zone,
            address: member.peer,
        })
        .collect()
}
