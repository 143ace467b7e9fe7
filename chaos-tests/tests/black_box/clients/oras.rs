//! ORAS: artifacts, and what is attached to them.

use super::shared::{at, manifest, referrers};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::Blob;
use portolan_chaos_tests::tool::{self, Home};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::Value;

/// Attachments in a row, each looked for at once.
const ATTACHMENTS: usize = 12;

async fn oras(home: &Home, arguments: &[&str]) -> Result<String> {
    Ok(home.run("oras", arguments).await?.trim().to_owned())
}

/// Pushes or attaches, and gives the digest of the manifest that it made.
async fn made(home: &Home, arguments: &[&str]) -> Result<String> {
    let (command, rest) = arguments.split_at(1);
    oras(home, &[command, &["--plain-http", "--format=go-template", "--template={{.digest}}"], rest].concat()).await
}

/// What `oras discover` prints, as `type(children)` from the top down, in the registry's order.
fn tree(node: &Value) -> String {
    let children: Vec<String> = node["referrers"].as_array().into_iter().flatten().map(tree).collect();
    format!("{}({})", node["artifactType"].as_str().unwrap_or("subject"), children.join(" "))
}

/// A file of random bytes in the home.
fn write_random(home: &Home, name: &str, size: usize) -> Result<Blob> {
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(size as u64).fill_bytes(&mut bytes);
    std::fs::write(home.path().join(name), &bytes)?;
    Ok(Blob::new(bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oras_attaches_and_nested_attachments_are_seen_everywhere_at_once() -> Result<()> {
    if !tool::have("oras", "oras_attaches_and_nested_attachments_are_seen_everywhere_at_once") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    write_random(&home, "data.bin", 3_000_000)?;
    write_random(&home, "small.bin", 300)?;
    let first = at(&cluster, 0, "lib/art:v1");
    let subject = made(&home, &["push", "--artifact-type=test/subject", &first, "data.bin", "small.bin"]).await?;
    let report = made(&home, &["attach", "--artifact-type=test/report", &first, "small.bin"]).await?;
    let second = at(&cluster, 1, &format!("lib/art@{report}"));
    let note = made(&home, &["attach", "--artifact-type=test/note", "--annotation=a=b", &second]).await?;
    for node in 0..3 {
        let under = |digest: &str, kind: &str| vec![(digest.to_owned(), kind.to_owned())];
        assert_eq!(referrers(&cluster, node, "lib/art", &subject).await?, under(&report, "test/report"));
        assert_eq!(referrers(&cluster, node, "lib/art", &report).await?, under(&note, "test/note"));
        let name = at(&cluster, node, "lib/art:v1");
        let found = oras(&home, &["discover", "--plain-http", "--format=json", &name]).await?;
        assert_eq!(tree(&serde_json::from_str(&found)?), "subject(test/report(test/note()))", "at node {node}");
    }

    // Everything below the artifact into another repository, into a file, and out of it again, by other nodes.
    let (from, to) = (at(&cluster, 1, "lib/art:v1"), at(&cluster, 2, "copied/art:v1"));
    oras(&home, &["cp", "--from-plain-http", "--to-plain-http", "--recursive", "--no-tty", &from, &to]).await?;
    assert_eq!(referrers(&cluster, 0, "copied/art", &report).await?, referrers(&cluster, 1, "lib/art", &report).await?);
    let source = at(&cluster, 0, "copied/art:v1");
    oras(&home, &["backup", "--plain-http", "--no-tty", "--include-referrers", "--output=kept.tar", &source]).await?;
    let target = at(&cluster, 1, "restored/art:v1");
    oras(&home, &["restore", "--plain-http", "--no-tty", "--input=kept.tar", &target]).await?;
    assert_eq!(referrers(&cluster, 2, "restored/art", &report).await?[0].0, note);

    for repo in ["lib/art", "copied/art", "restored/art"] {
        let far = at(&cluster, 2, &format!("{repo}:v1"));
        oras(&home, &["pull", "--plain-http", "--no-tty", "--output=back", &far]).await?;
        for name in ["data.bin", "small.bin"] {
            let (sent, back) = (home.path().join(name), home.path().join("back").join(name));
            assert!(std::fs::read(sent)? == std::fs::read(&back)?, "{name} of {repo}");
            std::fs::remove_file(back)?;
        }
    }

    for number in 0..ATTACHMENTS {
        let name = at(&cluster, number % 3, "lib/art:v1");
        let note = format!("--annotation=number={number}");
        let attached = made(&home, &["attach", "--artifact-type=test/row", &note, &name]).await?;
        for node in [number + 1, number + 2, number].map(|node| node % 3) {
            let seen = referrers(&cluster, node, "lib/art", &subject).await?;
            assert!(seen.iter().any(|(digest, _)| *digest == attached), "attachment {number} at node {node}");
        }
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_of_the_tag_scheme_are_listed_with_the_others() -> Result<()> {
    if !tool::have("oras", "attachments_of_the_tag_scheme_are_listed_with_the_others") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    write_random(&home, "small.bin", 300)?;
    let name = at(&cluster, 0, "lib/art:v1");
    let subject = made(&home, &["push", "--artifact-type=test/subject", &name, "small.bin"]).await?;
    // As clients did before registries listed referrers: an index under a tag that the subject's digest names.
    let scheme = "--distribution-spec=v1.1-referrers-tag";
    let old = made(&home, &["attach", "--artifact-type=test/old", scheme, "--annotation=a=b", &name]).await?;
    let name = at(&cluster, 1, "lib/art:v1");
    let new = made(&home, &["attach", "--artifact-type=test/new", "--annotation=a=b", &name]).await?;
    let mut both = vec![(old, "test/old".to_owned()), (new, "test/new".to_owned())];
    both.sort();
    for node in 0..3 {
        let mut seen = referrers(&cluster, node, "lib/art", &subject).await?;
        seen.sort();
        assert_eq!(seen, both, "at node {node}");
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oras_blob_and_manifest_commands_agree_across_regions() -> Result<()> {
    if !tool::have("oras", "oras_blob_and_manifest_commands_agree_across_regions") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let home = Home::new()?;
    let blob = write_random(&home, "data.bin", 2_000_000)?;
    let repo = |node| at(&cluster, node, "lib/parts");
    let named = |node, reference: &str| format!("{}@{reference}", repo(node));

    oras(&home, &["blob", "push", "--plain-http", "--no-tty", &repo(0), "data.bin"]).await?;
    let digest = blob.digest.to_string();
    let known = oras(&home, &["blob", "fetch", "--plain-http", "--descriptor", &named(1, &digest)]).await?;
    assert_eq!(serde_json::from_str::<Value>(&known)?["size"], blob.bytes.len(), "{known}");
    oras(&home, &["blob", "fetch", "--plain-http", "--no-tty", "--output=back.bin", &named(2, &digest)]).await?;
    assert!(std::fs::read(home.path().join("back.bin"))? == blob.bytes);

    std::fs::write(home.path().join("empty.json"), "{}")?;
    oras(&home, &["blob", "push", "--plain-http", "--no-tty", &repo(1), "empty.json"]).await?;
    let text = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": portolan_chaos_tests::image::MANIFEST,
        "artifactType": "test/parts",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Blob::new(b"{}".to_vec()).digest.to_string(),
            "size": 2,
        },
        "layers": [{"mediaType": "application/octet-stream", "digest": digest, "size": blob.bytes.len()}],
    });
    std::fs::write(home.path().join("manifest.json"), text.to_string())?;
    let wanted = Blob::new(text.to_string().into_bytes());
    oras(&home, &["manifest", "push", "--plain-http", &format!("{}:v1,v2", repo(2)), "manifest.json"]).await?;
    for node in 0..3 {
        let v2 = format!("{}:v2", repo(node));
        assert_eq!(oras(&home, &["resolve", "--plain-http", &v2]).await?, wanted.digest.to_string());
        let bytes = home.bytes("oras", &["manifest", "fetch", "--plain-http", &v2]).await?;
        assert!(bytes == wanted.bytes, "{}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(oras(&home, &["manifest", "fetch-config", "--plain-http", &format!("{}:v1", repo(0))]).await?, "{}");
    oras(&home, &["tag", "--plain-http", &format!("{}:v1", repo(1)), "latest"]).await?;
    assert_eq!(oras(&home, &["repo", "tags", "--plain-http", &repo(2)]).await?, "latest\nv1\nv2");
    assert_eq!(oras(&home, &["repo", "ls", "--plain-http", &cluster.nodes()[1].registry]).await?, "lib/parts");

    // A blob stays while a manifest names it, and goes after it.
    let delete = ["blob", "delete", "--plain-http", "--force", &named(1, &digest)];
    let refused = oras(&home, &delete).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("refer to the blob")));
    let index = ["manifest", "index", "create", "--plain-http", &format!("{}:multi", repo(0)), "v1"];
    oras(&home, &index).await?;
    let (multi, multi_digest) = manifest(&cluster, 1, "lib/parts", "multi").await?;
    assert_eq!(multi["manifests"][0]["digest"], wanted.digest.to_string().as_str());
    for gone in [multi_digest, wanted.digest.to_string()] {
        oras(&home, &["manifest", "delete", "--plain-http", "--force", &named(0, &gone)]).await?;
        for node in 0..3 {
            let found = oras(&home, &["manifest", "fetch", "--plain-http", &named(node, &gone)]).await;
            assert!(found.is_err_and(|error| error.to_string().contains("not found")), "{gone} at node {node}");
        }
    }
    assert_eq!(oras(&home, &["repo", "tags", "--plain-http", &repo(1)]).await?, "");
    oras(&home, &delete).await?;
    let fetch = ["blob", "fetch", "--plain-http", "--descriptor", &named(2, &digest)];
    assert!(oras(&home, &fetch).await.is_err_and(|error| error.to_string().contains("not found")));
    cluster.stop().await?;
    Ok(())
}
