//! Where an image lies, with everything that belongs to it, and what is missing where. Asks this node's own state, and
//! the nodes that fetch for what they have of it so far.

use crate::clock::Stale;
use crate::error::RegistryError;
use crate::image_ref::ImageRef;
use crate::image_state::{Goal, ImageState};
use crate::image_transfers::Arriving;
use crate::registry::Registry;
use portolan_consensus::StateView;
use portolan_meta::query;
use portolan_oci::{Digest, Reference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many digests of lost blobs are told.
const LOST_TOLD: usize = 100;

/// An image, region by region. It counts with the manifests below it and with what refers to any of them: signatures,
/// SBOMs, attestations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    /// The repository.
    pub repository: String,
    /// The tag or digest that was asked for.
    pub reference: String,
    /// The manifest it meant when it was asked.
    pub digest: Digest,
    /// How many manifests belong to the image; they are on every node.
    pub manifests: u64,
    /// How many blobs belong to it.
    pub blobs: u64,
    /// How many bytes those are, each once.
    pub bytes: u64,
    /// Whether every region that counts has what it should: those that policy wants, or those that were asked for.
    pub done: bool,
    /// How many blobs have no copy left anywhere: pushing them again mends the image.
    pub lost_blobs: u64,
    /// Some of those.
    pub lost: Vec<Digest>,
    /// Every region that can hold blobs, in lexical order.
    pub regions: Vec<ImageRegion>,
}

/// An image in one region. Bytes count once for every copy that is wanted there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRegion {
    /// The region.
    pub region: String,
    /// How many copies of each blob policy wants here, as far as the region has nodes for them; 0: none.
    pub copies: u32,
    /// Whether it has what it should: as many copies as policy wants, or one where it was asked for.
    pub done: bool,
    /// How many blobs are durable here in that many copies; in one where none is wanted.
    pub blobs: u64,
    /// The bytes of the copies that are durable here, as far as they are wanted; where none is, of one copy each.
    pub bytes: u64,
    /// The bytes of the copies that are missing.
    pub missing_bytes: u64,
    /// How many of those have arrived already, in transfers that are under way.
    pub received_bytes: u64,
    /// How fast they arrive, in bytes per second; 0 when nothing is under way.
    pub bytes_per_second: u64,
    /// How long the rest will take at that rate, in milliseconds; `null` when nothing is missing or nothing arrives.
    pub eta_ms: Option<u64>,
    /// The names of the nodes that it is read from at the moment.
    pub sources: Vec<String>,
}

/// An image's report, and whether it was confirmed.
#[derive(Clone, Debug)]
pub struct ImageAnswer {
    /// The report.
    pub report: ImageReport,
    /// Whether no leader confirmed it.
    pub stale: Option<Stale>,
}

impl Registry {
    /// Where an image is now.
    ///
    /// # Errors
    /// `RepoUnknown`, `ManifestUnknown`, `NotConfirmed`, `ImageTooLarge`.
    pub async fn image_status(&self, image: &ImageRef) -> Result<ImageAnswer, RegistryError> {
        let (digest, stale) = match &image.reference {
            Reference::Digest(_) => self.known_digest(image).await?,
            Reference::Tag(_) => {
                self.find(&image.repo, |view| resolve(view, image), |view| unknown(view, image)).await?
            }
        };
        let state = self.image_state(image, digest, &Goal::Policy).await?;
        Ok(ImageAnswer { report: self.image_report(image, digest, &state).await, stale })
    }

    /// The manifest that an image means. Of a tag only the leader says that; of a digest it is told whether the leader
    /// confirmed what this node knows of it.
    pub(crate) async fn image_digest(&self, image: &ImageRef) -> Result<(Digest, Option<Stale>), RegistryError> {
        match &image.reference {
            Reference::Digest(_) => self.known_digest(image).await,
            Reference::Tag(_) => {
                let view = self.linearizable().await?;
                let digest = resolve(&view, image)?.ok_or_else(|| unknown(&view, image))?;
                Ok((digest, None))
            }
        }
    }

