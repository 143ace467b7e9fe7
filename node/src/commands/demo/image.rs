//! The image of the demo: three layers made in memory, the same for the same seed.

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use portolan_oci::Digest;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::io::{self, Write};
use std::path::Path;

/// The media type of the manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Where Debian's busybox is.
const BUSYBOX: &str = "/bin/busybox";
/// The size of the layer that takes a moment to travel.
const DATA_BYTES: usize = 64 << 20;

/// Some bytes and their digest.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// Their digest.
    pub(crate) digest: Digest,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::sha256_of(&bytes), bytes: bytes.into() }
    }
}

/// An image as it is pushed.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The config and the layers in the order in which they are pushed: the large one last, so that it is still on its
    /// way to the other regions when the manifest is there.
    pub(crate) blobs: Vec<Blob>,
    /// The manifest.
    pub(crate) manifest: Blob,
}

impl Image {
    /// Builds the image of a seed.
    ///
    /// # Errors
    /// Writing to memory does not fail; the libraries' types say it could.
    pub(crate) fn build(seed: u64, version: &str) -> io::Result<Self> {
        let layers = [system_layer()?, data_layer(seed)?, hello_layer(version)?];
        let command = if Path::new(BUSYBOX).exists() { vec!["/bin/busybox", "cat", "/hello"] } else { vec!["/hello"] };
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": { "Cmd": command, "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| layer.plain.to_string()).collect::<Vec<_>>() },
            "history": [{ "created_by": format!("portolan dev --demo, seed {seed}, {version}") }],
        });
        let config = Blob::new(config.to_string().into_bytes());
        let descriptor = |media_type: &str, blob: &Blob| serde_json::json!({ "mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.bytes.len() });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER_TYPE, &layer.packed)).collect::<Vec<_>>(),
        });
        let mut blobs: Vec<Blob> = [config].into_iter().chain(layers.into_iter().map(|layer| layer.packed)).collect();
        blobs.sort_by_key(|blob| blob.bytes.len());
        Ok(Self { blobs, manifest: Blob::new(manifest.to_string().into_bytes()) })
    }

    /// How many bytes all of it has.
    pub(crate) fn size(&self) -> usize {
        self.manifest.bytes.len() + self.blobs.iter().map(|blob| blob.bytes.len()).sum::<usize>()
    }
}

/// A layer, packed, and the digest of the tar in it.
struct Layer {
    packed: Blob,
    plain: Digest,
}

/// Busybox from this machine where there is one.
fn system_layer() -> io::Result<Layer> {
    let mut tar = Tar::new();
    tar.file("etc/os-release", 0o644, b"NAME=portolan-demo\n")?;
    if let Ok(busybox) = std::fs::read(BUSYBOX) {
        tar.file("bin/busybox", 0o755, &busybox)?;
        tar.link("bin/sh", "busybox")?;
    }
    tar.finish(Compression::fast())
}

/// Bytes that do not compress, so that they take their time on the way.
fn data_layer(seed: u64) -> io::Result<Layer> {
    let mut data = vec![0; DATA_BYTES];
    StdRng::seed_from_u64(seed).fill_bytes(&mut data);
    let mut tar = Tar::new();
    tar.file("data/random", 0o644, &data)?;
    tar.finish(Compression::none())
}

/// What the image says.
fn hello_layer(version: &str) -> io::Result<Layer> {
    let mut tar = Tar::new();
    tar.file("hello", 0o644, format!("Hello from every region! This is {version}.\n").as_bytes())?;
    tar.finish(Compression::fast())
}

/// A tar archive in memory, without times or owners.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_mode(mode);
        self.0.append_data(&mut header, path, contents)
    }

    fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        self.0.append_link(&mut header, path, target)
    }

    fn finish(self, level: Compression) -> io::Result<Layer> {
        let plain = self.0.into_inner()?;
        let mut packer = GzBuilder::new().mtime(0).write(Vec::new(), level);
        packer.write_all(&plain)?;
        Ok(Layer { packed: Blob::new(packer.finish()?), plain: Digest::sha256_of(&plain) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::Image;

    #[test]
    fn an_image_is_the_same_for_the_same_seed_and_another_for_another() {
        let first = Image::build(1, "v1").unwrap();
        assert_eq!(first.manifest.digest, Image::build(1, "v1").unwrap().manifest.digest);
        assert_ne!(first.manifest.digest, Image::build(2, "v1").unwrap().manifest.digest);
        assert_eq!(first.blobs.len(), 4);
    }

    #[test]
    fn the_manifest_names_every_blob() {
        let image = Image::build(7, "v1").unwrap();
        let parsed = portolan_oci::manifest::parse(Some(super::MANIFEST_TYPE), &image.manifest.bytes).unwrap();
        assert_eq!(parsed.blobs.len(), image.blobs.len());
        for blob in &image.blobs {
            assert!(
                parsed.blobs.iter().any(|child| child.digest == blob.digest && child.size == blob.bytes.len() as u64)
            );
        }
    }
}
