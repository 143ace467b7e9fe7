//! OCI image layouts on disk, as `skopeo oci:FOLDER:TAG` reads them.

use crate::image::{self, Blob, Image};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Writes a layout with one image under a tag.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_image(folder: &Path, image: &Image, tag: &str) -> crate::Result<()> {
    write_blobs(folder, image.blobs().chain([&image.manifest]))?;
    write_entry(folder, image::MANIFEST, &image.manifest, tag)
}

/// Writes a layout with an index over several platforms under a tag.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_index(folder: &Path, images: &[(Image, &str)], tag: &str) -> crate::Result<Blob> {
    let index = image::index(images);
    for (image, _) in images {
        write_blobs(folder, image.blobs().chain([&image.manifest]))?;
    }
    write_blobs(folder, [&index])?;
    write_entry(folder, image::INDEX, &index, tag)?;
    Ok(index)
}

fn write_blobs<'a>(folder: &Path, blobs: impl IntoIterator<Item = &'a Blob>) -> crate::Result<()> {
    let place = folder.join("blobs/sha256");
    fs::create_dir_all(&place)?;
    for blob in blobs {
        fs::write(place.join(blob.digest.hex()), &blob.bytes)?;
    }
    Ok(())
}

fn write_entry(folder: &Path, media_type: &str, manifest: &Blob, tag: &str) -> crate::Result<()> {
    fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": media_type,
            "digest": manifest.digest.to_string(),
            "size": manifest.bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }],
    });
    fs::write(folder.join("index.json"), index.to_string())?;
    Ok(())
}
