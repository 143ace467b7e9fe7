//! `portolan serve` as an operator sets it up: the README's certificates and configuration, TLS for clients, restarts.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::cluster::binary;
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{tool, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};

const WITHIN: Duration = Duration::from_secs(60);
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const NAMES: [&str; 3] = ["eu-west-1", "us-east-1", "ap-south-1"];

/// A node of a static cluster.
struct Node {
    config: PathBuf,
    registry: String,
    ops: String,
    child: Child,
}

impl Node {
    async fn ready(&self) -> Result<()> {
        let ops = Registry::new(&self.ops, Duration::from_secs(5));
        wait::until("a node to be ready", WITHIN, || async {
            let answer = ops.get("/readyz/write").await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await
    }

    fn terminate(&self) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or("the node is gone")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(tokio::time::timeout(WITHIN, self.child.wait()).await??)
    }
}

/// The block of the README in `language` that holds `word`.
fn readme(language: &str, word: &str) -> Result<String> {
    let text = std::fs::read_to_string(README)?;
    let start = format!("```{language}\n");
    let blocks = text.split(&start).skip(1).filter_map(|rest| rest.split("```").next());
    Ok(blocks.into_iter().find(|block| block.contains(word)).ok_or("the README has no such block")?.to_owned())
}

/// Replaces what must be there.
fn with(text: &str, from: &str, to: &str) -> Result<String> {
    if text.contains(from) { Ok(text.replace(from, to)) } else { Err(format!("the README has no {from:?}").into()) }
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    Ok(held
        .iter()
        .map(TcpListener::local_addr)
        .collect::<std::io::Result<Vec<_>>>()?
        .iter()
        .map(SocketAddr::port)
        .collect())
}

fn start(config: &Path) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(config.with_extension("log"))?;
    Ok(Command::new(binary()).args(["serve", "--config"]).arg(config).stderr(log).kill_on_drop(true).spawn()?)
}

/// Follows the README in `folder` with this machine's addresses. `public` replaces the line about TLS.
async fn follow_the_readme(folder: &Path, public: &str) -> Result<Vec<Node>> {
    let recipe = readme("sh", "openssl req")?;
    tool::run_in(WITHIN, Some(folder), "bash", &["-ec", &recipe]).await?;
    let ports = free_ports(9)?;
    let mut config = readme("toml", "members")?;
    for (at, address) in ["10.0.1.10:7000", "10.0.2.10:7000", "10.0.3.10:7000"].iter().enumerate() {
        config = with(&config, address, &format!("127.0.0.1:{}", ports[at]))?;
    }
    config = with(&config, "/etc/portolan/ca.pem", &folder.join("ca.pem").display().to_string())?;
    config = with(&config, "plain_http = true", public)?;
    let mut nodes = Vec::new();
    for (at, name) in NAMES.iter().enumerate() {
        let region = name.trim_end_matches("-1");
        let [registry, ops] = [3, 6].map(|offset| format!("127.0.0.1:{}", ports[offset + at]));
        let mut own = with(
            &config,
            "[node]\nname = \"eu-west-1\"\nregion = \"eu-west\"",
            &format!("[node]\nname = \"{name}\"\nregion = \"{region}\""),
        )?;
        own = with(&own, "/var/lib/portolan", &folder.join(format!("data-{name}")).display().to_string())?;
        own = with(&own, "0.0.0.0:5000", &registry)?;
        own = with(&own, "0.0.0.0:7000", &format!("127.0.0.1:{}", ports[at]))?;
        own = with(&own, "/etc/portolan/node", &folder.join(name).display().to_string())?;
        own.push_str(&format!("\n[ops]\nlisten = \"{ops}\"\n"));
        let path = folder.join(format!("{name}.toml"));
        std::fs::write(&path, own)?;
        nodes.push(Node { child: start(&path)?, config: path, registry, ops });
    }
    for node in &nodes {
        node.ready().await?;
    }
    Ok(nodes)
}

