//! Moving one large blob as clients do.

use bytes::Bytes;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::{self, Blob};
use portolan_oci::{Algorithm, Digest, Hasher};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use reqwest::Body;
use serde_json::json;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
/// The chunk of a chunked push, in MiB.
const CHUNK_MIB: usize = 16;
const LIMIT: Duration = Duration::from_secs(300);

/// A blob in memory, in chunks of 1 MiB that are shared and never copied.
pub struct Payload {
    chunks: Vec<Bytes>,
    digest: Digest,
    size: u64,
}

/// The ways in which the specification lets a blob be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// POST, then PUT with all bytes.
    Monolithic,
    /// POST, a PATCH with `Content-Range` per 16 MiB, PUT.
    Chunked,
    /// POST, one PATCH of unknown length, PUT: what docker does.
    Streamed,
}

impl Way {
    /// How it is called in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Monolithic => "monolithic",
            Self::Chunked => "chunked",
            Self::Streamed => "streamed",
        }
    }
}

impl Payload {
    /// A seeded blob of so many MiB.
    #[must_use]
    pub fn seeded(seed: u64, size_mib: u64) -> Self {
        Self::of_bytes(seed, size_mib << 20)
    }

    /// A seeded blob of so many bytes.
    #[must_use]
    pub fn of_bytes(seed: u64, size: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut chunks = Vec::new();
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        while left > 0 {
            let mut chunk = vec![0; left.min(MIB)];
            left -= chunk.len();
            random.fill_bytes(&mut chunk);
            hasher.update(&chunk);
            chunks.push(Bytes::from(chunk));
        }
        Self { chunks, digest: hasher.finish(), size }
    }

    /// A blob of given bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let chunks = vec![Bytes::copy_from_slice(bytes)];
        Self { chunks, digest: Digest::sha256_of(bytes), size: bytes.len() as u64 }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its bytes.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    fn body(chunks: &[Bytes]) -> Body {
        let owned = chunks.to_vec();
        Body::wrap_stream(futures::stream::iter(owned.into_iter().map(Ok::<_, std::io::Error>)))
    }
}

/// Pushes a single-layer image and gives the seconds from the first request to the manifest's 201.
pub async fn push(address: &str, repo: &str, payload: &Payload) -> Result<f64> {
    let registry = Registry::new(address, LIMIT);
    let layer = payload.digest.to_string();
    let config = Blob::new(
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer]}})
            .to_string()
            .into_bytes(),
    );
    let manifest = Blob::new(
        json!({
            "schemaVersion": 2,
            "mediaType": image::MANIFEST,
            "config": {"mediaType": image::CONFIG, "digest": config.digest.to_string(), "size": config.bytes.len()},
            "layers": [{"mediaType": image::LAYER, "digest": layer, "size": payload.size}],
        })
        .to_string()
        .into_bytes(),
    );
    let started = Instant::now();
    push_blob(&reqwest::Client::new(), address, repo, payload, Way::Streamed).await?;
    registry.push_blob(repo, &config).await?;
    registry.push_manifest(repo, "v1", image::MANIFEST, &manifest).await?;
    Ok(started.elapsed().as_secs_f64())
}

/// Pushes one blob in one of the ways.
///
/// # Errors
/// When it is not acknowledged.
pub async fn push_blob(http: &reqwest::Client, address: &str, repo: &str, payload: &Payload, way: Way) -> Result<()> {
    let base = format!("http://{address}");
    let start = http.post(format!("{base}/v2/{repo}/blobs/uploads/")).send().await?.error_for_status()?;
    let mut session = location(&base, &start)?;
    let mut last = Vec::new();
    match way {
        Way::Monolithic => last = payload.chunks.clone(),
        Way::Chunked => {
            let mut offset = 0;
            for chunk in payload.chunks.chunks(CHUNK_MIB) {
                let length: usize = chunk.iter().map(Bytes::len).sum();
                let range = format!("{offset}-{}", offset + length - 1);
                let patch = http.patch(&session).header("content-range", range).header("content-length", length);
                session = location(&base, &patch.body(Payload::body(chunk)).send().await?.error_for_status()?)?;
                offset += length;
            }
        }
        Way::Streamed => {
            let patch = http.patch(&session).body(Payload::body(&payload.chunks));
            session = location(&base, &patch.send().await?.error_for_status()?)?;
        }
    }
    let separator = if session.contains('?') { '&' } else { '?' };
    let length: usize = last.iter().map(Bytes::len).sum();
    let put = http.put(format!("{session}{separator}digest={}", payload.digest)).header("content-length", length);
    let put = put.body(Payload::body(&last)).send().await?;
    if put.status() != 201 {
        return Err(format!("{address}: the blob got {}: {}", put.status(), put.text().await?).into());
    }
    Ok(())
}

/// Pulls the layer and gives the seconds until its last byte; counts bytes, as a client that writes to disk would.
pub async fn pull(address: &str, repo: &str, payload: &Payload) -> Result<f64> {
    let started = Instant::now();
    let url = format!("http://{address}/v2/{repo}/blobs/{}", payload.digest);
    let mut answer = reqwest::Client::new().get(url).send().await?.error_for_status()?;
    let mut length = 0_u64;
    while let Some(chunk) = answer.chunk().await? {
        length += chunk.len() as u64;
    }
    if length != payload.size {
        return Err(format!("{address}: {length} bytes instead of {}", payload.size).into());
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Pulls the layer once more and compares its digest.
pub async fn verify(address: &str, repo: &str, payload: &Payload) -> Result<()> {
    let url = format!("http://{address}/v2/{repo}/blobs/{}", payload.digest);
    let mut answer = reqwest::Client::new().get(url).send().await?.error_for_status()?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    while let Some(chunk) = answer.chunk().await? {
        hasher.update(&chunk);
    }
    if hasher.finish() == payload.digest { Ok(()) } else { Err(format!("{address} served wrong bytes").into()) }
}

fn location(base: &str, answer: &reqwest::Response) -> Result<String> {
    let location = answer.headers().get("location").ok_or("no Location")?.to_str()?;
    Ok(if location.starts_with("http") { location.to_owned() } else { format!("{base}{location}") })
}
