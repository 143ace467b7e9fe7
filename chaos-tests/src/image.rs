//! Seeded images: the same seed gives the same bytes.

use flate2::Compression;
use flate2::write::GzEncoder;
use portolan_oci::Digest;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::json;
use std::io::Write;

/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a compressed layer; clients compress the uncompressed ones, which changes their digests.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

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
        let layers: Vec<_> = sizes.iter().map(|&size| random_layer(&mut random, size)).collect();
        Self::of_layers(&layers, "amd64")
    }

    /// An image of these tar files, compressed, for one architecture.
    ///
    /// # Panics
    /// Never: a `Vec` takes every write.
    #[must_use]
    pub fn of_layers(archives: &[Vec<u8>], architecture: &str) -> Self {
        let diff_ids: Vec<String> = archives.iter().map(|archive| Digest::sha256_of(archive).to_string()).collect();
        let layers: Vec<Blob> = archives.iter().map(|archive| Blob::new(gzip(archive))).collect();
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

fn gzip(archive: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(archive).expect("a Vec takes every write");
    encoder.finish().expect("a Vec takes every write")
}

fn random_layer(random: &mut StdRng, size: usize) -> Vec<u8> {
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
    builder.into_inner().expect("a Vec takes every write")
}
