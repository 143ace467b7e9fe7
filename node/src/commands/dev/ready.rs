//! Whether the cluster is ready: a leader is elected, every node answers pulls and takes pushes.

use super::layout::NodePlan;
use crate::client::{Client, ClientError};
use crate::error::Failure;
use std::time::Duration;
use tokio::time::Instant;

/// How often the nodes are asked.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until every given node is ready.
///
/// # Errors
/// When they are not after `limit`, with the first thing that was still missing.
pub(crate) async fn wait(nodes: &[NodePlan], limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    for node in nodes {
        loop {
            let Err(waiting) = is_ready(node).await else { break };
            if Instant::now() >= deadline {
                let waiting = format!("{}: {waiting} (its log is {})", node.name, node.log().display());
                return Err(Failure::NotReady { after: limit, waiting });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Whether a node is ready for pulls and pushes and knows a leader.
async fn is_ready(node: &NodePlan) -> Result<(), String> {
    let words = |error: ClientError| error.to_string();
    let ops = Client::new(&node.ops.to_string()).map_err(words)?;
    ops.get("/readyz").await.map_err(words)?;
    ops.get("/readyz/write").await.map_err(words)?;
    let (cluster, _) = Client::new(&node.public.to_string()).map_err(words)?.cluster().await.map_err(words)?;
    cluster.leader_name().map(drop).ok_or_else(|| "no leader is elected".to_owned())
}
