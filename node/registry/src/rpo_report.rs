//! What would be lost with each region if it died now, what nobody can read, and what is lost already: as bytes, and as
//! images.

use portolan_consensus::StateView;
use portolan_meta::image::{ImageName, Images};
use portolan_meta::view::ViewError;
use portolan_oci::Digest;
use portolan_replication::{RegionExposure, Replication};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many blobs of a region are looked at for the images that they belong to.
const BLOBS_NAMED: usize = 4_096;
/// How many images are named per region.
const IMAGES_NAMED: usize = 50;
/// How many manifests above one blob are looked at.
const MANIFESTS_ABOVE: usize = 256;
/// How many manifests, and rows on the way to them, are looked at for the blobs of one region, and for the damaged ones.
const STEPS: usize = 16_384;
/// How many damaged images are named.
const DAMAGED_NAMED: usize = 1_000;

/// What would be lost, region by region, as far as the asked node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpoReport {
    /// Every region that can hold blobs, in lexical order, with what no other has a copy of.
    pub regions: Vec<RegionRpo>,
    /// How many blobs nobody can read now, though copies are recorded: no node that has one answers. They are not lost
    /// unless their nodes are.
    pub unreachable_blobs: u64,
    /// How many bytes those are.
    pub unreachable_bytes: u64,
    /// The silent regions that have copies of those, in lexical order: with each of them back, its blobs can be read
    /// again. A blob of several regions is in each.
    pub unreachable: Vec<RegionRpo>,
    /// How many blobs have no copy left.
    pub damaged_blobs: u64,
    /// The images that they belong to: pushing one again mends it.
    pub damaged: Vec<DamagedImage>,
    /// Whether these are all of them.
    pub all_damaged_named: bool,
    /// Whether this is known to be less than the truth: the node has not seen all blobs since its start, or more is
    /// missing than it remembers.
    pub incomplete: bool,
}

/// Blobs that hang on one region.
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
    /// Whether all of the blobs were looked at for all of their images.
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

impl RpoReport {
    /// Puts it together, at a time in milliseconds since the Unix epoch. Blocks, and takes long where much hangs on one
    /// region.
    pub(crate) fn read(replication: &Replication, view: &StateView, now_ms: u64) -> Result<Self, ViewError> {
        let exposure = replication.exposure();
        let rows = |rows: Vec<RegionExposure>, blobs: &dyn Fn(&str) -> Vec<Digest>| {
            let row = |row: RegionExposure| {
                let digests = if row.blobs > 0 { blobs(&row.region) } else { Vec::new() };
                region(view, row, &digests, now_ms)
            };
            rows.into_iter().map(row).collect::<Result<Vec<_>, _>>()
        };
        let regions = rows(exposure.regions, &|region| replication.only_in(region, BLOBS_NAMED))?;
        let silent = exposure.unreachable.into_iter().filter(|row| row.blobs > 0).collect();
        let unreachable = rows(silent, &|region| replication.unreachable_in(region, BLOBS_NAMED))?;
        let lost = if exposure.damaged > 0 { replication.damaged(DAMAGED_NAMED) } else { Vec::new() };
        let (damaged, all_named) = damaged(view, &lost)?;
        Ok(Self {
            regions,
            unreachable_blobs: exposure.unreachable_blobs,
            unreachable_bytes: exposure.unreachable_bytes,
            unreachable,
            damaged_blobs: exposure.damaged,
            damaged,
            all_damaged_named: all_named && lost.len() as u64 >= exposure.damaged,
            incomplete: exposure.incomplete,
        })
    }
}

/// What hangs on one region, with the images of some of its blobs.
fn region(view: &StateView, row: RegionExposure, blobs: &[Digest], now_ms: u64) -> Result<RegionRpo, ViewError> {
    let (images, all_named) = images(view, blobs)?;
    let named = images.len().min(IMAGES_NAMED);
    Ok(RegionRpo {
        oldest_ms: row.oldest_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
        images: images[..named].iter().map(ImageName::to_string).collect(),
        more_images: (images.len() - named) as u64,
        all_named: all_named && blobs.len() as u64 >= row.blobs,
        region: row.region,
        blobs: row.blobs,
        bytes: row.bytes,
    })
}

/// The images of some blobs, each once, in the order of the blobs; and whether these are all.
fn images(view: &StateView, blobs: &[Digest]) -> Result<(Vec<ImageName>, bool), ViewError> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    let mut images = Images::new(STEPS);
    for blob in blobs {
        if images.is_spent() {
            return Ok((found, false));
        }
        // One snapshot for each: a long one would hold back compaction.
        let names = view.read(|view| images.of(view, blob, MANIFESTS_ABOVE))?;
        found.extend(names.into_iter().filter(|name| seen.insert(name.clone())));
    }
    Ok((found, !images.is_cut()))
}

/// The images of some blobs, each with every blob that it lacks; and whether these are all.
fn damaged(view: &StateView, blobs: &[Digest]) -> Result<(Vec<DamagedImage>, bool), ViewError> {
    let (mut found, mut all_named, mut steps) = (Vec::new(), true, STEPS);
    for blob in blobs {
        let room = DAMAGED_NAMED - found.len();
        if room == 0 || steps == 0 {
            return Ok((found, false));
        }
        let mut images = Images::new(steps);
        let names = view.read(|view| images.of(view, blob, MANIFESTS_ABOVE))?;
        steps = images.steps();
        all_named &= names.len() <= room && !images.is_cut();
        found.extend(names.iter().take(room).map(|name| DamagedImage { image: name.to_string(), digest: *blob }));
    }
    Ok((found, all_named))
}
