//! What would be lost with a region, and what nobody can read now, as far as this node was told. Pure.

use crate::status::{Exposure, Losses, RegionExposure};
use portolan_meta::placement::Standing;
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What hangs on one region.
#[derive(Debug, Default)]
struct Group {
    bytes: u64,
    /// With when they were committed: the oldest first.
    blobs: BTreeSet<(u64, Digest)>,
}

/// A blob that hangs on some regions.
#[derive(Debug)]
struct Hanging {
    regions: Vec<String>,
    size: u64,
    at_ms: u64,
}

/// Blobs by the regions that they hang on. The sums and the order are kept with every change: they are asked for all the
/// time, while the worker waits.
#[derive(Debug, Default)]
struct Table {
    bytes: u64,
    blobs: HashMap<Digest, Hanging>,
    /// A region that once had a blob stays: its zero is to be told too.
    groups: BTreeMap<String, Group>,
}

impl Table {
    /// Inserts a blob unless there are `limit` already; says whether there was room.
    fn insert(&mut self, limit: usize, digest: Digest, hanging: Hanging) -> bool {
        if self.blobs.len() >= limit {
            return false;
        }
        for region in &hanging.regions {
            let group = self.groups.entry(region.clone()).or_default();
            group.bytes += hanging.size;
            group.blobs.insert((hanging.at_ms, digest));
        }
        self.bytes += hanging.size;
        self.blobs.insert(digest, hanging);
        true
    }

    fn remove(&mut self, digest: &Digest) {
        let Some(hanging) = self.blobs.remove(digest) else { return };
        for region in &hanging.regions {
            if let Some(group) = self.groups.get_mut(region) {
                group.bytes -= hanging.size;
                group.blobs.remove(&(hanging.at_ms, *digest));
            }
        }
        self.bytes -= hanging.size;
    }

    fn row(&self, region: &str) -> RegionExposure {
        let group = self.groups.get(region);
        RegionExposure {
            region: region.to_owned(),
            blobs: group.map_or(0, |group| group.blobs.len() as u64),
            bytes: group.map_or(0, |group| group.bytes),
            oldest_at_ms: group.and_then(|group| group.blobs.first()).map(|(at_ms, _)| *at_ms),
        }
    }

    fn oldest_of(&self, region: &str, limit: usize) -> Vec<Digest> {
        let blobs = self.groups.get(region).into_iter().flat_map(|group| &group.blobs);
        blobs.take(limit).map(|(_, digest)| *digest).collect()
    }
}

/// Blobs that one region's loss would take, blobs of which nobody that answers has a copy, and blobs of which no copy is
/// left.
#[derive(Debug)]
pub(crate) struct Exposed {
    limit: usize,
    lone: Table,
    silent: Table,
    damaged: BTreeSet<Digest>,
    overflowed: bool,
}

impl Exposed {
    /// Remembers at most `limit` blobs of each kind.
    pub(crate) fn new(limit: usize) -> Self {
        let (lone, silent) = (Table::default(), Table::default());
        Self { limit, lone, silent, damaged: BTreeSet::new(), overflowed: false }
    }

    /// Notes how a blob stands; `None` when no live one has the digest.
    pub(crate) fn note(&mut self, digest: Digest, standing: Option<&Standing>) {
        self.lone.remove(&digest);
        self.silent.remove(&digest);
        self.damaged.remove(&digest);
        let Some(standing) = standing.filter(|standing| standing.is_shown) else { return };
        let hanging = |regions| Hanging { regions, size: standing.size, at_ms: standing.at_ms };
        if standing.holders.is_empty() {
            if self.damaged.len() < self.limit {
                self.damaged.insert(digest);
            } else {
                self.overflowed = true;
            }
        } else if standing.live_copies == 0 {
            let regions = standing.silent_regions.iter().cloned().collect();
            self.overflowed |= !self.silent.insert(self.limit, digest, hanging(regions));
        } else if let Some(region) = &standing.lone_region {
            self.overflowed |= !self.lone.insert(self.limit, digest, hanging(vec![region.clone()]));
        }
    }

    /// A whole scan begins: what it finds decides anew whether everything fits.
    pub(crate) fn begin_scan(&mut self) {
        self.overflowed = false;
    }

    /// The sums per region: of each of these, and of each that ever held such a blob.
    pub(crate) fn report<'a>(&'a self, regions: impl Iterator<Item = &'a str>, scanning: bool) -> Exposure {
        let found = self.lone.groups.keys().chain(self.silent.groups.keys()).map(String::as_str);
        let regions: BTreeSet<&str> = regions.chain(found).collect();
        Exposure {
            regions: regions.iter().map(|region| self.lone.row(region)).collect(),
            unreachable: regions.iter().map(|region| self.silent.row(region)).collect(),
            unreachable_blobs: self.silent.blobs.len() as u64,
            unreachable_bytes: self.silent.bytes,
            damaged: self.damaged.len() as u64,
            incomplete: scanning || self.overflowed,
        }
    }

    /// What cannot be read now.
    pub(crate) fn losses(&self) -> Losses {
        let silent = self.silent.groups.iter().filter(|(_, group)| !group.blobs.is_empty());
        Losses {
            damaged: self.damaged.len() as u64,
            unreachable: self.silent.blobs.len() as u64,
            silent_regions: silent.map(|(region, _)| region.clone()).collect(),
        }
    }

    /// Some blobs that would go with a region, oldest first.
    pub(crate) fn only_in(&self, region: &str, limit: usize) -> Vec<Digest> {
        self.lone.oldest_of(region, limit)
    }

    /// Some blobs that a region has and nobody that answers, oldest first.
    pub(crate) fn unreachable_in(&self, region: &str, limit: usize) -> Vec<Digest> {
        self.silent.oldest_of(region, limit)
    }

    /// Some blobs of which no copy is left.
    pub(crate) fn damaged(&self, limit: usize) -> Vec<Digest> {
        self.damaged.iter().take(limit).copied().collect()
    }

    /// Everything it knows, for comparing it with the facts again.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.lone.blobs.keys().chain(self.silent.blobs.keys()).chain(&self.damaged).copied().collect()
    }
}

#[cfg(test)]
mod tests;
