//! Another node leads.

use super::effect::Effect;
use crate::client::Registry;
use crate::cluster::{Cluster, READY_WITHIN};
use crate::{Result, wait};
use std::time::Duration;

/// How soon a node that does not hang tells who leads.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// How long a node may take to hand over.
const HANDED_WITHIN: Duration = Duration::from_secs(20);

/// Tells the nodes to hand over to whichever is fit, as an operator would. They may refuse: then nothing was moved.
pub(super) async fn hand_over(cluster: &Cluster) -> Result<Effect> {
    let asked = &cluster.nodes()[cluster.leader().await?];
    let token = std::fs::read_to_string(asked.data.join("admin.token"))?;
    let url = format!("http://{}/api/v1/cluster/leader", asked.registry);
    let request = reqwest::Client::new().put(url).bearer_auth(token.trim()).json(&serde_json::json!({}));
    let said = match request.timeout(HANDED_WITHIN).send().await {
        Ok(answer) if answer.status().is_success() => {
            let told: serde_json::Value = answer.json().await?;
            let name = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
            format!("{} led, now {}", name("before"), name("leader"))
        }
        Ok(answer) => format!("{} refused: {}", asked.name, answer.text().await.unwrap_or_default()),
        Err(error) => format!("{} did not answer: {error}", asked.name),
    };
    Ok(Effect { said, ..Effect::default() })
}

/// Makes whoever leads hang until another one does.
pub(super) async fn hang(cluster: &mut Cluster) -> Result<Effect> {
    let old = cluster.leader().await?;
    cluster.pause(old)?;
    let moved = wait::until("another leader", READY_WITHIN, async || {
        let leaders = (0..cluster.nodes().len()).filter(|node| *node != old).map(|node| told(cluster, node));
        let leaders = futures::future::join_all(leaders).await;
        leaders
            .into_iter()
            .flatten()
            .find(|leader| *leader != old)
            .ok_or_else(|| "the old one is believed in".to_owned())
    })
    .await;
    // Whatever came of it.
    cluster.resume(old)?;
    let name = |node: usize| &cluster.nodes()[node].name;
    Ok(Effect { said: format!("{} led, now {}", name(old), name(moved?)), nodes: vec![old], ..Effect::default() })
}

/// Who leads, as one node knows it.
async fn told(cluster: &Cluster, node: usize) -> Option<usize> {
    let registry = Registry::new(&cluster.nodes()[node].registry, TOLD_WITHIN);
    let status: serde_json::Value = registry.get("/api/v1/cluster").await.ok()?.json().await.ok()?;
    let leader = status["leader"].as_u64()?;
    cluster.nodes().iter().position(|node| node.id == leader)
}