async fn stop(nodes: &mut [Node]) -> Result<()> {
    for node in nodes.iter() {
        node.terminate()?;
    }
    for node in nodes {
        assert_eq!(node.ended().await?.code(), Some(0), "SIGTERM is a clean end");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_come_in_over_tls_from_files() -> Result<()> {
    if !tool::have("openssl", "clients_come_in_over_tls_from_files")
        || !tool::have("curl", "clients_come_in_over_tls_from_files")
    {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=registry \
                -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
                -keyout registry.key -out registry.pem";
    tool::run_in(WITHIN, Some(folder.path()), "bash", &["-ec", make]).await?;
    let [cert, key] = ["registry.pem", "registry.key"].map(|name| folder.path().join(name).display().to_string());
    let public = format!("tls_cert = \"{cert}\"\ntls_key = \"{key}\"");
    let mut nodes = follow_the_readme(folder.path(), &public).await?;
    let server = format!("https://{}", nodes[1].registry);
    let program = binary();
    let program = program.to_str().ok_or("a path that is not UTF-8")?;
    let status = tool::run(WITHIN, program, &["cluster", "status", "--server", &server, "--ca", &cert]).await?;
    assert!(NAMES.iter().all(|name| status.contains(name)), "{status}");
    let untrusted = tool::run(WITHIN, program, &["cluster", "status", "--server", &server]).await;
    let said = untrusted.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("UnknownIssuer") && said.contains("--ca"), "{said}");
    for version in ["--http1.1", "--http2"] {
        let layer = folder.path().join("layer");
        std::fs::write(&layer, version.repeat(1_000_000))?;
        let sum = tool::run(WITHIN, "sha256sum", &[&layer.display().to_string()]).await?;
        let digest = sum.split_whitespace().next().ok_or("no sum")?;
        let push = format!("{server}/v2/tls/blobs/uploads/?digest=sha256:{digest}");
        let data = format!("@{}", layer.display());
        let curl = ["-sSf", version, "--cacert", &cert];
        let body = ["-X", "POST", "-H", "Content-Type: application/octet-stream", "--data-binary", &data, &push];
        tool::run(WITHIN, "curl", &[&curl[..], &body].concat()).await?;
        let back = folder.path().join("back").display().to_string();
        let pull = format!("https://{}/v2/tls/blobs/sha256:{digest}", nodes[2].registry);
        tool::run(WITHIN, "curl", &[&curl[..], &["-o", &back, &pull]].concat()).await?;
        assert_eq!(std::fs::read(&layer)?, std::fs::read(&back)?, "{version}");
    }
    stop(&mut nodes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_nothing_at_the_other_nodes_and_cuts_nothing_short() -> Result<()> {
    if !tool::have("openssl", "a_rolling_restart_fails_nothing_at_the_other_nodes_and_cuts_nothing_short") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut nodes = follow_the_readme(folder.path(), "plain_http = true").await?;
    let image = Image::seeded(7, &[24 << 20, 40_000]);
    let client = |node: &Node| Registry::new(&node.registry, Duration::from_secs(30));
    client(&nodes[0]).push("roll/app", "v1", &image).await?;
    for node in &nodes {
        client(node).pull_and_compare("roll/app", "v1", &image).await?;
    }
    let large = image.blobs().max_by_key(|blob| blob.bytes.len()).ok_or("no blob")?.clone();
    for at in 0..nodes.len() {
        let others: Vec<Registry> =
            nodes.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, node)| client(node)).collect();
        let (over, rounds) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
        let load = async {
            while !over.load(Ordering::Relaxed) {
                for other in &others {
                    other.pull_and_compare("roll/app", "v1", &image).await?;
                }
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, portolan_chaos_tests::client::Failure>(())
        };
        let restart = async {
            let result = restart(&mut nodes[at], &large).await;
            over.store(true, Ordering::Relaxed);
            result
        };
        let (load, restart) = tokio::join!(load, restart);
        load?;
        restart?;
        assert!(rounds.load(Ordering::Relaxed) > 0, "no pull went on meanwhile");
    }
    stop(&mut nodes).await
}

/// Stops a node in the middle of a download and starts it again.
async fn restart(node: &mut Node, blob: &portolan_chaos_tests::image::Blob) -> Result<()> {
    let client = Registry::new(&node.registry, Duration::from_secs(30));
    let mut download = client.get(&format!("/v2/roll/app/blobs/{}", blob.digest)).await?;
    let mut bytes = download.chunk().await?.ok_or("no bytes")?.to_vec();
    node.terminate()?;
    let ops = Registry::new(&node.ops, Duration::from_secs(5));
    wait::until("the node to say that it stops", WITHIN, || async {
        let answer = ops.get("/readyz").await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Err("it is ready".to_owned()) } else { Ok(()) }
    })
    .await?;
    while let Some(chunk) = download.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    assert!(bytes == blob.bytes, "{} of {} bytes came", bytes.len(), blob.bytes.len());
    assert_eq!(node.ended().await?.code(), Some(0), "SIGTERM is a clean end");
    node.child = start(&node.config)?;
    node.ready().await
}