    /// A digest never goes stale. Where its blobs are does, and so does that it is unknown.
    async fn known_digest(&self, image: &ImageRef) -> Result<(Digest, Option<Stale>), RegistryError> {
        let stale = self.confirm().await?;
        let view = self.local();
        match resolve(&view, image)? {
            Some(digest) => Ok((digest, stale)),
            None if stale.is_some() => Err(RegistryError::NotConfirmed),
            None => Err(unknown(&view, image)),
        }
    }

    /// Reads where everything of an image is.
    pub(crate) async fn image_state(
        &self,
        image: &ImageRef,
        digest: Digest,
        goal: &Goal,
    ) -> Result<ImageState, RegistryError> {
        let (view, repo, goal) = (self.local(), image.repo.clone(), goal.clone());
        let read = self.readings.run(move || view.read(|view| ImageState::read(view, &repo, &digest, &goal)));
        read.await??.ok_or_else(|| RegistryError::manifest_unknown(&image.repo, Reference::Digest(digest)))
    }

    /// What is to be told of it, with what the nodes that fetch say.
    pub(crate) async fn image_report(&self, image: &ImageRef, digest: Digest, state: &ImageState) -> ImageReport {
        let arriving = self.image_arriving(state).await;
        report(image, digest, state, &arriving)
    }
}

/// The manifest that an image means in a view.
fn resolve(view: &StateView, image: &ImageRef) -> Result<Option<Digest>, RegistryError> {
    view.read(|view| {
        Ok(match &image.reference {
            Reference::Tag(tag) => query::tag(view, &image.repo, tag)?.map(|row| row.digest),
            Reference::Digest(digest) => match query::repo(view, &image.repo)? {
                Some(repo) => query::manifest_row(view, repo.id, digest)?.map(|_| *digest),
                None => None,
            },
        })
    })
}

/// Whether it is the repository or the image that is unknown.
fn unknown(view: &StateView, image: &ImageRef) -> RegistryError {
    match view.read(|view| query::repo(view, &image.repo)) {
        Ok(Some(row)) if row.ever_held => RegistryError::manifest_unknown(&image.repo, image.reference.clone()),
        Ok(_) => RegistryError::RepoUnknown(image.repo.clone()),
        Err(error) => RegistryError::View(error),
    }
}

/// Puts the state of an image and what is on its way together.
fn report(image: &ImageRef, digest: Digest, state: &ImageState, arriving: &BTreeMap<String, Arriving>) -> ImageReport {
    let lost = || state.blobs.iter().filter(|blob| blob.lost);
    let none = Arriving::default();
    let regions = state.regions.iter().map(|region| {
        let coming = arriving.get(&region.name).unwrap_or(&none);
        let received_bytes = coming.received_bytes.min(region.missing_bytes);
        let rest = region.missing_bytes - received_bytes;
        let eta_ms = (rest > 0 && coming.bytes_per_second > 0)
            .then(|| u64::try_from(u128::from(rest) * 1_000 / u128::from(coming.bytes_per_second)).unwrap_or(u64::MAX));
        ImageRegion {
            region: region.name.clone(),
            copies: region.copies,
            done: region.pending.is_empty(),
            blobs: region.blobs,
            bytes: region.bytes,
            missing_bytes: region.missing_bytes,
            received_bytes,
            bytes_per_second: coming.bytes_per_second,
            eta_ms,
            sources: coming.sources.iter().cloned().collect(),
        }
    });
    ImageReport {
        repository: image.repo.to_string(),
        reference: image.reference.to_string(),
        digest,
        manifests: state.manifests,
        blobs: state.blobs.len() as u64,
        bytes: state.blobs.iter().map(|blob| blob.size).sum(),
        done: state.is_done(),
        lost_blobs: lost().count() as u64,
        lost: lost().take(LOST_TOLD).map(|blob| blob.digest).collect(),
        regions: regions.collect(),
    }
}
