//! Moving one large blob as clients do.

use bytes::Bytes;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::{self, Blob};
use portolan_oci::{Algorithm, Digest, Hasher};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::json;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(300);

/// A blob in memory, in chunks of 1 MiB that are shared and never copied.
pub(crate) struct Payload {
    chunks: Vec<Bytes>,
    digest: Digest,
}

impl Payload {
    /// A seeded blob of so many MiB.
    pub(crate) fn seeded(seed: u64, size_mib: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let chunks = (0..size_mib)
            .map(|_| {
                let mut chunk = vec![0; MIB];
                random.fill_bytes(&mut chunk);
                hasher.update(&chunk);
                Bytes::from(chunk)
            })
            .collect();
        Self { chunks, digest: hasher.finish() }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        (self.chunks.len() * MIB) as u64
    }
}

/// Pushes a single-layer image and gives the seconds from the first request to the manifest's 201.
pub(crate) async fn push(address: &str, repo: &str, payload: &Payload) -> Result<f64> {
    let registry = Registry::new(address, LIMIT);
    let http = reqwest::Client::new();
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
            "layers": [{"mediaType": image::LAYER, "digest": layer, "size": payload.len()}],
        })
        .to_string()
        .into_bytes(),
    );
    let started = Instant::now();
    let base = format!("http://{address}");
    let start = http.post(format!("{base}/v2/{repo}/blobs/uploads/")).send().await?.error_for_status()?;
    let session = location(&base, &start)?;
    let chunks = payload.chunks.clone();
    let body = futures::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
    let patch = http.patch(session).header("content-length", payload.len()).body(reqwest::Body::wrap_stream(body));
    let session = location(&base, &patch.send().await?.error_for_status()?)?;
    let separator = if session.contains('?') { '&' } else { '?' };
    let put = http.put(format!("{session}{separator}digest={layer}")).send().await?;
    if put.status() != 201 {
        return Err(format!("{address}: the layer got {}: {}", put.status(), put.text().await?).into());
    }
    registry.push_blob(repo, &config).await?;
    registry.push_manifest(repo, "v1", image::MANIFEST, &manifest).await?;
    Ok(started.elapsed().as_secs_f64())
}

/// Pulls the layer and gives the seconds until its last byte; counts bytes, as a client that writes to disk would.
pub(crate) async fn pull(address: &str, repo: &str, payload: &Payload) -> Result<f64> {
    let started = Instant::now();
    let url = format!("http://{address}/v2/{repo}/blobs/{}", payload.digest);
    let mut answer = reqwest::Client::new().get(url).send().await?.error_for_status()?;
    let mut length = 0_u64;
    while let Some(chunk) = answer.chunk().await? {
        length += chunk.len() as u64;
    }
    if length != payload.len() {
        return Err(format!("{address}: {length} bytes instead of {}", payload.len()).into());
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Pulls the layer once more and compares its digest.
pub(crate) async fn verify(address: &str, repo: &str, payload: &Payload) -> Result<()> {
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
