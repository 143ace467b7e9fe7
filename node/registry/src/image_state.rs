//! What the state says of an image, region by region. Pure: one view, no clock.

use crate::error::RegistryError;
use portolan_meta::image;
use portolan_meta::placement::{self, Topology};
use portolan_meta::policies;
use portolan_meta::policy::Policy;
use portolan_meta::query;
use portolan_meta::row::BlobState;
use portolan_meta::view::View;
use portolan_oci::{Digest, RepoName};
use std::collections::{BTreeMap, BTreeSet};

/// How many manifests and blobs an image may have to be looked at as a whole.
pub(crate) const IMAGE_OBJECTS: usize = 16_384;

/// Which regions count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Those that policy wants.
    Policy,
    /// These; one copy suffices where policy wants none.
    Regions(BTreeSet<String>),
}

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageState {
    /// How many manifests belong to it.
    pub(crate) manifests: u64,
    /// Its blobs.
    pub(crate) blobs: Vec<ImageBlob>,
    /// Every region that can hold blobs.
    pub(crate) regions: Vec<RegionState>,
}

/// A blob of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageBlob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// No store has it.
    pub(crate) lost: bool,
    /// On how many nodes of each region it is durable.
    pub(crate) durable: BTreeMap<String, u32>,
}

/// An image in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegionState {
    pub(crate) name: String,
    /// How many copies policy wants.
    pub(crate) copies: u32,
    /// How many copies are needed: what policy wants, or what was asked for.
    pub(crate) needed: u32,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) missing_bytes: u64,
    /// The blobs that have fewer copies than are needed.
    pub(crate) pending: Vec<Digest>,
}

impl ImageState {
    /// Reads it; `None` when the repository has no such manifest.
    ///
    /// # Errors
    /// `ImageTooLarge`, `RegionUnknown`, `View`.
    pub(crate) fn read(
        view: &dyn View,
        repo: &RepoName,
        digest: &Digest,
        goal: &Goal,
    ) -> Result<Option<Self>, RegistryError> {
        let contents = image::contents(view, repo, digest, IMAGE_OBJECTS)?
            .map_err(|error| RegistryError::ImageTooLarge { limit: error.limit })?;
        let Some(contents) = contents else { return Ok(None) };
        let topology = Topology::read(view)?;
        let policy = policies::effective(view, repo)?;
        let needed = needed(&topology, &policy, goal)?;
        let mut blobs = Vec::with_capacity(contents.blobs.len());
        for digest in contents.blobs {
            let row = query::blob(view, &digest)?.filter(|row| row.state == BlobState::Live);
            blobs.push(ImageBlob {
                digest,
                size: row.as_ref().map_or(0, |row| row.size),
                lost: row.is_none() || query::locations(view, &digest)?.is_empty(),
                durable: placement::durability(view, &topology, &digest)?,
            });
        }
        let regions = needed.into_iter().map(|(name, copies, needed)| region(name, copies, needed, &blobs)).collect();
        Ok(Some(Self { manifests: contents.manifests.len() as u64, blobs, regions }))
    }

    /// Whether every region has what it needs.
    pub(crate) fn is_done(&self) -> bool {
        self.regions.iter().all(|region| region.pending.is_empty())
    }

    /// The blobs that some region still needs.
    pub(crate) fn pending(&self) -> BTreeSet<Digest> {
        self.regions.iter().flat_map(|region| region.pending.iter().copied()).collect()
    }

    /// Some of the blobs of which a region lacks a copy that is wanted or needed there, the largest first: what there is
    /// most to tell of.
    pub(crate) fn lacked_in(&self, region: &RegionState, limit: usize) -> Vec<Digest> {
        let counted = region.copies.max(region.needed);
        let here = |blob: &ImageBlob| blob.durable.get(&region.name).copied().unwrap_or_default();
        let mut lacked: Vec<&ImageBlob> = self.blobs.iter().filter(|blob| here(blob) < counted).collect();
        lacked.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        lacked.into_iter().take(limit).map(|blob| blob.digest).collect()
    }

    /// How many copies each region needs of each blob; regions that need none are left out.
    pub(crate) fn needs(&self) -> BTreeMap<String, u32> {
        let needing = self.regions.iter().filter(|region| region.needed > 0);
        needing.map(|region| (region.name.clone(), region.needed)).collect()
    }
}

/// Each region with how many copies policy wants there, and how many are needed.
fn needed(topology: &Topology, policy: &Policy, goal: &Goal) -> Result<Vec<(String, u32, u32)>, RegistryError> {
    let known: BTreeSet<&str> = topology.all_regions().collect();
    if let Goal::Regions(asked) = goal
        && let Some(region) = asked.iter().find(|region| !known.contains(region.as_str()))
    {
        return Err(RegistryError::RegionUnknown {
            region: region.clone(),
            known: known.into_iter().map(str::to_owned).collect(),
        });
    }
    let each = |region: &str| {
        let nodes = u32::try_from(topology.full_nodes(region)).unwrap_or(u32::MAX);
        // A region whose nodes are all out still lacks what policy wants there.
        let copies = if policy.regions.want(region) { policy.copies.min(nodes).max(1) } else { 0 };
        let needed = match goal {
            Goal::Policy => copies,
            Goal::Regions(asked) if asked.contains(region) => copies.max(1),
            Goal::Regions(_) => 0,
        };
        (region.to_owned(), copies, needed)
    };
    Ok(known.into_iter().map(each).collect())
}

/// What of an image is in a region.
fn region(name: String, copies: u32, needed: u32, blobs: &[ImageBlob]) -> RegionState {
    let mut state = RegionState { copies, needed, ..RegionState::default() };
    let counted = copies.max(needed);
    for blob in blobs {
        let here = blob.durable.get(&name).copied().unwrap_or_default();
        state.blobs += u64::from(here >= counted.max(1));
        state.bytes += blob.size * u64::from(here.min(counted.max(1)));
        state.missing_bytes += blob.size * u64::from(counted.saturating_sub(here));
        if here < needed {
            state.pending.push(blob.digest);
        }
    }
    state.name = name;
    state
}

#[cfg(test)]
mod tests {
    use super::{ImageBlob, region};
    use portolan_oci::Digest;
    use std::collections::BTreeMap;

    fn blob(size: u64, durable: &[(&str, u32)]) -> ImageBlob {
        ImageBlob {
            digest: Digest::sha256_of(&size.to_be_bytes()),
            size,
            lost: durable.is_empty(),
            durable: durable.iter().map(|(name, copies)| ((*name).to_owned(), *copies)).collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn bytes_count_once_for_every_copy_that_is_wanted() {
        let blobs = [blob(100, &[("eu", 2), ("us", 1)]), blob(10, &[("eu", 3)]), blob(1, &[])];
        let cases = [
            // name, wanted, needed: durable blobs, bytes, missing bytes, pending
            ("eu", 2, 2, (2, 220, 2, 1)),
            ("us", 2, 2, (0, 100, 122, 3)),
            ("us", 1, 1, (1, 100, 11, 2)),
            // Nothing is wanted: what is there all the same is told.
            ("us", 0, 0, (1, 100, 0, 0)),
            ("us", 0, 1, (1, 100, 11, 2)),
            // It is wanted, and another region was asked about.
            ("us", 1, 0, (1, 100, 11, 0)),
        ];
        for (name, copies, needed, want) in cases {
            let state = region(name.to_owned(), copies, needed, &blobs);
            let got = (state.blobs, state.bytes, state.missing_bytes, state.pending.len());
            assert_eq!(got, want, "{name} {copies} {needed}");
        }
    }
}
