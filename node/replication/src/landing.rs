//! The growing file of one transfer: opened with what an earlier try left, or begun.

use portolan_oci::Digest;
use portolan_store::{Blobs, ChunkedPart, PartKind, Parts, StoreError};
use std::sync::Arc;

/// Part files of fetches, one per digest.
#[derive(Clone)]
pub(crate) struct Landing {
    parts: Parts,
}

impl Landing {
    pub(crate) fn new(blobs: &Arc<Blobs>) -> Self {
        Self { parts: blobs.parts(PartKind::Fetch) }
    }

    /// Opens the digest's part, or creates it. Waits while an earlier transfer of this process lets go of it.
    pub(crate) async fn open(&self, digest: &Digest, size: u64) -> Result<ChunkedPart, StoreError> {
        let id = part_id(digest);
        loop {
            match self.open_once(*digest, size, &id).await {
                Err(StoreError::Busy { .. }) => self.parts.wait_free(&id).await,
                opened => return opened,
            }
        }
    }

    /// Removes what is left of a transfer. A missing part is no error.
    pub(crate) async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let id = part_id(digest);
        loop {
            let (parts, name) = (self.parts.clone(), id.clone());
            match blocking(move || parts.remove(&name)).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Busy { .. }) => self.parts.wait_free(&id).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// The same, unless somebody has it open: then it stays.
    pub(crate) async fn try_remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let (parts, id) = (self.parts.clone(), part_id(digest));
        match blocking(move || parts.remove(&id)).await {
            Ok(_) | Err(StoreError::Busy { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The digests that parts of earlier tries exist for. Parts whose name is no digest are left alone.
    pub(crate) async fn leftovers(&self) -> Result<Vec<Digest>, StoreError> {
        let parts = self.parts.clone();
        let list = blocking(move || parts.list()).await?;
        Ok(list.iter().filter_map(|part| part.id.replacen('-', ":", 1).parse().ok()).collect())
    }

    async fn open_once(&self, digest: Digest, size: u64, id: &str) -> Result<ChunkedPart, StoreError> {
        let (parts, id) = (self.parts.clone(), id.to_owned());
        blocking(move || match parts.open_chunked(&id, digest.algorithm(), size) {
            Ok(part) => {
                // What came out of order before and was not hashed yet.
                part.advance()?;
                Ok(part)
            }
            Err(StoreError::NotFound { .. }) => parts.create_chunked(&id, digest.algorithm(), size),
            // What an earlier try left cannot be used: begin anew.
            Err(StoreError::Corrupt { what, reason }) => {
                tracing::warn!(%digest, what, reason, "an earlier transfer's file is unusable; starting over");
                parts.remove(&id)?;
                parts.create_chunked(&id, digest.algorithm(), size)
            }
            Err(error) => Err(error),
        })
        .await
    }
}

/// Runs disk work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going down.
        Err(_) => Err(StoreError::Closed { what: "the runtime" }),
    }
}

fn part_id(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}
