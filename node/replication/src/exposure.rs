//! What would be lost with a region, as far as this node was told. Pure.

use crate::status::{Exposure, RegionExposure};
use portolan_meta::placement::Standing;
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A blob whose live copies are all in one region.
#[derive(Debug)]
struct Lone {
    region: String,
    size: u64,
    at_ms: u64,
}

/// Blobs that one region's loss would take, and blobs of which no copy is left.
#[derive(Debug)]
pub(crate) struct Exposed {
    limit: usize,
    lone: HashMap<Digest, Lone>,
    damaged: BTreeSet<Digest>,
    overflowed: bool,
}

impl Exposed {
    /// Remembers at most `limit` blobs of either kind.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, lone: HashMap::new(), damaged: BTreeSet::new(), overflowed: false }
    }

    /// Notes how a blob stands; `None` when no live one has the digest.
    pub(crate) fn note(&mut self, digest: Digest, standing: Option<&Standing>) {
        self.lone.remove(&digest);
        self.damaged.remove(&digest);
        let Some(standing) = standing.filter(|standing| standing.is_shown) else { return };
        if standing.holders.is_empty() {
            if self.damaged.len() < self.limit {
                self.damaged.insert(digest);
            } else {
                self.overflowed = true;
            }
        } else if let Some(region) = &standing.lone_region {
            if self.lone.len() < self.limit {
                let lone = Lone { region: region.clone(), size: standing.size, at_ms: standing.at_ms };
                self.lone.insert(digest, lone);
            } else {
                self.overflowed = true;
            }
        }
    }

    /// A whole scan begins: what it finds decides anew whether everything fits.
    pub(crate) fn begin_scan(&mut self) {
        self.overflowed = false;
    }

    /// The sums per region, for each of these regions.
    pub(crate) fn report<'a>(&self, regions: impl Iterator<Item = &'a str>, scanning: bool) -> Exposure {
        let none = |region: &'a str| {
            let row = RegionExposure { region: region.to_owned(), blobs: 0, bytes: 0, oldest_at_ms: None };
            (region.to_owned(), row)
        };
        let mut rows: BTreeMap<String, RegionExposure> = regions.map(none).collect();
        for lone in self.lone.values() {
            if let Some(row) = rows.get_mut(&lone.region) {
                row.blobs += 1;
                row.bytes += lone.size;
                row.oldest_at_ms = Some(row.oldest_at_ms.map_or(lone.at_ms, |oldest| oldest.min(lone.at_ms)));
            }
        }
        Exposure {
            regions: rows.into_values().collect(),
            damaged: self.damaged.len() as u64,
            incomplete: scanning || self.overflowed,
        }
    }

    /// Some blobs that would go with a region, oldest first.
    pub(crate) fn only_in(&self, region: &str, limit: usize) -> Vec<Digest> {
        let there = self.lone.iter().filter(|(_, lone)| lone.region == region);
        let mut found: Vec<(u64, Digest)> = there.map(|(digest, lone)| (lone.at_ms, *digest)).collect();
        found.sort_unstable();
        found.into_iter().take(limit).map(|(_, digest)| digest).collect()
    }

    /// Some blobs of which no copy is left.
    pub(crate) fn damaged(&self, limit: usize) -> Vec<Digest> {
        self.damaged.iter().take(limit).copied().collect()
    }

    /// Everything it knows, for comparing it with the facts again.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.lone.keys().chain(&self.damaged).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Exposed, Standing};
    use portolan_meta::id::StoreId;
    use std::collections::BTreeSet;

    fn digest(seed: u8) -> Digest {
        Digest::sha256_of(&[seed])
    }

    fn standing(size: u64, at_ms: u64, region: Option<&str>, holders: &[u64]) -> Standing {
        Standing {
            size,
            generation: 1,
            at_ms,
            is_shown: true,
            holders: holders.iter().copied().map(StoreId).collect(),
            live_copies: holders.len(),
            lone_region: region.map(str::to_owned),
            missing: Vec::new(),
            surplus: Vec::new(),
            barred: BTreeSet::new(),
        }
    }

    #[test]
    fn each_region_tells_what_would_go_with_it_and_how_old_that_is() {
        let mut exposed = Exposed::new(10);
        exposed.note(digest(1), Some(&standing(5, 300, Some("eu"), &[1])));
        exposed.note(digest(2), Some(&standing(7, 200, Some("eu"), &[1, 2])));
        exposed.note(digest(3), Some(&standing(9, 100, None, &[1, 3])));
        exposed.note(digest(4), Some(&standing(9, 100, None, &[])));
        let told = |exposed: &Exposed| {
            let report = exposed.report(["eu", "us"].into_iter(), false);
            let row = |row: &super::RegionExposure| (row.region.clone(), row.blobs, row.bytes, row.oldest_at_ms);
            (report.regions.iter().map(row).collect::<Vec<_>>(), report.damaged)
        };
        let us = ("us".to_owned(), 0, 0, None);
        assert_eq!(told(&exposed), (vec![("eu".to_owned(), 2, 12, Some(200)), us.clone()], 1));
        assert_eq!(exposed.only_in("eu", 10), [digest(2), digest(1)]);
        assert_eq!(exposed.damaged(10), [digest(4)]);
        exposed.note(digest(2), Some(&standing(7, 200, None, &[1, 3])));
        exposed.note(digest(1), None);
        exposed.note(digest(4), Some(&standing(9, 100, Some("us"), &[3])));
        let us = ("us".to_owned(), 1, 9, Some(100));
        assert_eq!(told(&exposed), (vec![("eu".to_owned(), 0, 0, None), us], 0));
    }

    #[test]
    fn more_than_may_be_remembered_is_known_to_be_incomplete() {
        let mut exposed = Exposed::new(1);
        exposed.note(digest(1), Some(&standing(5, 300, Some("eu"), &[1])));
        exposed.note(digest(1), Some(&standing(5, 300, Some("eu"), &[1])));
        assert!(!exposed.report(std::iter::empty(), false).incomplete);
        exposed.note(digest(2), Some(&standing(5, 300, Some("eu"), &[1])));
        assert!(exposed.report(std::iter::empty(), false).incomplete);
    }
}
