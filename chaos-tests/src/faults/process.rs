//! Processes that die, hang and come back.

use super::effect::Effect;
use crate::Result;
use crate::cluster::Cluster;
use std::time::Duration;

/// How soon a process that was killed or ended by itself is gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn kill(cluster: &mut Cluster, node: usize) -> Result<Effect> {
    cluster.kill(node).await?;
    Ok(stopped(format!("{} was killed", cluster.nodes()[node].name), vec![node]))
}

pub(super) async fn kill_all(cluster: &mut Cluster) -> Result<Effect> {
    cluster.kill_all().await?;
    Ok(stopped("all nodes were killed".to_owned(), (0..cluster.nodes().len()).collect()))
}

pub(super) async fn restart(cluster: &mut Cluster, node: usize) -> Result<Effect> {
    cluster.terminate(node).await?;
    cluster.restart(node)?;
    Ok(stopped(format!("{} was restarted", cluster.nodes()[node].name), vec![node]))
}

pub(super) fn pause(cluster: &Cluster, node: usize) -> Result<Effect> {
    cluster.pause(node)?;
    Ok(stopped(format!("{} hangs", cluster.nodes()[node].name), vec![node]))
}

fn stopped(said: String, nodes: Vec<usize>) -> Effect {
    Effect { said, nodes, ..Effect::default() }
}

pub(super) async fn resume(cluster: &Cluster, node: usize) -> Result<()> {
    cluster.resume(node)?;
    cluster.wait_ready(node).await
}

/// Starts those that are not there, all before any is waited for: they may need each other.
pub(super) async fn bring_back(cluster: &mut Cluster, nodes: &[usize]) -> Result<()> {
    for &node in nodes {
        if !cluster.is_running(node) {
            cluster.wait_ended(node, GONE_WITHIN).await?;
            cluster.restart(node)?;
        }
    }
    for &node in nodes {
        cluster.wait_ready(node).await?;
    }
    Ok(())
}
