//! Crane.

use super::shared::{at, busybox, layer_of, layers, manifest, pull_whole};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::tool::{self, Home};
use portolan_chaos_tests::{Result, layout};
use portolan_oci::Digest;
use serde_json::Value;

async fn crane(home: &Home, arguments: &[&str]) -> Result<String> {
    let output = home.run("crane", &[&["--insecure"], arguments].concat()).await?;
    Ok(output.trim().to_owned())
}

/// The digest at the end of `host/repo@sha256:…`, which crane prints of what it pushed.
fn digest_in(name: &str) -> &str {
    name.rsplit('@').next().unwrap_or(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crane_pushes_copies_lists_and_validates_across_regions() -> Result<()> {
    if !tool::have("crane", "crane_pushes_copies_lists_and_validates_across_regions") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    // The second's config says arm64 too: crane looks.
    std::fs::write(home.path().join("tmp/word"), "portolan")?;
    let other = Image::of_layers(&[layer_of(&home.path().join("tmp"), &["word"]).await?], "arm64");
    let images = [(busybox("amd64").await?, "amd64"), (other, "arm64")];
    let index = layout::write_index(&home.path().join("multi"), &images, "v1")?.digest.to_string();
    let pushed = crane(&home, &["push", "--index", "multi", &at(&cluster, 0, "lib/app:v1")]).await?;
    // The layout's own index.json, which holds ours.
    let outer = digest_in(&pushed).to_owned();
    let (held, _) = manifest(&cluster, 1, "lib/app", &outer).await?;
    assert_eq!(held["manifests"][0]["digest"], index.as_str(), "{held}");

    // By digest out of one node, into another repository by another one, and looked at by the third.
    let source = at(&cluster, 1, &format!("lib/app@{index}"));
    crane(&home, &["copy", &source, &at(&cluster, 2, "copied/app:v1")]).await?;
    let copied = at(&cluster, 0, "copied/app:v1");
    assert_eq!(crane(&home, &["digest", &copied]).await?, index);
    crane(&home, &["validate", "--remote", &copied]).await?;
    for (image, platform) in &images {
        let one = crane(&home, &["digest", "--platform", &format!("linux/{platform}"), &copied]).await?;
        assert_eq!(one, image.manifest.digest.to_string());
        pull_whole(&cluster, 0, "copied/app", &one).await?;
    }
    // A whole repository, tags and all.
    crane(&home, &["tag", &at(&cluster, 1, "copied/app:v1"), "stable"]).await?;
    crane(&home, &["copy", "--all-tags", &at(&cluster, 2, "copied/app"), &at(&cluster, 1, "all/app")]).await?;
    assert_eq!(crane(&home, &["ls", &at(&cluster, 0, "all/app")]).await?, "stable\nv1");
    assert_eq!(crane(&home, &["catalog", &cluster.nodes()[2].registry]).await?, "all/app\ncopied/app\nlib/app");

    // Out again as a layout, with the same bytes.
    crane(&home, &["pull", "--format", "oci", &at(&cluster, 2, "all/app:stable"), "back"]).await?;
    for blob in images.iter().flat_map(|(image, _)| image.blobs().chain([&image.manifest])) {
        let bytes = std::fs::read(home.path().join("back/blobs/sha256").join(blob.digest.hex()))?;
        assert!(bytes == blob.bytes, "{}", blob.digest);
    }

    crane(&home, &["delete", &at(&cluster, 0, &format!("copied/app@{index}"))]).await?;
    for node in 0..3 {
        let gone = crane(&home, &["manifest", &at(&cluster, node, "copied/app:stable")]).await;
        assert!(gone.is_err_and(|error| error.to_string().contains("MANIFEST_UNKNOWN")), "at node {node}");
    }
    crane(&home, &["validate", "--remote", &at(&cluster, 2, "all/app:v1")]).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crane_appends_to_and_mutates_what_another_region_holds() -> Result<()> {
    if !tool::have("crane", "crane_appends_to_and_mutates_what_another_region_holds") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let base = busybox("amd64").await?;
    cluster.registry(0).push("lib/app", "v1", &base).await?;
    let more = layer_of(&home.path().join("tmp"), &["."]).await?;
    std::fs::write(home.path().join("more.tar"), &more)?;

    // The base out of one node, the result into another.
    let (from, to) = (at(&cluster, 1, "lib/app:v1"), at(&cluster, 2, "lib/app:v2"));
    let appended = crane(&home, &["append", "--base", &from, "--new_layer", "more.tar", "--new_tag", &to]).await?;
    assert_eq!(pull_whole(&cluster, 0, "lib/app", "v2").await?, digest_in(&appended));
    let (two, _) = manifest(&cluster, 0, "lib/app", "v2").await?;
    assert_eq!(layers(&two)[0], base.layers[0].digest.to_string());
    let config: Value = serde_json::from_str(&crane(&home, &["config", &at(&cluster, 1, "lib/app:v2")]).await?)?;
    assert_eq!(config["rootfs"]["diff_ids"][1], Digest::sha256_of(&more).to_string().as_str(), "{config}");

    let (from, to) = (at(&cluster, 0, "lib/app:v2"), at(&cluster, 0, "lib/app:v3"));
    let change = ["--label", "made=here", "--annotation", "by=tests", "--env", "A=b", "--tag", &to, &from];
    let mutated = crane(&home, &[&["mutate"], &change[..]].concat()).await?;
    assert_eq!(pull_whole(&cluster, 2, "lib/app", "v3").await?, digest_in(&mutated));
    let (three, _) = manifest(&cluster, 1, "lib/app", "v3").await?;
    assert_eq!((layers(&three), &three["annotations"]["by"]), (layers(&two), &Value::from("tests")));
    let config: Value = serde_json::from_str(&crane(&home, &["config", &at(&cluster, 2, "lib/app:v3")]).await?)?;
    assert_eq!(config["config"]["Labels"]["made"], "here", "{config}");
    assert_eq!(crane(&home, &["ls", &at(&cluster, 1, "lib/app")]).await?, "v1\nv2\nv3");
    crane(&home, &["validate", "--remote", &at(&cluster, 1, "lib/app:v3")]).await?;
    cluster.stop().await?;
    Ok(())
}
