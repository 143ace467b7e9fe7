//! Cosign with keys of its own, offline: no transparency log, no certificate authority.

use super::shared::{at, referrers};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::{self, Image};
use portolan_chaos_tests::tool::{self, Home};
use portolan_chaos_tests::{Result, layout};
use serde_json::Value;

/// No services to sign with, and none to trust, instead of what cosign would fetch from the network.
const SIGN: [&str; 5] =
    ["--key=cosign.key", "--signing-config=services.json", "--trusted-root=root.json", HTTP, "--yes"];
const VERIFY: [&str; 4] = ["--key=cosign.pub", "--trusted-root=root.json", "--insecure-ignore-tlog", HTTP];
const HTTP: &str = "--allow-http-registry";

async fn cosign(home: &Home, arguments: &[&str], name: &str) -> Result<String> {
    home.run("cosign", &[arguments, &[name]].concat()).await
}

/// A home with a pair of keys, and another that signs nothing.
async fn home_with_keys() -> Result<Home> {
    let home = Home::new()?;
    home.run("cosign", &["generate-key-pair"]).await?;
    home.run("cosign", &["generate-key-pair", "--output-key-prefix=other"]).await?;
    home.run("cosign", &["signing-config", "create", "--out=services.json"]).await?;
    home.run("cosign", &["trusted-root", "create", "--out=root.json"]).await?;
    Ok(home)
}

/// The digest that a signature is for, as `cosign verify` prints it.
fn signed(verified: &str) -> Result<String> {
    let found: Value = serde_json::from_str(verified.trim())?;
    let digest = &found[0]["critical"]["image"]["docker-manifest-digest"];
    Ok(digest.as_str().ok_or_else(|| format!("no digest in {found}"))?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_holds_in_every_region_the_moment_it_is_made() -> Result<()> {
    if !tool::have("cosign", "a_signature_holds_in_every_region_the_moment_it_is_made") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = home_with_keys().await?;
    for number in 0..6_usize {
        let image = Image::seeded(number as u64, &[20_000]);
        let repo = format!("lib/app-{number}");
        let node = number % 3;
        cluster.registry(node).push(&repo, "v1", &image).await?;
        let digest = image.manifest.digest.to_string();
        let name = |node| at(&cluster, node, &format!("{repo}@{digest}"));
        let unsigned = cosign(&home, &[&["verify"], &VERIFY[..]].concat(), &name(node)).await;
        assert!(unsigned.is_err(), "not signed yet");
        cosign(&home, &[&["sign", "--annotations=made=here"], &SIGN[..]].concat(), &name(node)).await?;
        for other in [node + 1, node + 2, node].map(|node| node % 3) {
            assert_eq!(referrers(&cluster, other, &repo, &digest).await?.len(), 1, "at node {other}");
            let verify = [&["verify", "--annotations=made=here"], &VERIFY[..]].concat();
            assert_eq!(signed(&cosign(&home, &verify, &name(other)).await?)?, digest);
        }
        let by_other = ["verify", "--key=other.pub", VERIFY[1], VERIFY[2], HTTP];
        assert!(cosign(&home, &by_other, &name(2)).await.is_err(), "signed by nobody with that key");
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attestations_recursive_and_older_signatures_hold_in_other_regions() -> Result<()> {
    if !tool::have("cosign", "attestations_recursive_and_older_signatures_hold_in_other_regions") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = home_with_keys().await?;
    let images = [(Image::seeded(1, &[10_000]), "amd64"), (Image::seeded(2, &[10_000]), "arm64")];
    let index = layout::write_index(&home.path().join("unused"), &images, "v1")?;
    let registry = cluster.registry(0);
    for (image, _) in &images {
        registry.push("lib/multi", &image.manifest.digest.hex()[..8], image).await?;
    }
    registry.push_manifest("lib/multi", "v1", image::INDEX, &index).await?;
    let name = |node, digest: &str| at(&cluster, node, &format!("lib/multi@{digest}"));

    // An index, and each image that it names.
    let whole = index.digest.to_string();
    cosign(&home, &[&["sign", "--recursive"], &SIGN[..]].concat(), &name(1, &whole)).await?;
    let verify = [&["verify"], &VERIFY[..]].concat();
    for digest in images.iter().map(|(image, _)| &image.manifest.digest).chain([&index.digest]) {
        let digest = digest.to_string();
        assert_eq!(signed(&cosign(&home, &verify, &name(2, &digest)).await?)?, digest);
    }

    // A statement about an image.
    std::fs::write(home.path().join("statement.json"), "{\"reviewed\":\"by portolan\"}")?;
    let attest = [&["attest", "--type=custom", "--predicate=statement.json"], &SIGN[..]].concat();
    cosign(&home, &attest, &name(2, &whole)).await?;
    let verify = [&["verify-attestation", "--type=custom"], &VERIFY[..]].concat();
    let found: Value = serde_json::from_str(cosign(&home, &verify, &name(0, &whole)).await?.trim())?;
    assert_eq!(found["payloadType"], "application/vnd.in-toto+json", "{found}");
    let tree = cosign(&home, &["tree", HTTP], &name(1, &whole)).await?;
    assert!(tree.contains("https://cosign.sigstore.dev/attestation/v1"), "{tree}");

    // As cosign signed before it knew referrers: a tag beside the image.
    let image = images[0].0.manifest.digest.to_string();
    let older = ["--new-bundle-format=false", HTTP];
    let sign =
        [&["sign", "--key=cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes"], &older[..]];
    cosign(&home, &sign.concat(), &name(0, &image)).await?;
    let tag = format!("{}.sig", image.replace(':', "-"));
    cluster.registry(1).manifest("lib/multi", &tag).await?;
    let verify = [&["verify", "--key=cosign.pub", "--insecure-ignore-tlog"], &older[..]].concat();
    assert_eq!(signed(&cosign(&home, &verify, &name(2, &image)).await?)?, image);
    cluster.stop().await?;
    Ok(())
}
