//! Manifests and blobs, by tag and by digest (design, sections 6 and 8).

use crate::clock::Stale;
use crate::config::ms;
use crate::error::RegistryError;
use crate::registry::Registry;
use bytes::Bytes;
use futures::stream::BoxStream;
use portolan_consensus::StateView;
use portolan_meta::query;
use portolan_oci::{ByteRange, Digest, Reference, RepoName, Tag};
use portolan_replication::{OpenError, ReadError, Source};
use portolan_sabotage::Sabotage;
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often holders of which none can be reached are looked for again.
const HOLDER_PAUSE: Duration = Duration::from_millis(200);

/// A manifest, verbatim.
#[derive(Clone, Debug)]
pub struct ManifestAnswer {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes as they were pushed.
    pub bytes: Bytes,
    /// Whether the tag's meaning was not confirmed by a leader.
    pub stale: Option<Stale>,
}

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobStat {
    /// Its length in bytes.
    pub size: u64,
}

/// A blob on its way.
pub struct BlobAnswer {
    /// The whole blob's length in bytes.
    pub size: u64,
    /// Which bytes the stream yields.
    pub range: Range<u64>,
    /// Where they come from.
    pub source: Source,
    /// The bytes, in order. After an error the answer must be cut short.
    pub stream: BoxStream<'static, Result<Bytes, ReadError>>,
}

impl Registry {
    /// The manifest under a tag (linearizable, or marked stale) or a digest (local; one barrier before "unknown").
    ///
    /// # Errors
    /// `ManifestUnknown`, `NotConfirmed`, or what the floors below report.
    pub async fn manifest(&self, repo: &RepoName, reference: &Reference) -> Result<ManifestAnswer, RegistryError> {
        match reference {
            Reference::Tag(tag) => self.manifest_by_tag(repo, tag).await,
            Reference::Digest(digest) => self.manifest_by_digest(repo, *digest).await,
        }
    }

    async fn manifest_by_tag(&self, repo: &RepoName, tag: &Tag) -> Result<ManifestAnswer, RegistryError> {
        let look = |view: &StateView| {
            view.read(|view| match query::tag(view, repo, tag)? {
                Some(row) => Ok(query::manifest(view, repo, &row.digest)?.map(|manifest| (row.digest, manifest))),
                None => Ok(None),
            })
        };
        let ((digest, manifest), stale) = self.find(repo, look, |_| RegistryError::tag_unknown(repo, tag)).await?;
        Ok(ManifestAnswer { digest, media_type: manifest.row.media_type, bytes: manifest.bytes, stale })
    }

    async fn manifest_by_digest(&self, repo: &RepoName, digest: Digest) -> Result<ManifestAnswer, RegistryError> {
        let look = |view: &StateView| view.read(|view| query::manifest(view, repo, &digest));
        let found = match look(&self.local())? {
            Some(found) => Some(found),
            None => look(&self.before_unknown().await?)?,
        };
        let Some(manifest) = found else {
            return Err(RegistryError::manifest_unknown(repo, Reference::Digest(digest)));
        };
        Ok(ManifestAnswer { digest, media_type: manifest.row.media_type, bytes: manifest.bytes, stale: None })
    }

    /// A blob's facts, if the repository shows it and a copy of it is left anywhere. Writes nothing.
    ///
    /// # Errors
    /// `BlobUnknown` (also when no copy is left: pushing it again mends it), `NotConfirmed`.
    pub async fn blob_stat(&self, repo: &RepoName, digest: &Digest) -> Result<BlobStat, RegistryError> {
        match visible(&self.local(), repo, digest)? {
            Some(stat) => Ok(stat),
            None => visible(&self.before_unknown().await?, repo, digest)?
                .ok_or_else(|| RegistryError::blob_unknown(repo, *digest)),
        }
    }

    /// The view that "unknown" may be said of.
    async fn before_unknown(&self) -> Result<StateView, RegistryError> {
        // Sabotaged: what this node does not know is taken for what nobody knows.
        if portolan_sabotage::is(Sabotage::GuessUnknown) { Ok(self.local()) } else { self.linearizable().await }
    }

    /// Opens a blob that the repository shows, or a range of it, wherever its bytes are. While no holder can be reached,
    /// one is waited for, for `reads.holder_wait_ms`: a node that restarts is back sooner than most clients would be.
    ///
    /// # Errors
    /// `BlobUnknown`, `RangeUnsatisfiable`, `Unreachable`, `NotConfirmed`, or what the floors below report.
    pub async fn blob_open(
        &self,
        repo: &RepoName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<BlobAnswer, RegistryError> {
        let BlobStat { size } = self.blob_stat(repo, digest).await?;
        let range = range
            .map(|range| range.resolve(size).map_err(|_| RegistryError::RangeUnsatisfiable { size }))
            .transpose()?;
        let until = Instant::now() + ms(self.config.reads.holder_wait_ms);
        let opened = loop {
            match self.floors.replication.open(digest, range.clone()).await {
                Err(OpenError::Unreachable { .. }) if Instant::now() + HOLDER_PAUSE < until => {
                    sleep(HOLDER_PAUSE).await;
                }
                opened => break opened,
            }
        };
        let body = opened.map_err(|error| match error {
            OpenError::NotFound => RegistryError::blob_unknown(repo, *digest),
            OpenError::Unreachable { asked } => {
                tracing::warn!(%digest, asked, "no holder of the blob can be reached");
                RegistryError::Unreachable(*digest)
            }
            OpenError::Busy(what) => RegistryError::Busy(what),
            OpenError::Range { size, .. } => RegistryError::RangeUnsatisfiable { size },
            OpenError::Stopped => RegistryError::Stopping,
            OpenError::View(error) => RegistryError::View(error),
            OpenError::Store(error) => RegistryError::from(error),
        })?;
        Ok(BlobAnswer { size: body.size, range: body.range, source: body.source, stream: body.stream })
    }
}

/// What a repository shows of a blob. One without any copy is not shown, so that clients push it again.
fn visible(view: &StateView, repo: &RepoName, digest: &Digest) -> Result<Option<BlobStat>, RegistryError> {
    view.read(|view| {
        let Some(row) = query::visible_blob(view, repo, digest)? else {
            return Ok(None);
        };
        let located = !query::locations(view, digest)?.is_empty();
        Ok(located.then_some(BlobStat { size: row.size }))
    })
}
