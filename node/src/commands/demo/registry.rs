//! A small registry client: as much of the protocol as the demo needs, against one node.

use super::image::{Blob, Image, MANIFEST_TYPE};
use bytes::Bytes;
use futures::StreamExt;
use portolan_oci::{Algorithm, Digest, Hasher};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION, WARNING};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use std::time::Duration;

/// How long an answer may stand still.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The header that tells which node a blob's bytes came from.
const SOURCE: &str = "portolan-source";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// Nobody answered, or the answer broke off.
    #[error("{0}")]
    Transport(#[from] reqwest::Error),
    /// An answer that the protocol does not foresee here.
    #[error("{what} was answered {status}: {body}")]
    Status {
        /// What was asked.
        what: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
    /// Other bytes than were asked for.
    #[error("{expected} was asked for, but the bytes are {actual}")]
    OtherBytes {
        /// What was asked for.
        expected: String,
        /// What came.
        actual: String,
    },
    /// An upload without a place to send it to.
    #[error("the answer to an upload's start has no usable Location")]
    NoLocation,
}

impl RegistryError {
    /// Whether the same request may work in a moment: there is no leader yet, or the node is starting.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status { status, .. } => {
                matches!(*status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::OtherBytes { .. } | Self::NoLocation => false,
        }
    }
}

/// What came with a pulled blob or manifest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulled {
    /// How many bytes.
    pub(crate) bytes: usize,
    /// Where the bytes came from, as the node says: `local`, `following`, or a word and the holder's id.
    pub(crate) source: Option<String>,
    /// The node's warning that its answer may be stale.
    pub(crate) warning: Option<String>,
}

/// A client of one node.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    http: reqwest::Client,
    base: Url,
}

impl Registry {
    /// A client of the node with this public address.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub(crate) fn new(address: std::net::SocketAddr) -> Result<Self, RegistryError> {
        let http = crate::client::http_client(TIMEOUT)?;
        let base = Url::parse(&format!("http://{address}/v2/")).map_err(|_| RegistryError::NoLocation)?;
        Ok(Self { http, base })
    }

    /// Pushes a whole image under a tag.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(crate) async fn push(&self, repo: &str, tag: &str, image: &Image) -> Result<(), RegistryError> {
        for blob in &image.blobs {
            self.push_blob(repo, blob).await?;
        }
        let url = self.url(&format!("{repo}/manifests/{tag}"))?;
        let request = self.http.put(url).header(CONTENT_TYPE, MANIFEST_TYPE).body(image.manifest.bytes.clone());
        expect("the manifest", request, StatusCode::CREATED).await?;
        Ok(())
    }

    async fn push_blob(&self, repo: &str, blob: &Blob) -> Result<(), RegistryError> {
        let known = self.http.head(self.url(&format!("{repo}/blobs/{}", blob.digest))?).send().await?;
        if known.status() == StatusCode::OK {
            return Ok(());
        }
        let begin = self.http.post(self.url(&format!("{repo}/blobs/uploads/"))?).header(CONTENT_LENGTH, 0);
        let answer = expect("an upload's start", begin, StatusCode::ACCEPTED).await?;
        let location = text_of(answer.headers(), LOCATION.as_str()).ok_or(RegistryError::NoLocation)?;
        let mut url = answer.url().join(&location).map_err(|_| RegistryError::NoLocation)?;
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let finish = self.http.put(url).header(CONTENT_TYPE, "application/octet-stream").body(blob.bytes.clone());
        expect("an upload", finish, StatusCode::CREATED).await?;
        Ok(())
    }

    /// Pulls a manifest by tag and compares it bit for bit.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(crate) async fn pull_manifest(&self, repo: &str, tag: &str, expected: &Blob) -> Result<Pulled, RegistryError> {
        let request = self.http.get(self.url(&format!("{repo}/manifests/{tag}"))?).header(ACCEPT, MANIFEST_TYPE);
        let answer = expect("a manifest", request, StatusCode::OK).await?;
        let (source, warning) = (text_of(answer.headers(), SOURCE), text_of(answer.headers(), WARNING.as_str()));
        let bytes: Bytes = answer.bytes().await?;
        let actual = Digest::sha256_of(&bytes);
        if actual != expected.digest || bytes != expected.bytes {
            return Err(other_bytes(&expected.digest, &actual));
        }
        Ok(Pulled { bytes: bytes.len(), source, warning })
    }

    /// Pulls a blob and checks every byte by its digest.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(crate) async fn pull_blob(&self, repo: &str, digest: &Digest) -> Result<Pulled, RegistryError> {
        let request = self.http.get(self.url(&format!("{repo}/blobs/{digest}"))?);
        let answer = expect("a blob", request, StatusCode::OK).await?;
        let source = text_of(answer.headers(), SOURCE);
        let (mut hasher, mut bytes) = (Hasher::new(Algorithm::Sha256), 0);
        let mut stream = answer.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            hasher.update(&chunk);
            bytes += chunk.len();
        }
        let actual = hasher.finish();
        if actual != *digest {
            return Err(other_bytes(digest, &actual));
        }
        Ok(Pulled { bytes, source, warning: None })
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.base.join(path).map_err(|_| RegistryError::NoLocation)
    }
}

fn other_bytes(expected: &Digest, actual: &Digest) -> RegistryError {
    RegistryError::OtherBytes { expected: expected.to_string(), actual: actual.to_string() }
}

async fn expect(what: &str, request: RequestBuilder, wanted: StatusCode) -> Result<Response, RegistryError> {
    let answer = request.send().await?;
    let status = answer.status();
    if status == wanted {
        return Ok(answer);
    }
    let body = answer.text().await.unwrap_or_default().chars().take(300).collect();
    Err(RegistryError::Status { what: what.to_owned(), status, body })
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
