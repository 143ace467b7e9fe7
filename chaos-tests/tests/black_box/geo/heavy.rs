//! Images whose layers are not held in memory.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::big::Big;
use portolan_chaos_tests::cluster::Cluster;
use portolan_chaos_tests::image::{Blob, CONFIG, LAYER, MANIFEST};
use serde_json::json;

/// An image of large layers.
pub(crate) struct Heavy {
    /// The config.
    pub(crate) config: Blob,
    /// The layers.
    pub(crate) layers: Vec<Big>,
    /// The manifest.
    pub(crate) manifest: Blob,
}

impl Heavy {
    /// An image of so many layers of so many mebibytes.
    pub(crate) fn new(seed: u64, layers: u64, mib: u64) -> Self {
        let layers: Vec<_> = (0..layers).map(|number| Big::new(seed ^ (number + 1), mib)).collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Blob::new(config.to_string().into_bytes());
        let descriptor = |media_type: &str, digest: String, size: u64| json!({"mediaType": media_type, "digest": digest, "size": size});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config.digest.to_string(), config.bytes.len() as u64),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer.digest.to_string(), layer.size())).collect::<Vec<_>>(),
        });
        Self { config, layers, manifest: Blob::new(manifest.to_string().into_bytes()) }
    }

    /// Pushes it to a node under a tag.
    ///
    /// # Errors
    /// The first step that failed.
    pub(crate) async fn push(&self, cluster: &Cluster, at: usize, repo: &str, tag: &str) -> Result<()> {
        for layer in &self.layers {
            layer.push(&cluster.nodes()[at], repo).await?;
        }
        let registry = cluster.registry(at);
        registry.push_blob(repo, &self.config).await?;
        Ok(registry.push_manifest(repo, tag, MANIFEST, &self.manifest).await?)
    }
}
