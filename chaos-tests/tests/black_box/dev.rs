//! `portolan dev` and `portolan serve` as a newcomer meets them.

use portolan_chaos_tests::cluster::{Cluster, Options, binary};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, tool, wait};
use std::time::Duration;
use tokio::process::Command;

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_cluster_starts_again_with_nothing_lost() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let image = Image::seeded(1, &[100_000, 5_000]);
    cluster.registry(0).push("dev/kept", "v1", &image).await?;
    let code = cluster.stop().await?;
    assert_eq!(code, Some(0), "SIGTERM is a clean end");
    cluster.start_again().await?;
    for node in 0..3 {
        cluster.registry(node).pull_and_compare("dev/kept", "v1", &image).await?;
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_stop_when_their_parent_is_killed() -> Result<()> {
    let mut cluster = Cluster::start(Options { regions: vec!["solo"], ..Options::default() }).await?;
    let pid = cluster.nodes()[0].pid;
    cluster.kill_parent().await?;
    portolan_chaos_tests::wait::until("the child to end", WITHIN, || async {
        match tokio::fs::metadata(format!("/proc/{pid}")).await {
            Ok(_) => Err(format!("process {pid} is there")),
            Err(_) => Ok(()),
        }
    })
    .await
}

#[tokio::test]
async fn a_taken_port_is_named() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let folder = tempfile::tempdir()?;
    let mut dev = Command::new(binary());
    dev.args(["dev", "--base-port", &port.to_string(), "--data"]).arg(folder.path()).kill_on_drop(true);
    let output = tokio::time::timeout(WITHIN, dev.output()).await??;
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains(&port.to_string()) && message.contains("--base-port"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_misspelt_key_is_refused_with_the_nearest_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("portolan.toml");
    std::fs::write(&config, "[node]\nname = \"a\"\nregoin = \"eu\"\n")?;
    let mut serve = Command::new(binary());
    serve.args(["serve", "--config"]).arg(&config).kill_on_drop(true);
    let output = tokio::time::timeout(WITHIN, serve.output()).await??;
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("regoin") && message.contains("region"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_node_with_an_empty_folder_is_refused() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.kill(2).await?;
    let data = cluster.nodes()[2].data.clone();
    cluster.lose_disk(2)?;
    let mut serve = Command::new(binary());
    serve.args(["serve", "--config"]).arg(data.join("portolan.toml")).kill_on_drop(true);
    let output = tokio::time::timeout(WITHIN, serve.output()).await??;
    let message = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("must not come back under its old id"), "{message}");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_status_shows_every_node_and_the_leader() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let server = cluster.nodes()[1].registry.clone();
    let program = binary();
    let program = program.to_str().ok_or("a path that is not UTF-8")?;
    let (json, status) = wait::until("a status with a leader", WITHIN, async || {
        let arguments = ["cluster", "status", "--json", "--server", &server];
        let json = tool::run(WITHIN, program, &arguments).await.map_err(|error| error.to_string())?;
        let status: serde_json::Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        if status["leader"].is_null() { Err(json) } else { Ok((json, status)) }
    })
    .await?;
    for field in ["cluster_id", "epoch", "term", "leader", "nodes", "warnings"] {
        assert!(!status[field].is_null(), "{field} in {json}");
    }
    for (node, expected) in status["nodes"].as_array().ok_or("nodes")?.iter().zip(cluster.nodes()) {
        assert_eq!(node["name"], expected.name.as_str());
        for field in
            ["id", "name", "region", "zone", "role", "voter", "state", "applied", "lag", "last_seen_ms", "version"]
        {
            assert!(node.get(field).is_some(), "{field} in {node}");
        }
    }
    let table = tool::run(WITHIN, program, &["cluster", "status", "--server", &server]).await?;
    for node in cluster.nodes() {
        assert!(table.contains(&node.name), "{table}");
    }
    assert!(!table.contains('\x1b'), "colour only on a terminal");
    cluster.stop().await?;
    Ok(())
}
