//! A node that cannot serve leaves the lists of the others within two seconds, and is back when it can.

use portolan_chaos_tests::cluster::{Cluster, Options, binary};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, tool, wait};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// What the promise allows, and what a machine that does everything at once may add.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_secs(30);

/// Two regions of two nodes.
async fn cluster() -> Result<Cluster> {
    let cluster =
        Cluster::start(Options { regions: vec!["eu", "us"], nodes_per_region: 2, ..Options::default() }).await?;
    for asked in 0..cluster.nodes().len() {
        let all_well = || async {
            let answer = status(&cluster, asked).await?;
            let nodes = answer["nodes"].as_array().ok_or("no nodes")?;
            let well = nodes.iter().filter(|node| node["health"]["state"] == "ok").count();
            if well == 4 { Ok(()) } else { Err(answer.to_string()) }
        };
        wait::until("all to be well in the eyes of all", WITHIN, all_well).await?;
    }
    Ok(cluster)
}

async fn status(cluster: &Cluster, asked: usize) -> std::result::Result<Value, String> {
    let answer = cluster.registry(asked).get("/api/v1/cluster").await.map_err(|error| error.to_string())?;
    let text = answer.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn health(answer: &Value, node: u64) -> &str {
    let nodes = answer["nodes"].as_array().into_iter().flatten();
    let found = nodes.filter(|found| found["id"] == node).find_map(|found| found["health"]["state"].as_str());
    found.unwrap_or("unknown")
}

/// Whether a node is the last that a reader in any region would ask, as another tells.
fn is_last(answer: &Value, node: u64) -> bool {
    let orders = answer["orders"].as_array().into_iter().flatten();
    let lasts: Vec<_> = orders.filter_map(|order| order["nodes"].as_array()?.last()?.as_u64()).collect();
    lasts.len() == 2 && lasts.iter().all(|last| *last == node)
}

/// Waits until every other node asks this one last and says so in one of these words; tells how long that took.
async fn left(cluster: &Cluster, victim: usize, words: &[&str]) -> Result<Duration> {
    let (began, id) = (Instant::now(), cluster.nodes()[victim].id);
    for asked in (0..cluster.nodes().len()).filter(|asked| *asked != victim) {
        let gone = || async {
            let answer = status(cluster, asked).await?;
            let said = health(&answer, id);
            if words.contains(&said) && is_last(&answer, id) { Ok(()) } else { Err(answer.to_string()) }
        };
        wait::until("the node to be asked last", WITHIN, gone).await?;
    }
    Ok(began.elapsed())
}

async fn wait_in_its_turn(cluster: &Cluster, victim: usize) -> Result<()> {
    let id = cluster.nodes()[victim].id;
    for asked in (0..cluster.nodes().len()).filter(|asked| *asked != victim) {
        let well = || async {
            let answer = status(cluster, asked).await?;
            if health(&answer, id) == "ok" && !is_last(&answer, id) { Ok(()) } else { Err(answer.to_string()) }
        };
        wait::until("the node to be asked in its turn", WITHIN, well).await?;
    }
    Ok(())
}

/// How often a node is broken until the others notice in time: a busy machine answers late for a moment, nodes that are
/// slow do each time.
const ATTEMPTS: usize = 3;

/// A node that is last although it is well would prove nothing: the victim is of the region that is named first.
const VICTIM: usize = 0;

/// Whether it took no longer than it may; fails when no attempt did.
fn check_soon(took: Duration, within: Duration, attempt: usize) -> bool {
    assert!(took <= within || attempt < ATTEMPTS, "{took:?}, more than {within:?}, in each of {attempt} attempts");
    took <= within
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_is_asked_last_within_two_seconds_and_in_its_turn_when_it_goes_on() -> Result<()> {
    let cluster = cluster().await?;
    for attempt in 1.. {
        wait_in_its_turn(&cluster, VICTIM).await?;
        cluster.pause(VICTIM)?;
        let took = left(&cluster, VICTIM, &["suspect"]).await;
        let said = command(&cluster, 1).await;
        cluster.resume(VICTIM)?;
        let (took, said) = (took?, said?);
        eprintln!("a stopped node left the lists of all others after {took:?}");
        assert!(said.contains("suspect phi "), "{said}");
        wait_in_its_turn(&cluster, VICTIM).await?;
        if check_soon(took, LEAVES_WITHIN + SLACK, attempt) {
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_asked_last_at_once_and_in_its_turn_when_it_is_restarted() -> Result<()> {
    let mut cluster = cluster().await?;
    for attempt in 1.. {
        cluster.kill(VICTIM).await?;
        let took = left(&cluster, VICTIM, &["gone", "suspect"]).await?;
        eprintln!("a killed node left the lists of all others after {took:?}");
        cluster.restart(VICTIM)?;
        cluster.wait_ready(VICTIM).await?;
        wait_in_its_turn(&cluster, VICTIM).await?;
        if check_soon(took, LEAVES_WITHIN, attempt) {
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_cannot_be_read_takes_itself_out_and_pulls_go_on() -> Result<()> {
    let cluster = cluster().await?;
    let image = Image::seeded(7, &[300_000]);
    cluster.registry(VICTIM).push("health/app", "v1", &image).await?;
    let blobs = cluster.nodes()[VICTIM].data.join("blobs");
    let aside = blobs.with_extension("aside");
    for attempt in 1.. {
        fs::rename(&blobs, &aside)?;
        let took = left(&cluster, VICTIM, &["not_ready"]).await;
        let ready = cluster.ops(VICTIM).get("/readyz").await;
        let pulled = cluster.registry(2).pull_and_compare("health/app", "v1", &image).await;
        fs::rename(&aside, &blobs)?;
        let (took, ready) = (took?, ready?);
        eprintln!("a node without its disk left the lists of all others after {took:?}");
        assert_eq!(ready.status().as_u16(), 503);
        let said = ready.text().await?;
        assert!(said.contains("the disk cannot be read"), "{said}");
        pulled?;
        wait_in_its_turn(&cluster, VICTIM).await?;
        if check_soon(took, LEAVES_WITHIN + SLACK, attempt) {
            break;
        }
    }
    Ok(())
}

async fn command(cluster: &Cluster, asked: usize) -> Result<String> {
    let program = binary();
    let program = program.to_str().ok_or("a path that is not UTF-8")?;
    tool::run(WITHIN, program, &["cluster", "status", "--server", &cluster.nodes()[asked].registry]).await
}
