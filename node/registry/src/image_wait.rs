//! Waits until an image is durable where somebody needs it. Nothing is polled: applied changes wake it.

use crate::error::RegistryError;
use crate::image::ImageAnswer;
use crate::image_ref::ImageRef;
use crate::image_state::{Goal, ImageState};
use crate::registry::Registry;
use portolan_consensus::Change;
use portolan_meta::placement::{self, Topology};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

/// Why a wait looks at the whole image again.
enum Woken {
    /// Something may be otherwise.
    Look,
    /// Its time is over.
    Late,
}

impl Registry {
    /// Waits until an image, with everything that belongs to it, is durable in each of `regions` (without any: in every
    /// region that policy wants), or until the deadline: then the report's `done` is false. A tag means what it meant
    /// at the beginning, by the leader's word; what is attached to the image meanwhile is waited for too. The answer is
    /// marked when no leader confirmed, in the end, what this node knows.
    ///
    /// # Errors
    /// `RepoUnknown`, `ManifestUnknown`, `RegionUnknown`, `NotWanted` (policy wants nothing there, so that nothing would
    /// bring it), `NotConfirmed`, `ImageTooLarge`, `Stopping`.
    pub async fn wait_for_image(
        &self,
        image: &ImageRef,
        regions: BTreeSet<String>,
        deadline: Instant,
    ) -> Result<ImageAnswer, RegistryError> {
        let (digest, mut stale) = self.image_digest(image).await?;
        let goal = if regions.is_empty() { Goal::Policy } else { Goal::Regions(regions) };
        // Before the first look, so that nothing is applied unseen in between.
        let mut changes = self.floors.consensus.changes();
        let mut late = false;
        loop {
            let state = self.image_state(image, digest, &goal).await?;
            if late || state.is_done() {
                return Ok(ImageAnswer { report: self.image_report(image, digest, &state).await, stale });
            }
            wanted_there(image, &state)?;
            let woken = tokio::select! {
                woken = self.something_changed(&mut changes, &state, deadline) => woken?,
                () = self.left.cancelled() => return Err(RegistryError::Stopping),
                () = self.stop.cancelled() => return Err(RegistryError::Stopping),
            };
            late = matches!(woken, Woken::Late);
            stale = self.confirm().await?;
        }
    }

    /// Returns when everything that was pending has come, or when more than that may be otherwise.
    async fn something_changed(
        &self,
        changes: &mut Receiver<Change>,
        state: &ImageState,
        deadline: Instant,
    ) -> Result<Woken, RegistryError> {
        let (mut pending, needs) = (state.pending(), state.needs());
        loop {
            match timeout_at(deadline, changes.recv()).await {
                Ok(Ok(Change::Blobs(changed))) => {
                    let changed: Vec<Digest> = changed.iter().filter(|blob| pending.contains(*blob)).copied().collect();
                    for digest in self.durable_among(&changed, &needs)? {
                        pending.remove(&digest);
                    }
                    if pending.is_empty() {
                        return Ok(Woken::Look);
                    }
                }
                // Nodes, policies or everything.
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => return Ok(Woken::Look),
                Ok(Err(RecvError::Closed)) => return Err(RegistryError::Stopping),
                Err(_) => return Ok(Woken::Late),
            }
        }
    }

    /// Those of some blobs that have enough copies by now.
    fn durable_among(&self, digests: &[Digest], needs: &BTreeMap<String, u32>) -> Result<Vec<Digest>, RegistryError> {
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        self.local().read(|view| {
            let topology = Topology::read(view)?;
            let mut durable = Vec::new();
            for digest in digests {
                let regions = placement::durability(view, &topology, digest)?;
                if needs.iter().all(|(region, needed)| regions.get(region).is_some_and(|here| here >= needed)) {
                    durable.push(*digest);
                }
            }
            Ok(durable)
        })
    }
}

/// A region that lacks something and where policy wants nothing would be waited for in vain.
fn wanted_there(image: &ImageRef, state: &ImageState) -> Result<(), RegistryError> {
    let in_vain = state.regions.iter().filter(|region| region.copies == 0 && !region.pending.is_empty());
    let regions: Vec<String> = in_vain.map(|region| region.name.clone()).collect();
    let wanted = state.regions.iter().filter(|region| region.copies > 0).map(|region| region.name.clone()).collect();
    if regions.is_empty() {
        Ok(())
    } else {
        Err(RegistryError::NotWanted { repo: image.repo.clone(), regions, wanted })
    }
}
