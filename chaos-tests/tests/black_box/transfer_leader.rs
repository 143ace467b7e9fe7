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
/// How often it is done again because the nodes had an election of their own meanwhile.
const ATTEMPTS: usize = 3;

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

fn term(told: &Value) -> Result<u64> {
    told["term"].as_u64().ok_or_else(|| format!("no term in {told}").into())
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

/// What the asked node says of the leader before a transfer, what the program tells of it, and what the node says
/// afterwards. A machine that stands still has elections of its own: those show by the term, and it is done again then.
async fn transfer_undisturbed(cluster: &Cluster, asked: usize, heir: Option<&str>) -> Result<(Value, Value, Value)> {
    for _ in 0..ATTEMPTS {
        let before = leader(cluster, asked).await?;
        let told = change(&transfer(cluster, asked, heir).await?)?;
        let after = leader(cluster, asked).await?;
        let moves = heir.is_none_or(|heir| before["leader"] != json!(heir));
        if term(&after)? - term(&before)? == u64::from(moves) {
            return Ok((before["leader"].clone(), told, after));
        }
        eprintln!("another election between {before} and {after}");
        // From where it was, so that it is the same transfer again.
        change(&transfer(cluster, asked, before["leader"].as_str()).await?)?;
    }
    Err(format!("{ATTEMPTS} transfers, and another election during each").into())
}

/// Moves the leadership to each node in turn, asking each node for it.
async fn move_around(cluster: &Cluster, pushed: &AtomicU64) -> Result<()> {
    let nodes = cluster.nodes();
    for round in 0..2 * nodes.len() {
        let so_far = pushed.load(Ordering::Acquire);
        wait::until("pushes in between", WITHIN, async || match pushed.load(Ordering::Acquire) {
            now if now >= so_far + PUSHES => Ok(()),
            now => Err(format!("{now} after {so_far}")),
        })
        .await?;
        let (asked, heir) = (round % nodes.len(), &nodes[(round + 1 + round / nodes.len()) % nodes.len()]);
        let (before, told, after) = transfer_undisturbed(cluster, asked, Some(&heir.name)).await?;
        assert_eq!(told, json!({ "before": before, "leader": heir.name }), "asked node {asked}");
        assert_eq!(after["leader"], json!(heir.name), "the asked node knows it at once");
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
    let mut cluster = Cluster::start(Options::patient()).await?;
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

/// Nothing is changed by a command that is refused, and no term is lost.
async fn check_refused(cluster: &Cluster, asked: usize, heir: &str, words: &str) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let before = leader(cluster, asked).await?;
        let output = transfer(cluster, asked, Some(heir)).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words) && said.contains("NODE_UNFIT"), "{output:?}");
        let after = leader(cluster, asked).await?;
        if after == before {
            return Ok(());
        }
        eprintln!("an election between {before} and {after}");
    }
    Err(format!("{heir} was refused {ATTEMPTS} times, and there was an election each time").into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_refused_and_nobody_in_particular_is_a_living_one() -> Result<()> {
    let mut cluster = Cluster::start(Options::patient()).await?;
    let first = cluster.leader().await?;
    let others: Vec<usize> = (0..cluster.nodes().len()).filter(|node| *node != first).collect();
    let (dead, alive) = (others[0], others[1]);
    let names: Vec<String> = cluster.nodes().iter().map(|node| node.name.clone()).collect();
    cluster.kill(dead).await?;
    for (heir, words) in [(names[dead].as_str(), "it does not answer the leader"), ("mars", "no node \"mars\"")] {
        check_refused(&cluster, alive, heir, words).await?;
    }
    let (before, told, _) = transfer_undisturbed(&cluster, first, Some(&names[first])).await?;
    assert_eq!(told, json!({ "before": before, "leader": names[first] }));
    let (before, told, _) = transfer_undisturbed(&cluster, first, None).await?;
    let other = if before == json!(names[first]) { &names[alive] } else { &names[first] };
    assert_eq!(told, json!({ "before": before, "leader": other }));
    for node in [first, alive] {
        cluster.registry(node).push("after", &format!("v{node}"), &Image::seeded(1, &[1_000])).await?;
    }
    cluster.stop().await?;
    Ok(())
}
