//! How far each region is behind each other one. Pure: computed from what is known to be missing.

use crate::plan::Missing;
use crate::status::RegionLag;
use portolan_meta::placement::Topology;
use std::collections::{BTreeMap, BTreeSet};

/// For every ordered pair of regions: what the first holds and the second has no copy of, although it should. Pairs
/// without any are in it too, so that a gauge falls back to zero. A region that lacks its second copy only is not
/// behind.
pub(crate) fn lags<'a>(missing: impl Iterator<Item = &'a Missing>, topology: &Topology, now_ms: u64) -> Vec<RegionLag> {
    let regions: Vec<&str> = topology.regions().collect();
    let mut pairs: BTreeMap<(&str, &str), RegionLag> = BTreeMap::new();
    for from in &regions {
        for to in regions.iter().filter(|to| *to != from) {
            let none = RegionLag { from: (*from).to_owned(), to: (*to).to_owned(), ..RegionLag::default() };
            pairs.insert((from, to), none);
        }
    }
    for blob in missing {
        let region = |store| topology.owner(store).map(|node| node.region.as_str());
        let holding: BTreeSet<&str> = blob.holders.iter().filter_map(|store| region(*store)).collect();
        let lacking: BTreeSet<&str> = blob.stores.iter().filter_map(|store| region(*store)).collect();
        for to in lacking.difference(&holding) {
            for from in &holding {
                if let Some(lag) = pairs.get_mut(&(*from, *to)) {
                    lag.blobs += 1;
                    lag.bytes += blob.size;
                    lag.age_ms = lag.age_ms.max(now_ms.saturating_sub(blob.at_ms));
                }
            }
        }
    }
    pairs.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::{Missing, RegionLag, Topology, lags};
    use portolan_meta::id::{NodeId, StoreId};
    use portolan_meta::row::{NodeRow, NodeState, Role, StoreRow};

    /// Stores 1.. in these regions.
    fn topology(regions: &[&str]) -> Topology {
        let node = |(id, region): (u64, &&str)| NodeRow {
            id: NodeId(id),
            name: format!("n{id}"),
            region: (*region).to_owned(),
            zone: String::new(),
            role: Role::Full,
            peer: String::new(),
            storage_uuid: String::new(),
            incarnation: 1,
            state: NodeState::Up,
            version: String::new(),
        };
        let store = |(id, _)| (StoreId(id), StoreRow::Disk { node: NodeId(id), weight: 1 });
        Topology::new((1..).zip(regions).map(node).collect(), (1..).zip(regions).map(store).collect())
    }

    fn missing(size: u64, at_ms: u64, holders: &[u64], stores: &[u64]) -> Missing {
        let stores_of = |ids: &[u64]| ids.iter().copied().map(StoreId).collect();
        Missing { size, at_ms, holders: stores_of(holders), live_copies: holders.len(), stores: stores_of(stores) }
    }

    fn behind(lags: &[RegionLag]) -> Vec<(&str, &str, u64, u64, u64)> {
        let some = lags.iter().filter(|lag| lag.blobs > 0);
        some.map(|lag| (lag.from.as_str(), lag.to.as_str(), lag.blobs, lag.bytes, lag.age_ms)).collect()
    }

    #[test]
    fn each_pair_counts_what_one_holds_and_the_other_lacks_and_the_oldest_age() {
        let topology = topology(&["eu", "us", "ap"]);
        let all = [missing(10, 700, &[1], &[2, 3]), missing(5, 400, &[1, 2], &[3])];
        let lags = lags(all.iter(), &topology, 1_000);
        assert_eq!(lags.len(), 6, "every ordered pair");
        assert_eq!(behind(&lags), [("eu", "ap", 2, 15, 600), ("eu", "us", 1, 10, 300), ("us", "ap", 1, 5, 600)]);
    }

    #[test]
    fn a_second_copy_that_is_missing_and_a_blob_without_a_holder_are_no_lag() {
        let topology = topology(&["eu", "eu", "us"]);
        let all = [missing(10, 700, &[1, 3], &[2]), missing(10, 700, &[], &[1, 2, 3])];
        assert_eq!(behind(&lags(all.iter(), &topology, 1_000)), []);
    }

    #[test]
    fn a_clock_behind_the_commit_gives_an_age_of_zero() {
        let topology = topology(&["eu", "us"]);
        let all = [missing(1, 2_000, &[1], &[2])];
        assert_eq!(behind(&lags(all.iter(), &topology, 1_000)), [("eu", "us", 1, 1, 0)]);
    }
}
