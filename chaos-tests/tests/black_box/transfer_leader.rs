//! `portolan cluster transfer-leader`: the leadership goes where an operator wants it, under pushes, and not to a node that
//! could not take it over.

use portolan_chaos_tests::cluster::{Cluster, Options, binary};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, wait};
use serde_json::{Value, json};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::Command;

/// How long one run of the program may take.
const WITHIN: Duration = Duration::from_secs(60);
/// Pushes between two moves of the leadership.
const PUSHES: u64 = 6;

/// Runs the program against a node, with that node's token.
async fn transfer(cluster: &Cluster, asked: usize, heir: Option<&str>) -> Result<Output> {
    let node = &cluster.nodes()[asked];
    let mut command = Command::new(binary());
    command.args(["cluster", "transfer-leader"]).args(heir).args(["--server", &node.registry, "--json"]);
    command.arg("--token-file").arg(node.data.join("admin.token"));
    for variable in ["PORTOLAN_SERVER", "PORTOLAN_ADMIN_TOKEN_FILE", "PORTOLAN_NODE_DATA_DIR"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(tokio::time::timeout(WITHIN, command.output()).await??)
}

/// What it prints when it went well.
fn change(output: &Output) -> Result<Value> {
    if !output.status.success() {
        return Err(format!("{output:?}").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What one of the nodes says of the leader.
async fn leader(cluster: &Cluster, asked: usize) -> Result<Value> {
    Ok(cluster.registry(asked).get("/api/v1/cluster/leader").await?.json().await?)
}

/// Pushes at all nodes in turn until it is told to stop; counts what was acknowledged. Nothing may fail.
async fn push(cluster: &Cluster, pushed: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Acquire) {
        let number = pushed.load(Ordering::Acquire);
        let node = usize::try_from(number)? % cluster.nodes().len();
        let (tag, image) = (format!("v{number}"), Image::seeded(number, &[10_000]));
        let done = cluster.registry(node).push("moved", &tag, &image).await;
        done.map_err(|error| format!("push {number} at node {node}: {error}"))?;
        pushed.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// Moves the leadership to each node in turn, asking each node for it.
async fn move_around(cluster: &Cluster, pushed: &AtomicU64) -> Result<()> {
    let nodes = cluster.nodes();
    let mut before = nodes[cluster.leader().await?].name.as_str();
    for round in 0..2 * nodes.len() {
        let so_far = pushed.load(Ordering::Acquire);
        wait::until("pushes in between", WITHIN, async || match pushed.load(Ordering::Acquire) {
            now if now >= so_far + PUSHES => Ok(()),
            now => Err(format!("{now} after {so_far}")),
        })
        .await?;
        let (asked, heir) = (round % nodes.len(), &nodes[(round + 1 + round / nodes.len()) % nodes.len()]);
        let told = change(&transfer(cluster, asked, Some(&heir.name)).await?)?;
        assert_eq!(told, json!({ "before": before, "leader": heir.name }), "asked node {asked}");
        assert_eq!(leader(cluster, asked).await?["leader"], json!(heir.name), "the asked node knows it at once");
        before = &heir.name;
        wait::until("every node's word", WITHIN, async || {
            for node in 0..nodes.len() {
                let told = leader(cluster, node).await.map_err(|error| error.to_string())?;
                if told["leader"] != json!(heir.name) {
                    return Err(format!("node {node} says {told}"));
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_moves_to_the_named_node_and_no_push_fails() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let (pushed, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let moving = async {
        let moved = move_around(&cluster, &pushed).await;
        stop.store(true, Ordering::Release);
        moved
    };
    // Whichever fails first is told; a push that fails must not leave the other waiting.
    tokio::try_join!(moving, push(&cluster, &pushed, &stop))?;
    for number in 0..pushed.load(Ordering::Acquire) {
        let image = Image::seeded(number, &[10_000]);
        let node = usize::try_from(number)? % cluster.nodes().len();
        cluster.registry(node).pull_and_compare("moved", &format!("v{number}"), &image).await?;
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_refused_and_nobody_in_particular_is_a_living_one() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let first = cluster.leader().await?;
    let others: Vec<usize> = (0..cluster.nodes().len()).filter(|node| *node != first).collect();
    let (dead, alive) = (others[0], others[1]);
    let names: Vec<String> = cluster.nodes().iter().map(|node| node.name.clone()).collect();
    cluster.kill(dead).await?;
    let before = leader(&cluster, alive).await?;
    for (heir, words) in [(names[dead].as_str(), "it does not answer the leader"), ("mars", "no node \"mars\"")] {
        let output = transfer(&cluster, alive, Some(heir)).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words) && said.contains("NODE_UNFIT"), "{output:?}");
    }
    assert_eq!(leader(&cluster, alive).await?, before, "nothing was changed, and no term was lost");
    let told = change(&transfer(&cluster, first, Some(&names[first])).await?)?;
    assert_eq!(told, json!({ "before": names[first], "leader": names[first] }));
    let told = change(&transfer(&cluster, first, None).await?)?;
    assert_eq!(told, json!({ "before": names[first], "leader": names[alive] }));
    for node in [first, alive] {
        cluster.registry(node).push("after", &format!("v{node}"), &Image::seeded(1, &[1_000])).await?;
    }
    cluster.stop().await?;
    Ok(())
}
