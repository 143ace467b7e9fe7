//! Images as the scenarios push and pull them.

use super::wire::{Body, Wire};
use crate::compare::package::Package;
use futures::stream::{self, StreamExt, TryStreamExt};
use portolan_chaos_tests::Result;
use portolan_oci::Digest;

/// Layers that a client pulls at a time, as docker and containerd do.
const LAYERS_AT_ONCE: usize = 3;

/// What a client needs to know of an image to pull it and to see that it is whole.
#[derive(Clone, Debug)]
pub struct Order {
    repo: String,
    tag: String,
    manifest: Digest,
    /// Config and layers.
    blobs: Vec<(Digest, u64)>,
}

impl Order {
    /// An order for what was pushed as [`Package::push`] does.
    #[must_use]
    pub fn of(package: &Package, repo: &str) -> Self {
        let config = (package.config.digest, package.config.bytes.len() as u64);
        let layers = package.layers.iter().map(|layer| (layer.digest(), layer.size()));
        Self {
            repo: repo.to_owned(),
            tag: package.tag(),
            manifest: package.manifest.digest,
            blobs: std::iter::once(config).chain(layers).collect(),
        }
    }

    /// The bytes of its blobs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum()
    }

    /// How many blobs it has.
    #[must_use]
    pub fn blobs(&self) -> usize {
        self.blobs.len()
    }

    /// Pulls it by its tag, as clients do: the manifest, then config and layers, three at a time. The manifest's digest is
    /// always compared, those of the blobs where `hash` says so; their lengths always.
    ///
    /// # Errors
    /// When something is missing, cut short or differs.
    pub async fn pull(&self, address: &str, hash: bool) -> Result<()> {
        let path = format!("/v2/{}/manifests/{}", self.repo, self.tag);
        let manifest = Wire::open(address).await?.get(&path, Body::Keep).await?;
        if manifest.digest != Some(self.manifest) {
            return Err(format!("{path}: another manifest").into());
        }
        let blobs = self.blobs.iter().copied().map(|(digest, size)| pull_blob(address, &self.repo, digest, size, hash));
        stream::iter(blobs).buffer_unordered(LAYERS_AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(())
    }
}

/// Pulls one blob over a connection of its own.
///
/// # Errors
/// When it is missing, cut short or differs.
pub async fn pull_blob(address: &str, repo: &str, digest: Digest, size: u64, hash: bool) -> Result<()> {
    let path = format!("/v2/{repo}/blobs/{digest}");
    let body = if hash { Body::Hash } else { Body::Drop };
    let received = Wire::open(address).await?.get(&path, body).await?;
    if received.length != size {
        return Err(format!("{path}: {} bytes instead of {size}", received.length).into());
    }
    if hash && received.digest != Some(digest) {
        return Err(format!("{path}: wrong bytes").into());
    }
    Ok(())
}
