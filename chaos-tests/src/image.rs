//! Seeded images: the same seed gives the same bytes.

use portolan_oci::Digest;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::json;

/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A blob and its digest.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// A blob of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::sha256_of(&bytes), bytes }
    }
}

/// A single-platform image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The config.
    pub config: Blob,
    /// The layers, lowest first.
    pub layers: Vec<Blob>,
    /// The manifest.
    pub manifest: Blob,
}

impl Image {
    /// An image whose layers are tar files holding one file of `sizes` random bytes each.
    #[must_use]
    pub fn seeded(seed: u64, sizes: &[usize]) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let layers = sizes.iter().map(|&size| random_layer(&mut random, size)).collect();
        Self::of_layers(layers, "amd64")
    }

    /// An image of these (uncompressed) layers for one architecture.
    #[must_use]
    pub fn of_layers(layers: Vec<Blob>, architecture: &str) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let config = Blob::new(to_bytes(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": diff_ids.iter().map(|_| json!({"created_by": "portolan tests"})).collect::<Vec<_>>(),
        })));
        let manifest = Blob::new(to_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
        })));
        Self { config, layers, manifest }
    }

    /// Config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// An index over images, one platform each.
#[must_use]
pub fn index(images: &[(Image, &str)]) -> Blob {
    let manifests: Vec<_> = images
        .iter()
        .map(|(image, architecture)| {
            let mut entry = descriptor(MANIFEST, &image.manifest);
            entry["platform"] = json!({"architecture": architecture, "os": "linux"});
            entry
        })
        .collect();
    Blob::new(to_bytes(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})))
}

fn descriptor(media_type: &str, blob: &Blob) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.bytes.len()})
}

fn to_bytes(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn random_layer(random: &mut StdRng, size: usize) -> Blob {
    let mut content = vec![0; size];
    random.fill_bytes(&mut content);
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::with_capacity(size + 2048));
    let name = format!("data-{:016x}", random.random::<u64>());
    builder.append_data(&mut header, name, content.as_slice()).expect("a Vec takes every write");
    Blob::new(builder.into_inner().expect("a Vec takes every write"))
}
