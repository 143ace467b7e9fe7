//! What an operator and a CI job type: `portolan repo`, `portolan image`, `portolan tag`, `portolan rpo`, against a cluster
//! of three regions.

use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::cluster::{Cluster, Options, binary};
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::{Result, wait};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

/// How long one run of the program may take.
const WITHIN: Duration = Duration::from_secs(90);
const EU: usize = 0;
const US: usize = 1;
const AP: usize = 2;

/// What a run of the program came to.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// Its output, if it went well.
    fn done(self) -> Result<String> {
        if self.code == Some(0) {
            Ok(self.out)
        } else {
            Err(format!("{:?}: {}{}", self.code, self.out, self.err).into())
        }
    }

    fn json(self) -> Result<Value> {
        Ok(serde_json::from_str(&self.done()?)?)
    }
}

/// The program, with nothing of the environment that would change what it does.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for variable in ["PORTOLAN_SERVER", "PORTOLAN_ADMIN_TOKEN_FILE", "PORTOLAN_NODE_DATA_DIR"] {
        command.env_remove(variable);
    }
    command
}

async fn portolan(arguments: &[&str]) -> Result<Ran> {
    ran(program(arguments)).await
}

async fn ran(mut command: Command) -> Result<Ran> {
    let output = tokio::time::timeout(WITHIN, command.output()).await??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) })
}

/// Runs it against a node, by `--server`.
async fn at(cluster: &Cluster, node: usize, arguments: &[&str]) -> Result<Ran> {
    let server = cluster.nodes()[node].registry.as_str();
    portolan(&[arguments, &["--server", server]].concat()).await
}

/// `repo set` with the admin token of that node.
async fn set(cluster: &Cluster, node: usize, arguments: &[&str]) -> Result<Ran> {
    let token = cluster.nodes()[node].data.join("admin.token");
    let token = token.to_str().ok_or("a path that is not UTF-8")?;
    at(cluster, node, &[&["repo", "set"], arguments, &["--token-file", token]].concat()).await
}

fn region<'a>(report: &'a Value, name: &str) -> &'a Value {
    let regions = report["regions"].as_array().into_iter().flatten();
    regions.into_iter().find(|region| region["region"] == name).unwrap_or(&Value::Null)
}

/// The status of an image once it is as it should be.
async fn status_until(cluster: &Cluster, image: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until("the image's status", WITHIN, async || {
        let ran = at(cluster, AP, &["image", "status", image, "--json"]).await.map_err(|error| error.to_string())?;
        let report = ran.json().map_err(|error| error.to_string())?;
        if wanted(&report) { Ok(report) } else { Err(report.to_string()) }
    })
    .await
}

