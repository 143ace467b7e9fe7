//! A small registry client that knows nothing but HTTP, so that what it sees is what any client sees.

use crate::image::{self, Blob, Image};
use portolan_oci::Digest;
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use std::time::Duration;

/// What a manifest GET gave.
#[derive(Debug)]
pub struct Pulled {
    /// `Docker-Content-Digest`.
    pub digest: String,
    /// `Warning`, where the answer may be stale.
    pub warning: Option<String>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why a request did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The registry answered with another status.
    Status {
        /// The status.
        status: StatusCode,
        /// `Retry-After`, in seconds.
        retry_after: Option<String>,
        /// The body, for the message.
        body: String,
    },
    /// The connection broke: the outcome is unknown.
    Broken(String),
    /// What came is not what was asked for.
    WrongBytes(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status { status, body, .. } => write!(f, "{status}: {body}"),
            Self::Broken(reason) => write!(f, "connection: {reason}"),
            Self::WrongBytes(reason) => write!(f, "wrong bytes: {reason}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Broken(format!("{error:?}"))
    }
}

/// Talks to one node.
#[derive(Clone, Debug)]
pub struct Registry {
    base: String,
    http: Client,
}

impl Registry {
    /// A client of the node at `host:port`. No request takes longer than `within`.
    ///
    /// # Panics
    /// When the HTTP client cannot be built, which only a broken installation does.
    #[must_use]
    pub fn new(address: &str, within: Duration) -> Self {
        let http = Client::builder()
            .timeout(within)
            .connect_timeout(Duration::from_secs(2))
            .build()
            .expect("a client without TLS needs nothing of the system");
        Self { base: format!("http://{address}"), http }
    }

    /// Any request, by path.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get(&self, path: &str) -> Result<Response, Failure> {
        Ok(self.http.get(format!("{}{path}", self.base)).send().await?)
    }

    /// Pushes blobs, then the manifest, under a tag. `Ok` means that the registry acknowledged it.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn push(&self, repo: &str, tag: &str, image: &Image) -> Result<(), Failure> {
        for blob in image.blobs() {
            self.push_blob(repo, blob).await?;
        }
        self.push_manifest(repo, tag, image::MANIFEST, &image.manifest).await
    }

    /// Pushes one blob as clients do: HEAD, POST, PATCH, PUT.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn push_blob(&self, repo: &str, blob: &Blob) -> Result<(), Failure> {
        let head = self.http.head(format!("{}/v2/{repo}/blobs/{}", self.base, blob.digest)).send().await?;
        if head.status() == StatusCode::OK {
            return Ok(());
        }
        let start = self.http.post(format!("{}/v2/{repo}/blobs/uploads/", self.base)).send().await?;
        let session = location(&expect(start, StatusCode::ACCEPTED).await?)?;
        let patch = self.http.patch(self.absolute(&session)).body(blob.bytes.clone()).send().await?;
        let session = location(&expect(patch, StatusCode::ACCEPTED).await?)?;
        let separator = if session.contains('?') { '&' } else { '?' };
        let finish = format!("{}{separator}digest={}", self.absolute(&session), blob.digest);
        expect(self.http.put(finish).send().await?, StatusCode::CREATED).await?;
        Ok(())
    }

    /// Pushes a manifest under a tag or digest.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn push_manifest(
        &self,
        repo: &str,
        reference: &str,
        media_type: &str,
        manifest: &Blob,
    ) -> Result<(), Failure> {
        let request = self
            .http
            .put(format!("{}/v2/{repo}/manifests/{reference}", self.base))
            .header(CONTENT_TYPE, media_type)
            .body(manifest.bytes.clone());
        expect(request.send().await?, StatusCode::CREATED).await?;
        Ok(())
    }

    /// Pulls a manifest by tag or digest.
    ///
    /// # Errors
    /// When it is not 200, or the bytes are not those of the digest.
    pub async fn manifest(&self, repo: &str, reference: &str) -> Result<Pulled, Failure> {
        let response = expect(self.get(&format!("/v2/{repo}/manifests/{reference}")).await?, StatusCode::OK).await?;
        let digest = header(&response, "docker-content-digest").unwrap_or_default();
        let warning = header(&response, "warning");
        let bytes = response.bytes().await?.to_vec();
        let real = Digest::sha256_of(&bytes).to_string();
        if real == digest {
            Ok(Pulled { digest, warning, bytes })
        } else {
            Err(Failure::WrongBytes(format!("manifest {reference}: header says {digest}, bytes are {real}")))
        }
    }

    /// Pulls a blob and checks its digest.
    ///
    /// # Errors
    /// When it is not 200, or the bytes are not those of the digest.
    pub async fn blob(&self, repo: &str, digest: &str) -> Result<Vec<u8>, Failure> {
        let response = expect(self.get(&format!("/v2/{repo}/blobs/{digest}")).await?, StatusCode::OK).await?;
        let bytes = response.bytes().await?.to_vec();
        let real = Digest::sha256_of(&bytes).to_string();
        if real == digest { Ok(bytes) } else { Err(Failure::WrongBytes(format!("blob {digest}: bytes are {real}"))) }
    }

    /// Pulls an image by tag and compares every byte.
    ///
    /// # Errors
    /// When anything is missing or differs.
    pub async fn pull_and_compare(&self, repo: &str, tag: &str, image: &Image) -> Result<(), Failure> {
        let pulled = self.manifest(repo, tag).await?;
        if pulled.bytes != image.manifest.bytes {
            return Err(Failure::WrongBytes(format!(
                "{repo}:{tag} is {}, not {}",
                pulled.digest, image.manifest.digest
            )));
        }
        for blob in image.blobs() {
            self.blob(repo, &blob.digest.to_string()).await?;
        }
        Ok(())
    }

    fn absolute(&self, location: &str) -> String {
        if location.starts_with("http") { location.to_owned() } else { format!("{}{location}", self.base) }
    }
}

async fn expect(response: Response, wanted: StatusCode) -> Result<Response, Failure> {
    let status = response.status();
    if status == wanted {
        return Ok(response);
    }
    let retry_after = header(&response, RETRY_AFTER.as_str());
    let body = response.text().await.unwrap_or_else(|error| error.to_string());
    Err(Failure::Status { status, retry_after, body })
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn location(response: &Response) -> Result<String, Failure> {
    header(response, LOCATION.as_str()).ok_or_else(|| Failure::Broken("no Location".to_owned()))
}
