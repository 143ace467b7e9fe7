//! Images whose layers are random bytes: to a registry they are opaque.

use super::http::{Check, Connection};
use super::load::Meter;
use crate::transfer::{self, Payload, Way};
use futures::future::try_join_all;
use hyper::Method;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::image::{self, Blob};
use serde_json::json;

/// One image.
pub struct Package {
    /// The layers.
    pub layers: Vec<Payload>,
    /// The config.
    pub config: Blob,
    /// The manifest.
    pub manifest: Blob,
}

impl Package {
    /// An image with layers of these sizes in bytes.
    #[must_use]
    pub fn seeded(seed: u64, sizes: &[u64]) -> Self {
        let layer = |(number, size): (usize, &u64)| Payload::of_bytes((seed << 8) + number as u64, *size);
        let layers: Vec<_> = sizes.iter().enumerate().map(layer).collect();
        let digests: Vec<_> = layers.iter().map(|layer| layer.digest().to_string()).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": digests}});
        let config = Blob::new(config.to_string().into_bytes());
        let describe = |layer: &Payload| json!({"mediaType": image::LAYER, "digest": layer.digest().to_string(), "size": layer.size()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": image::MANIFEST,
            "config": {"mediaType": image::CONFIG, "digest": config.digest.to_string(), "size": config.bytes.len()},
            "layers": layers.iter().map(describe).collect::<Vec<_>>(),
        });
        Self { layers, config, manifest: Blob::new(manifest.to_string().into_bytes()) }
    }

    /// A tag of its own.
    #[must_use]
    pub fn tag(&self) -> String {
        self.manifest.digest.to_string().chars().skip("sha256:".len()).take(12).collect()
    }

    /// The bytes of its layers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers.iter().map(Payload::size).sum()
    }

    /// Pushes it as docker does: all layers at once, each with HEAD, POST, PATCH, PUT; then the config; then the
    /// manifest under a tag.
    ///
    /// # Errors
    /// The first step that fails.
    pub async fn push(&self, http: &reqwest::Client, address: &str, repo: &str, tag: &str) -> Result<()> {
        try_join_all(self.layers.iter().map(|layer| push_layer(http, address, repo, layer))).await?;
        push_layer(http, address, repo, &Payload::of(&self.config.bytes)).await?;
        let url = format!("http://{address}/v2/{repo}/manifests/{tag}");
        let put = http.put(url).header("content-type", image::MANIFEST).body(self.manifest.bytes.clone());
        let put = put.send().await?;
        if put.status() != reqwest::StatusCode::CREATED {
            return Err(format!("{tag}: {}: {}", put.status(), put.text().await?).into());
        }
        Ok(())
    }

    /// Pulls it by its tag and compares every digest.
    ///
    /// # Errors
    /// When something is missing or differs.
    pub async fn verify(&self, address: &str, repo: &str, tag: &str) -> Result<()> {
        let (length, digest) = (self.manifest.bytes.len() as u64, self.manifest.digest);
        let check = Check { length: Some(length), digest: Some(digest) };
        let path = format!("/v2/{repo}/manifests/{tag}");
        Connection::new(address).read(Method::GET, &path, check, &Meter::default()).await?;
        for layer in &self.layers {
            transfer::verify(address, repo, layer).await?;
        }
        Ok(())
    }
}

/// One blob as docker pushes it: only when the registry has not got it.
async fn push_layer(http: &reqwest::Client, address: &str, repo: &str, layer: &Payload) -> Result<()> {
    let head = http.head(format!("http://{address}/v2/{repo}/blobs/{}", layer.digest())).send().await?;
    if head.status() == reqwest::StatusCode::OK {
        return Ok(());
    }
    transfer::push_blob(http, address, repo, layer, Way::Streamed).await
}
