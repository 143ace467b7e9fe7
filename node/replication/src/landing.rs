//! The growing file of one transfer: opened where an earlier try left it, or begun.

use bytes::Bytes;
use portolan_oci::Digest;
use portolan_store::{Blobs, Part, PartKind, PartReader, PartWriter, Parts, StoreError};
use std::sync::Arc;
use tokio::sync::watch;

/// Part files of fetches, one per digest.
#[derive(Clone)]
pub(crate) struct Landing {
    parts: Parts,
}

/// A growing file and its length.
pub(crate) struct Growing {
    pub(crate) writer: PartWriter,
    pub(crate) reader: PartReader,
    pub(crate) written: watch::Receiver<u64>,
    /// How many bytes it has: an earlier try's, at first.
    pub(crate) offset: u64,
    /// Whether readers may not see all of them yet.
    pub(crate) unflushed: bool,
}

impl Landing {
    pub(crate) fn new(blobs: &Arc<Blobs>) -> Self {
        Self { parts: blobs.parts(PartKind::Fetch) }
    }

    /// Opens the digest's part, or creates it. Waits while an earlier transfer of this process lets go of it.
    pub(crate) async fn open(&self, digest: &Digest, size: u64) -> Result<Growing, StoreError> {
        let id = part_id(digest);
        loop {
            match self.open_once(*digest, &id).await {
                Ok(part) if part.len() > size => {
                    // A leftover that cannot be a prefix of the blob.
                    blocking(move || part.discard()).await?;
                }
                Ok(part) => return Ok(Growing::from(part)),
                Err(StoreError::Busy { .. }) => self.parts.wait_free(&id).await,
                Err(error) => return Err(error),
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

    /// The digests that parts of earlier tries exist for. Parts whose name is no digest are left alone.
    pub(crate) async fn leftovers(&self) -> Result<Vec<Digest>, StoreError> {
        let parts = self.parts.clone();
        let list = blocking(move || parts.list()).await?;
        Ok(list.iter().filter_map(|part| part.id.replacen('-', ":", 1).parse().ok()).collect())
    }

    async fn open_once(&self, digest: Digest, id: &str) -> Result<Part, StoreError> {
        let (parts, id) = (self.parts.clone(), id.to_owned());
        blocking(move || match parts.open(&id) {
            Ok(part) => Ok(part),
            Err(StoreError::NotFound { .. }) => parts.create(&id, digest.algorithm(), b""),
            // What an earlier try left cannot be used: begin anew.
            Err(StoreError::Corrupt { what, reason }) => {
                tracing::warn!(%digest, what, reason, "an earlier transfer's file is unusable; starting over");
                parts.remove(&id)?;
                parts.create(&id, digest.algorithm(), b"")
            }
            Err(error) => Err(error),
        })
        .await
    }
}

impl From<Part> for Growing {
    fn from(part: Part) -> Self {
        let offset = part.len();
        let writer = part.into_writer();
        Self { reader: writer.reader(), written: writer.written(), writer, offset, unflushed: false }
    }
}

impl Growing {
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let len = bytes.len() as u64;
        self.writer.write(bytes).await?;
        self.offset += len;
        self.unflushed = true;
        Ok(())
    }

    /// Lets readers see all of it. Cancelled, it may be called again.
    pub(crate) async fn flush(&mut self) -> Result<(), StoreError> {
        self.writer.flush().await?;
        self.unflushed = false;
        Ok(())
    }

    /// Lets go of the file so that another try goes on where this one ends.
    pub(crate) async fn keep(self) -> Result<(), StoreError> {
        self.writer.finish().await?.sync_async().await?;
        Ok(())
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
