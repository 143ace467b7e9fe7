//! Skopeo.

use super::shared::{at, busybox};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::{self, Image};
use portolan_chaos_tests::tool::{self, Home};
use portolan_chaos_tests::{Result, layout};
use portolan_oci::Digest;
use std::path::Path;

/// Images of the folder that is synchronised.
const MANY: u64 = 24;

/// `docker://host:port/repo:tag` of a node.
pub(super) fn reference(cluster: &Cluster, node: usize, name: &str) -> String {
    format!("docker://{}", at(cluster, node, name))
}

/// Copies an image out of a node into a folder and compares manifest and blobs, byte by byte.
pub(super) async fn pull_and_compare(cluster: &Cluster, node: usize, name: &str, image: &Image) -> Result<()> {
    let home = Home::new()?;
    home.run("skopeo", &["copy", "--src-tls-verify=false", &reference(cluster, node, name), "dir:pulled"]).await?;
    compare(&home.path().join("pulled"), image)
}

/// Compares a folder that skopeo wrote as `dir:` with an image.
fn compare(folder: &Path, image: &Image) -> Result<()> {
    let manifest = Digest::sha256_of(&std::fs::read(folder.join("manifest.json"))?);
    assert_eq!(manifest, image.manifest.digest, "manifest in {}", folder.display());
    for blob in image.blobs() {
        let bytes = std::fs::read(folder.join(blob.digest.hex()))?;
        assert!(bytes == blob.bytes, "blob {} in {}", blob.digest, folder.display());
    }
    Ok(())
}

/// Writes an image as skopeo's `dir:` does.
fn write_folder(folder: &Path, image: &Image) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("version"), "Directory Transport Version: 1.1\n")?;
    std::fs::write(folder.join("manifest.json"), &image.manifest.bytes)?;
    for blob in image.blobs() {
        std::fs::write(folder.join(blob.digest.hex()), &blob.bytes)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_copies_lists_inspects_and_deletes_across_regions() -> Result<()> {
    if !tool::have("skopeo", "skopeo_copies_lists_inspects_and_deletes_across_regions") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let image = busybox("amd64").await?;
    layout::write_image(&home.path().join("one"), &image, "v1")?;
    let near = reference(&cluster, 0, "lib/busybox:v1");
    home.run("skopeo", &["copy", "--dest-tls-verify=false", "oci:one:v1", &near]).await?;
    pull_and_compare(&cluster, 2, "lib/busybox:v1", &image).await?;

    let middle = reference(&cluster, 1, "lib/busybox:v1");
    let inspected = home.run("skopeo", &["inspect", "--tls-verify=false", &middle]).await?;
    assert!(inspected.contains(&image.manifest.digest.to_string()), "{inspected}");
    let far = reference(&cluster, 2, "lib/busybox");
    let tags = home.run("skopeo", &["list-tags", "--tls-verify=false", &far]).await?;
    assert!(tags.contains("v1"), "{tags}");

    // Registry to registry, from one region into a repository in another: blobs are mounted, not sent again.
    let to = reference(&cluster, 2, "copied/busybox:v1");
    home.run("skopeo", &["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &middle, &to]).await?;
    pull_and_compare(&cluster, 0, "copied/busybox:v1", &image).await?;

    home.run("skopeo", &["delete", "--tls-verify=false", &middle]).await?;
    for node in 0..3 {
        let name = reference(&cluster, node, "lib/busybox:v1");
        let gone = home.run("skopeo", &["inspect", "--tls-verify=false", &name]).await;
        assert!(gone.is_err(), "deleted, but node {node} shows it");
    }
    pull_and_compare(&cluster, 2, "copied/busybox:v1", &image).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_two_platforms_arrives_whole() -> Result<()> {
    if !tool::have("skopeo", "an_index_of_two_platforms_arrives_whole") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let images = [(busybox("amd64").await?, "amd64"), (Image::seeded(64, &[50_000]), "arm64")];
    let index = layout::write_index(&home.path().join("multi"), &images, "v1")?;
    let near = reference(&cluster, 0, "lib/multi:v1");
    home.run("skopeo", &["copy", "--all", "--dest-tls-verify=false", "oci:multi:v1", &near]).await?;
    let registry = cluster.registry(2);
    assert_eq!(registry.manifest("lib/multi", "v1").await?.digest, index.digest.to_string());
    for (image, architecture) in &images {
        let digest = image.manifest.digest.to_string();
        assert_eq!(registry.manifest("lib/multi", &digest).await?.bytes, image.manifest.bytes, "{architecture}");
        for blob in image.blobs() {
            registry.blob("lib/multi", &blob.digest.to_string()).await?;
        }
    }
    let middle = reference(&cluster, 1, "lib/multi:v1");
    home.run("skopeo", &["copy", "--all", "--src-tls-verify=false", &middle, "oci:back:v1"]).await?;
    let back = std::fs::read_to_string(home.path().join("back/index.json"))?;
    assert!(back.contains(&index.digest.to_string()) && back.contains(image::INDEX), "{back}");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_many_images_is_synchronised_in_and_out_again() -> Result<()> {
    if !tool::have("skopeo", "a_folder_of_many_images_is_synchronised_in_and_out_again") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let images: Vec<(String, Image)> =
        (0..MANY).map(|number| (format!("app-{number:02}"), Image::seeded(number, &[400_000, 3_000]))).collect();
    for (name, image) in &images {
        write_folder(&home.path().join(format!("many/{name}:v1")), image)?;
    }
    let near = at(&cluster, 0, "synced");
    home.run("skopeo", &["sync", "--src=dir", "--dest=docker", "--dest-tls-verify=false", "many", &near]).await?;

    // All of them at once out of another node, as its list says where they are.
    let far = at(&cluster, 2, "synced");
    let host = &cluster.nodes()[2].registry;
    let wanted: String = images.iter().map(|(name, _)| format!("    synced/{name}: []\n")).collect();
    let list = format!("\"{host}\":\n  tls-verify: false\n  images:\n{wanted}");
    std::fs::write(home.path().join("list.yaml"), list)?;
    home.run("skopeo", &["sync", "--src=yaml", "--dest=dir", "--scoped", "list.yaml", "back"]).await?;
    for (name, image) in &images {
        compare(&home.path().join(format!("back/{far}/{name}:v1")), image)?;
        cluster.registry(1).pull_and_compare(&format!("synced/{name}"), "v1", image).await?;
    }
    cluster.stop().await?;
    Ok(())
}
