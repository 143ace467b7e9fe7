//! Regctl.

use super::shared::{at, referrers};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::tool::{self, Home};
use portolan_chaos_tests::{Result, layout};

async fn regctl(home: &Home, arguments: &[&str]) -> Result<String> {
    Ok(home.run("regctl", arguments).await?.trim().to_owned())
}

/// A home whose regctl speaks plain HTTP to every node.
async fn home_for(cluster: &Cluster) -> Result<Home> {
    let home = Home::new()?;
    for node in cluster.nodes() {
        regctl(&home, &["registry", "set", "--tls", "disabled", "--skip-check", &node.registry]).await?;
    }
    Ok(home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regctl_copies_images_with_their_referrers_across_regions() -> Result<()> {
    if !tool::have("regctl", "regctl_copies_images_with_their_referrers_across_regions") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = home_for(&cluster).await?;
    let image = Image::seeded(11, &[1_500_000, 40_000]);
    let subject = image.manifest.digest.to_string();
    layout::write_image(&home.path().join("one"), &image, "v1")?;
    regctl(&home, &["image", "copy", "ocidir://one:v1", &at(&cluster, 0, "lib/app:v1")]).await?;
    cluster.registry(2).pull_and_compare("lib/app", "v1", &image).await?;

    std::fs::write(home.path().join("list.json"), "{\"packages\":[]}")?;
    let far = at(&cluster, 1, "lib/app:v1");
    let put = ["artifact", "put", "--artifact-type=test/list", "--file=list.json", "--subject", &far];
    let list = regctl(&home, &[&put[..], &["--format={{.Manifest.GetDescriptor.Digest}}"]].concat()).await?;
    let wanted = vec![(list.clone(), "test/list".to_owned())];
    for node in 0..3 {
        assert_eq!(referrers(&cluster, node, "lib/app", &subject).await?, wanted, "at node {node}");
    }

    let copy = ["image", "copy", "--referrers", "--digest-tags"];
    let (from, to) = (at(&cluster, 2, "lib/app:v1"), at(&cluster, 1, "copied/app:v1"));
    regctl(&home, &[&copy[..], &[&from, &to]].concat()).await?;
    assert_eq!(referrers(&cluster, 0, "copied/app", &subject).await?, wanted);
    regctl(&home, &[&copy[..], &[&at(&cluster, 0, "copied/app:v1"), "ocidir://back:v1"]].concat()).await?;
    regctl(&home, &[&copy[..], &["ocidir://back:v1", &at(&cluster, 2, "again/app:v1")]].concat()).await?;
    assert_eq!(referrers(&cluster, 1, "again/app", &subject).await?, wanted);
    cluster.registry(0).pull_and_compare("again/app", "v1", &image).await?;
    let tree = regctl(&home, &["artifact", "tree", &at(&cluster, 0, "again/app:v1")]).await?;
    assert!(tree.contains(&format!("{list}: test/list")), "{tree}");
    let text = regctl(&home, &["artifact", "get", "--subject", &at(&cluster, 1, "again/app:v1")]).await?;
    assert_eq!(text, "{\"packages\":[]}");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regctl_lists_and_removes_tags_and_reads_blobs_across_regions() -> Result<()> {
    if !tool::have("regctl", "regctl_lists_and_removes_tags_and_reads_blobs_across_regions") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = home_for(&cluster).await?;
    let image = Image::seeded(12, &[600_000]);
    for tag in ["v1", "v2", "v3"] {
        cluster.registry(0).push("lib/app", tag, &image).await?;
    }
    assert_eq!(regctl(&home, &["tag", "ls", &at(&cluster, 2, "lib/app")]).await?, "v1\nv2\nv3");
    let page = regctl(&home, &["tag", "ls", "--limit=1", "--last=v1", &at(&cluster, 2, "lib/app")]).await?;
    assert_eq!(page, "v2");
    regctl(&home, &["tag", "rm", &at(&cluster, 1, "lib/app:v2")]).await?;
    for node in 0..3 {
        assert_eq!(regctl(&home, &["tag", "ls", &at(&cluster, node, "lib/app")]).await?, "v1\nv3", "at node {node}");
        // The tag alone went: the manifest has others.
        cluster.registry(node).pull_and_compare("lib/app", "v3", &image).await?;
    }
    assert_eq!(regctl(&home, &["repo", "ls", &cluster.nodes()[2].registry]).await?, "lib/app");

    let layer = &image.layers[0];
    let digest = layer.digest.to_string();
    let (near, far) = (at(&cluster, 1, "lib/app"), at(&cluster, 2, "lib/app"));
    let head = regctl(&home, &["blob", "head", &far, &digest]).await?;
    assert!(head.contains(&format!("Content-Length: {}", layer.bytes.len())) && head.contains(&digest), "{head}");
    assert!(home.bytes("regctl", &["blob", "get", &far, &digest]).await? == layer.bytes);

    // In several requests, at one node; then read at another.
    let blob = Blob::new((0..5_000_000_u32).map(|at| (at % 251) as u8).collect());
    std::fs::write(home.path().join("blob"), &blob.bytes)?;
    let host = &cluster.nodes()[1].registry;
    regctl(&home, &["registry", "set", "--blob-chunk=1000000", "--blob-max=1500000", "--skip-check", host]).await?;
    let put = home.feed("blob", "regctl", &["blob", "put", &near]).await?;
    assert_eq!(put.trim(), blob.digest.to_string());
    assert!(home.bytes("regctl", &["blob", "get", &far, put.trim()]).await? == blob.bytes);
    cluster.stop().await?;
    Ok(())
}
