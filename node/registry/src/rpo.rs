//! What would be lost with each region if it died now, and what is lost already: as bytes, and as images.

use crate::error::RegistryError;
use crate::registry::Registry;
use portolan_consensus::StateView;
use portolan_meta::image::{ImageName, images_of};
use portolan_meta::view::ViewError;
use portolan_oci::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many blobs of a region are looked at for the images that they belong to.
const BLOBS_NAMED: usize = 4_096;
/// How many images are named per region.
const IMAGES_NAMED: usize = 50;
/// How many manifests above one blob are looked at.
const MANIFESTS_ABOVE: usize = 256;
/// How many damaged images are named.
const DAMAGED_NAMED: usize = 1_000;

/// What would be lost, region by region, as far as the asked node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpoReport {
    /// Every region that can hold blobs, in lexical order.
    pub regions: Vec<RegionRpo>,
    /// How many blobs have no copy left.
    pub damaged_blobs: u64,
    /// The images that they belong to: pushing one again mends it.
    pub damaged: Vec<DamagedImage>,
    /// Whether this is known to be less than the truth: the node has not seen all blobs since its start, or more is
    /// missing than it remembers.
    pub incomplete: bool,
}

/// What would be lost with one region: what no other has a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionRpo {
    /// The region.
    pub region: String,
    /// How many blobs.
    pub blobs: u64,
    /// How many bytes those are.
    pub bytes: u64,
    /// How long ago the oldest of them was committed, in milliseconds; `null` when there is none.
    pub oldest_ms: Option<u64>,
    /// The images that they belong to, those with the oldest first.
    pub images: Vec<String>,
    /// How many images more; at least so many when `all_named` is false.
    pub more_images: u64,
    /// Whether all of the blobs were looked at for their images.
    pub all_named: bool,
}

/// An image that lacks a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedImage {
    /// The image: a repository with a tag, or with the digest of its manifest.
    pub image: String,
    /// The blob.
    pub digest: Digest,
}

impl Registry {
    /// What would be lost with each region now.
    ///
    /// # Errors
    /// The state could not be read.
    pub async fn rpo(&self) -> Result<RpoReport, RegistryError> {
        let replication = &self.floors.replication;
        let exposure = replication.exposure();
        let lost = if exposure.damaged > 0 { replication.damaged(DAMAGED_NAMED) } else { Vec::new() };
        let exposed = exposure.regions.into_iter().map(|region| {
            let digests = if region.blobs > 0 { replication.only_in(&region.region, BLOBS_NAMED) } else { Vec::new() };
            (region, digests)
        });
        let (exposed, view, now_ms): (Vec<_>, _, _) = (exposed.collect(), self.local(), now_ms());
        let named = tokio::task::spawn_blocking(move || {
            let mut regions = Vec::with_capacity(exposed.len());
            for (region, digests) in exposed {
                let images = images(&view, &digests)?;
                let named = images.len().min(IMAGES_NAMED);
                regions.push(RegionRpo {
                    oldest_ms: region.oldest_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
                    images: images[..named].iter().map(ImageName::to_string).collect(),
                    more_images: (images.len() - named) as u64,
                    all_named: digests.len() as u64 >= region.blobs,
                    region: region.region,
                    blobs: region.blobs,
                    bytes: region.bytes,
                });
            }
            Ok::<_, ViewError>((regions, damaged(&view, &lost)?))
        });
        let (regions, damaged) = match named.await {
            Ok(named) => named?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(RegistryError::Stopping),
        };
        Ok(RpoReport { regions, damaged_blobs: exposure.damaged, damaged, incomplete: exposure.incomplete })
    }

    /// What an operator should know about blobs without a copy.
    pub(crate) fn lost_warning(&self) -> Option<String> {
        let replication = &self.floors.replication;
        // Asked all the time, and there is hardly ever one.
        if replication.damaged(1).is_empty() {
            return None;
        }
        match replication.exposure().damaged {
            0 => None,
            1 => Some("1 blob has no copy left; `portolan rpo` lists its images".to_owned()),
            blobs => Some(format!("{blobs} blobs have no copy left; `portolan rpo` lists their images")),
        }
    }
}

/// The images of some blobs, each once, in the order of the blobs.
fn images(view: &StateView, blobs: &[Digest]) -> Result<Vec<ImageName>, ViewError> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for blob in blobs {
        let (names, _) = view.read(|view| images_of(view, blob, MANIFESTS_ABOVE))?;
        found.extend(names.into_iter().filter(|name| seen.insert(name.clone())));
    }
    Ok(found)
}

fn damaged(view: &StateView, lost: &[Digest]) -> Result<Vec<DamagedImage>, ViewError> {
    let mut found = Vec::new();
    for digest in lost {
        let (names, _) = view.read(|view| images_of(view, digest, MANIFESTS_ABOVE))?;
        let room = DAMAGED_NAMED - found.len();
        found.extend(names.iter().take(room).map(|name| DamagedImage { image: name.to_string(), digest: *digest }));
    }
    Ok(found)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