/// A cluster that lets go of copies that nothing wants as soon as it can.
fn eager() -> Options {
    let environment = vec![
        ("PORTOLAN_REPLICATION_SURPLUS_KEEP_MS", "1000".to_owned()),
        ("PORTOLAN_REPLICATION_RECLAIM_MS", "500".to_owned()),
    ];
    Options { environment, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_narrows_and_widens_where_images_lie() -> Result<()> {
    let mut cluster = Cluster::start(eager()).await?;
    let said = set(&cluster, EU, &["team/prod", "--regions", "eu-west,us-east"]).await?.done()?;
    assert!(said.contains("team/prod") && said.contains("inherited -> eu-west,us-east"), "{said}");
    let said = set(&cluster, US, &["team/prod", "--tag-reads", "bounded:2s"]).await?.done()?;
    assert!(said.contains("inherited -> bounded:2s") && !said.contains("eu-west,us-east ->"), "{said}");
    let shown = at(&cluster, AP, &["repo", "show", "team/prod/app"]).await?.done()?;
    for line in ["regions", "eu-west,us-east", "bounded:2s", "team/prod"] {
        assert!(shown.contains(line), "{shown}");
    }

    let image = Image::seeded(1, &[300_000]);
    cluster.registry(EU).push("team/prod/app", "v1", &image).await?;
    let name = "team/prod/app:v1";
    at(&cluster, AP, &["image", "wait", name, "--regions", "us-east", "--timeout", "60s"]).await?.done()?;
    let report = at(&cluster, US, &["image", "status", name, "--json"]).await?.json()?;
    let south = region(&report, "ap-south");
    assert_eq!((&south["copies"], &south["blobs"], &report["done"]), (&json!(0), &json!(0), &json!(true)), "{report}");
    let refused = at(&cluster, AP, &["image", "wait", name, "--regions", "ap-south", "--timeout", "60s"]).await?;
    assert!(refused.code == Some(1) && refused.err.contains("REGION_UNWANTED"), "{:?} {}", refused.code, refused.err);

    // Wider: what is there already is copied, without anybody pushing it again.
    set(&cluster, EU, &["team/prod", "--inherit", "regions"]).await?.done()?;
    let said = at(&cluster, US, &["image", "wait", name, "--regions", "ap-south", "--timeout", "60s"]).await?.done()?;
    assert!(said.contains("is durable in ap-south"), "{said}");

    // Narrower: what lies elsewhere goes.
    set(&cluster, AP, &["team/prod", "--never-outside", "eu-west"]).await?.done()?;
    let gone = |report: &Value| ["us-east", "ap-south"].iter().all(|name| region(report, name)["blobs"] == 0);
    let report = status_until(&cluster, name, gone).await?;
    assert_eq!(region(&report, "eu-west")["done"], json!(true), "{report}");
    cluster.registry(AP).pull_and_compare("team/prod/app", "v1", &image).await?;
    let all = at(&cluster, EU, &["repo", "ls"]).await?.done()?;
    assert!(all.contains("never outside eu-west") && all.contains("team/prod/app"), "{all}");
    let all = at(&cluster, EU, &["repo", "ls", "--json"]).await?.json()?;
    assert_eq!(all["prefixes"][0]["settings"]["regions"], json!({"never_outside": ["eu-west"]}), "{all}");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_be_are_refused_in_words_and_with_a_code() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    for (arguments, code, says) in [
        (&["a", "--regions", "eu-west,mars"][..], 1, "there are ap-south, eu-west, us-east"),
        (&["a", "--copies", "0"], 1, "give 1 to"),
        (&["a", "--ack-regions", "1", "--ack-copies", "3"], 1, "raise copies"),
        (&["a", "--ack-regions", "4", "--ack-copies", "1"], 1, "lower ack.regions"),
        (&["a", "--ack-regions", "2"], 2, "belong together"),
        (&["a"], 2, "nothing is to be set"),
        (&["a", "--tag-reads", "bounded:2h"], 1, "7200000 ms"),
        (&["A", "--copies", "1"], 1, "upper-case"),
    ] {
        let ran = set(&cluster, EU, arguments).await?;
        assert!(ran.code == Some(code) && ran.err.contains(says), "{arguments:?}: {:?} {}", ran.code, ran.err);
    }
    // Another node's token, and none at all: a folder without `portolan-dev` is where this runs.
    let other = cluster.nodes()[US].data.join("admin.token");
    let other = other.to_str().ok_or("a path that is not UTF-8")?;
    for more in [&["--token-file", other][..], &[]] {
        let ran = at(&cluster, EU, &[&["repo", "set", "a", "--copies", "1"], more].concat()).await?;
        assert!(ran.code == Some(1) && ran.err.contains("admin token"), "{more:?}: {:?} {}", ran.code, ran.err);
    }
    let all = at(&cluster, EU, &["repo", "ls", "--json"]).await?.json()?;
    assert_eq!(all["prefixes"], json!([]));
    // What a region lacks nodes for may come with them.
    let said = set(&cluster, EU, &["b", "--copies", "2"]).await?.done()?;
    assert!(said.contains("warning: fewer than 2 full nodes in ap-south, eu-west, us-east"), "{said}");
    let nothing = set(&cluster, EU, &["a", "--inherit", "copies", "--json"]).await?.json()?;
    assert_eq!((&nothing["prefix"], &nothing["before"]["copies"]), (&json!("a"), &Value::Null), "{nothing}");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_lies_on_the_machine_goes_to_its_own_node_only() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let server = cluster.nodes()[EU].registry.clone();
    for (node, code, says) in [(US, Some(1), "its folder is another node's"), (EU, Some(0), "")] {
        let mut command = program(&["repo", "set", "a", "--copies", "1", "--server", &server]);
        command.env("PORTOLAN_NODE_DATA_DIR", &cluster.nodes()[node].data);
        let ran = ran(command).await?;
        assert!(ran.code == code && ran.err.contains(says), "{:?} {}", ran.code, ran.err);
    }
    cluster.stop().await?;
    Ok(())
}

/// What a watch tells until one that is wanted, or until it ends.
async fn pictures(lines: &mut Lines<BufReader<ChildStdout>>, wanted: usize) -> Result<Vec<Value>> {
    let mut told = Vec::new();
    while told.len() < wanted
        && let Some(line) = tokio::time::timeout(WITHIN, lines.next_line()).await??
    {
        told.push(serde_json::from_str(&line)?);
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_region_shows_while_it_is_cut_off_is_marked_and_ends_no_watch() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let image = Image::seeded(6, &[200_000]);
    cluster.registry(EU).push("cut/app", "v1", &image).await?;
    at(&cluster, US, &["image", "wait", "cut/app:v1", "--timeout", "60s"]).await?.done()?;
    wait::until("an answer that is not stale", WITHIN, async || {
        let shown = at(&cluster, US, &["repo", "show", "cut/app"]).await.and_then(Ran::done);
        let shown = shown.map_err(|error| error.to_string())?;
        if shown.contains("warning") { Err(shown) } else { Ok(()) }
    })
    .await?;
    for away in [EU, AP] {
        cluster.kill(away).await?;
    }
    let by_digest = format!("cut/app@{}", image.manifest.digest);
    for arguments in [
        &["image", "status", "cut/app:v1"][..],
        &["image", "status", &by_digest],
        &["tag", "history", "cut/app:v1"],
        &["repo", "show", "cut/app"],
        &["repo", "ls"],
    ] {
        let text = at(&cluster, US, arguments).await?.done()?;
        assert!(text.contains("warning:") && text.contains("out of date (confirmed "), "{arguments:?}: {text}");
        let json = at(&cluster, US, &[arguments, &["--json"]].concat()).await?.json()?;
        assert!(json["stale_ms"].is_u64(), "{arguments:?}: {json}");
    }
    let late = at(&cluster, US, &["image", "wait", &by_digest, "--timeout", "2s"]).await?;
    assert!(late.code == Some(1) && late.err.contains("no leader has confirmed it"), "{:?} {}", late.code, late.err);

    let server = cluster.nodes()[US].registry.clone();
    let mut command = program(&["image", "status", "cut/app:v1", "--watch", "--json", "--server", &server]);
    let mut watch = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().ok_or("no output")?).lines();
    for picture in pictures(&mut lines, 3).await? {
        assert!(picture["done"] == true && picture["stale_ms"].is_u64(), "{picture}");
    }
    for away in [EU, AP] {
        cluster.restart(away)?;
    }
    let rest = pictures(&mut lines, usize::MAX).await?;
    let last = rest.last().ok_or("the watch ended while its region was cut off")?;
    assert_eq!((&last["done"], last.get("stale_ms")), (&json!(true), Some(&Value::Null)), "{rest:?}");
    assert_eq!(watch.wait().await?.code(), Some(0));
    cluster.stop().await?;
    Ok(())
}

/// Signs an image: a manifest that refers to it, with a blob of its own.
async fn sign(registry: &Registry, repo: &str, image: &Image) -> Result<()> {
    let (empty, signature) = (Blob::new(b"{}".to_vec()), Blob::new(vec![7; 50_000]));
    for blob in [&empty, &signature] {
        registry.push_blob(repo, blob).await?;
    }
    let entry = |blob: &Blob, kind: &str| json!({"mediaType": kind, "digest": blob.digest, "size": blob.bytes.len()});
    let kind = portolan_chaos_tests::image::MANIFEST;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "artifactType": "application/vnd.test.signature",
        "config": entry(&empty, "application/vnd.oci.empty.v1+json"),
        "layers": [entry(&signature, "application/octet-stream")],
        "subject": entry(&image.manifest, kind),
    });
    let manifest = Blob::new(manifest.to_string().into_bytes());
    registry.push_manifest(repo, &manifest.digest.to_string(), kind, &manifest).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ci_job_waits_until_the_image_and_its_signature_are_where_they_run() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.kill(AP).await?;
    let image = Image::seeded(2, &[4_000_000, 200_000]);
    let registry = cluster.registry(EU);
    // Whoever was killed may have led.
    wait::until("a push", WITHIN, async || {
        registry.push("ci/app", "v1", &image).await.map_err(|error| error.to_string())
    })
    .await?;
    sign(&registry, "ci/app", &image).await?;
    let reference = format!("{}/ci/app:v1", cluster.nodes()[US].registry);

    // The host of the reference is asked; what is missing is told, with exit 1.
    let late = portolan(&["image", "wait", &reference, "--regions", "us-east,ap-south", "--timeout", "2s"]).await?;
    assert_eq!(late.code, Some(1), "{}{}", late.out, late.err);
    assert!(late.err.contains("ci/app:v1 is not durable in ap-south"), "{}", late.err);
    assert!(late.out.contains("0 of 5") && late.out.contains("2 manifests"), "{}", late.out);
    let status = portolan(&["image", "status", &reference]).await?.done()?;
    assert!(status.contains("ap-south") && status.contains(&image.manifest.digest.to_string()), "{status}");

    // One waits, one watches, while it is copied.
    let wait = ["image", "wait", &reference, "--regions", "us-east,ap-south", "--timeout", "80s"];
    let watch = ["image", "status", &reference, "--watch", "--json"];
    let (waited, watched, started) = tokio::join!(portolan(&wait), portolan(&watch), async {
        cluster.restart(AP)?;
        cluster.wait_ready(AP).await
    });
    started?;
    let waited = waited?.done()?;
    assert!(waited.contains("is durable in ap-south, us-east"), "{waited}");
    let pictures = watched?.done()?;
    let pictures: Vec<Value> = pictures.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let (first, last) = (&pictures[0], pictures.last().ok_or("no picture")?);
    assert_eq!((&first["done"], &last["done"]), (&json!(false), &json!(true)), "{pictures:?}");
    assert_eq!(region(last, "ap-south")["blobs"], json!(5), "{last}");
    let lines = portolan(&["image", "status", &reference, "--watch"]).await?.done()?;
    assert!(lines.contains("ap-south: 5 of 5 blobs") && lines.contains("everywhere"), "{lines}");

    // A name that begins like a host is a repository's before it is a registry's.
    registry.push("ghcr.io/ci/app", "v1", &Image::seeded(7, &[1_000])).await?;
    for (name, want) in [("ghcr.io/ci/app:v1", "ghcr.io/ci/app"), ("quay.io/ci/app:v1", "ci/app")] {
        let report = at(&cluster, EU, &["image", "status", name, "--json"]).await?.json()?;
        assert_eq!(report["repository"], want, "{name}: {report}");
    }
    for (arguments, code, says) in [
        (&["image", "wait", "ci/app:v2"][..], 1, "MANIFEST_UNKNOWN"),
        (&["image", "status", "ci/none"], 1, "NAME_UNKNOWN"),
        (&["image", "wait", "ci/app:v1", "--regions", "mars"], 1, "there are ap-south, eu-west, us-east"),
        (&["image", "status", "CI/app"], 2, "names no image"),
        (&["image", "wait", "ci/app:v1", "--regions", ""], 2, "names of regions"),
    ] {
        let ran = at(&cluster, EU, arguments).await?;
        assert!(ran.code == Some(code) && ran.err.contains(says), "{arguments:?}: {:?} {}", ran.code, ran.err);
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_tells_where_it_pointed_also_when_it_is_gone() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let (old, new) = (Image::seeded(8, &[1_000]), Image::seeded(9, &[1_000]));
    for image in [&old, &new] {
        cluster.registry(EU).push("team/app", "v1", image).await?;
    }
    let reference = format!("{}/team/app:v1", cluster.nodes()[US].registry);
    let text = portolan(&["tag", "history", &reference]).await?.done()?;
    let lines: Vec<&str> = text.lines().map(str::trim).skip_while(|line| !line.starts_with("REVISION")).collect();
    for (line, begin, image, end) in [(1, "2 ", &new, "current"), (2, "1 ", &old, "anonymous")] {
        let line = lines.get(line).copied().unwrap_or_default();
        let digest = image.manifest.digest.to_string();
        assert!(line.starts_with(begin) && line.contains(&digest) && line.ends_with(end), "{text}");
    }
    let manifest = format!("http://{}/v2/team/app/manifests/v1", cluster.nodes()[EU].registry);
    reqwest::Client::new().delete(manifest).timeout(WITHIN).send().await?.error_for_status()?;
    let text = at(&cluster, AP, &["tag", "history", "team/app:v1"]).await?.done()?;
    assert!(text.starts_with("team/app:v1   removed") && !text.contains("current"), "{text}");
    let history = at(&cluster, AP, &["tag", "history", "team/app:v1", "--json"]).await?.json()?;
    let digests: Vec<&Value> = history["moves"].as_array().into_iter().flatten().map(|one| &one["digest"]).collect();
    let want = [Value::Null, json!(new.manifest.digest), json!(old.manifest.digest)];
    assert_eq!(digests, want.iter().collect::<Vec<_>>(), "{history}");
    let by_digest = format!("team/app@{}", old.manifest.digest);
    for (image, code, says) in [
        ("team/app:v2", 1, "team/app has never had a tag v2"),
        ("team/none", 1, "NAME_UNKNOWN"),
        (&by_digest, 2, "only tags have a history"),
    ] {
        let ran = at(&cluster, EU, &["tag", "history", image]).await?;
        assert!(ran.code == Some(code) && ran.err.contains(says), "{image}: {:?} {}", ran.code, ran.err);
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_region_alone_holds_is_named_until_another_has_it() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    set(&cluster, EU, &["alone", "--regions", "eu-west"]).await?.done()?;
    let image = Image::seeded(3, &[500_000]);
    cluster.registry(EU).push("alone/app", "v1", &image).await?;
    cluster.registry(EU).push("shared/app", "v1", &Image::seeded(4, &[1_000])).await?;
    let rpo = async |node: usize, wanted: &(dyn Fn(&Value) -> bool + Sync)| {
        wait::until("the rpo", WITHIN, async || {
            let ran = at(&cluster, node, &["rpo", "--json"]).await.map_err(|error| error.to_string())?;
            let report = ran.json().map_err(|error| error.to_string())?;
            if wanted(&report) { Ok(report) } else { Err(report.to_string()) }
        })
        .await
    };
    let alone = |report: &Value| {
        report["incomplete"] == false && region(report, "eu-west")["images"] == json!(["alone/app:v1"])
    };
    for node in [EU, US, AP] {
        let report = rpo(node, &alone).await?;
        let west = region(&report, "eu-west");
        assert_eq!((&west["blobs"], &region(&report, "us-east")["blobs"]), (&json!(2), &json!(0)), "{report}");
        assert!(west["bytes"].as_u64() > Some(500_000) && west["oldest_ms"].is_u64(), "{report}");
    }
    let text = at(&cluster, AP, &["rpo"]).await?.done()?;
    assert!(text.contains("only in eu-west:\n  alone/app:v1") && !text.contains("shared"), "{text}");
    set(&cluster, US, &["alone", "--inherit", "regions"]).await?.done()?;
    rpo(AP, &|report: &Value| region(report, "eu-west")["blobs"] == 0).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_image_is_copied_its_status_tells_how_fast_and_from_where() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let token = cluster.nodes()[EU].data.join("admin.token");
    let token = token.to_str().ok_or("a path that is not UTF-8")?;
    let limit = |rate: &'static str| ["bandwidth", "set", rate, "--token-file", token];
    let said = at(&cluster, EU, &limit("2MB")).await?.done()?;
    assert!(said.contains("2.0 MB/s"), "{said}");
    cluster.registry(EU).push("slow/app", "v1", &Image::seeded(5, &[30_000_000])).await?;
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let coming = |report: &Value| {
        let south = region(report, "ap-south");
        number(&south["received_bytes"]) > 0 && number(&south["bytes_per_second"]) > 0 && number(&south["eta_ms"]) > 0
    };
    let report = status_until(&cluster, "slow/app:v1", coming).await?;
    let south = region(&report, "ap-south");
    assert!(number(&south["bytes_per_second"]) < 6_000_000, "{south}");
    assert!(number(&south["received_bytes"]) <= number(&south["missing_bytes"]), "{south}");
    let sources = south["sources"].as_array().ok_or("no sources")?;
    assert!(!sources.is_empty() && !sources.contains(&json!("ap-south-1")), "{south}");
    // Lifted while bytes move, the limit holds no one back.
    at(&cluster, US, &["bandwidth", "ls"]).await?.done()?;
    at(&cluster, EU, &limit("none")).await?.done()?;
    at(&cluster, AP, &["image", "wait", "slow/app:v1", "--timeout", "60s"]).await?.done()?;
    cluster.stop().await?;
    Ok(())
}
