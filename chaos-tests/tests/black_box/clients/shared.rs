//! What the tests of several clients share.

use portolan_chaos_tests::cluster::Cluster;
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, tool};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// What a command over a large image may take.
pub(super) const LONG: Duration = Duration::from_secs(300);

/// `host:port/name` of a node.
pub(super) fn at(cluster: &Cluster, node: usize, name: &str) -> String {
    format!("{}/{name}", cluster.nodes()[node].registry)
}

/// A layer of the files below a folder, made by the system's tar.
pub(super) async fn layer_of(root: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    let (root, archive) = (root.to_string_lossy(), file.path().to_string_lossy().into_owned());
    let mut command = vec!["-C", &root, "--sort=name", "--numeric-owner", "--mtime=@0", "-cf", &archive];
    command.extend(arguments);
    tool::run(LONG, "tar", &command).await?;
    Ok(std::fs::read(file.path())?)
}

/// A root file system that holds busybox and nothing else.
pub(super) async fn busybox(architecture: &str) -> Result<Image> {
    let root = TempDir::new()?;
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin)?;
    std::fs::copy("/bin/busybox", bin.join("busybox"))?;
    for applet in ["sh", "echo", "cat", "ls"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet))?;
    }
    Ok(Image::of_layers(&[layer_of(root.path(), &["."]).await?], architecture))
}

/// A digest and an artifact type for each manifest that refers to this one, as a node lists them, in its order.
pub(super) async fn referrers(
    cluster: &Cluster,
    node: usize,
    repo: &str,
    digest: &str,
) -> Result<Vec<(String, String)>> {
    let answer = cluster.registry(node).get(&format!("/v2/{repo}/referrers/{digest}")).await?;
    let index: Value = answer.error_for_status()?.json().await?;
    let entries = index["manifests"].as_array().ok_or_else(|| format!("no manifests in {index}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(entries.iter().map(|entry| (text(&entry["digest"]), text(&entry["artifactType"]))).collect())
}

/// A manifest's JSON, and its digest, as a node gives them.
pub(super) async fn manifest(cluster: &Cluster, node: usize, repo: &str, reference: &str) -> Result<(Value, String)> {
    let pulled = cluster.registry(node).manifest(repo, reference).await?;
    Ok((serde_json::from_slice(&pulled.bytes)?, pulled.digest))
}

/// Pulls a manifest and every blob that it names from a node, checks each digest, and gives the manifest's.
pub(super) async fn pull_whole(cluster: &Cluster, node: usize, repo: &str, reference: &str) -> Result<String> {
    let (manifest, digest) = manifest(cluster, node, repo, reference).await?;
    let config = manifest["config"]["digest"].as_str().ok_or_else(|| format!("no config in {manifest}"))?;
    for blob in layers(&manifest).iter().map(String::as_str).chain([config]) {
        cluster.registry(node).blob(repo, blob).await?;
    }
    Ok(digest)
}

/// The digests of a manifest's layers.
pub(super) fn layers(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    layers.filter_map(|layer| Some(layer["digest"].as_str()?.to_owned())).collect()
}
