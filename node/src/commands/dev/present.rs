//! What `portolan dev` prints when the cluster is ready.

use super::layout::NodePlan;
use crate::client::Client;
use crate::commands::terminal::{Colour, paint, table};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// One node of the line of JSON.
#[derive(Serialize)]
struct NodeLine<'a> {
    id: u64,
    name: &'a str,
    region: &'a str,
    registry: String,
    ops: String,
    peer: String,
    pid: u32,
    data: String,
}

/// The nodes as one line of JSON.
pub(crate) fn json(nodes: &[NodePlan], pids: &[u32]) -> String {
    let lines: Vec<NodeLine<'_>> = nodes
        .iter()
        .zip(pids)
        .map(|(node, pid)| NodeLine {
            id: node.id,
            name: &node.name,
            region: &node.region,
            registry: node.public.to_string(),
            ops: node.ops.to_string(),
            peer: node.peer.to_string(),
            pid: *pid,
            data: node.folder.display().to_string(),
        })
        .collect();
    serde_json::json!({ "nodes": lines }).to_string()
}

/// The nodes as a table, with who leads.
pub(crate) async fn table_of(nodes: &[NodePlan], took: Duration) -> String {
    let cluster = match nodes.first().map(|node| Client::new(&node.public.to_string())) {
        Some(Ok(client)) => client.cluster().await.ok().map(|(cluster, _)| cluster),
        _ => None,
    };
    let mut rows = table(&["NODE", "REGION", "REGISTRY", "HEALTH AND METRICS", "VOTES", ""]);
    for node in nodes {
        let votes = cluster.as_ref().and_then(|cluster| cluster.nodes.iter().find(|row| row.id == node.id));
        let leads = cluster.as_ref().and_then(|cluster| cluster.leader_name()) == Some(node.name.as_str());
        rows.add_row([
            node.name.clone(),
            node.region.clone(),
            node.public.to_string(),
            format!("http://{}/metrics", node.ops),
            votes.map_or("-", |row| if row.voter { "yes" } else { "no" }).to_owned(),
            if leads { "leads".to_owned() } else { String::new() },
        ]);
    }
    let head = paint(&format!("ready after {:.1} s", took.as_secs_f32()), Colour::Good);
    format!("{head}\n\n{}", rows.trim_fmt())
}

/// What to try next.
pub(crate) fn hints(nodes: &[NodePlan], data: &Path, demo_image: Option<&str>) -> String {
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else {
        return String::new();
    };
    let (first, last, last_name) = (host(first), host(last), &last.name);
    let demo = demo_image
        .map_or_else(String::new, |image| format!("  docker pull {last}/{image} && docker run --rm {last}/{image}\n"));
    format!(
        "\nTry:\n{demo}  docker pull busybox && docker tag busybox {first}/try/busybox && docker push {first}/try/busybox\n  \
         docker pull {last}/try/busybox        (from the other end: {last_name})\n  \
         portolan cluster status --server {first}\n\n\
         Logs and configurations are in {}. Ctrl-C stops everything; started again, it goes on where it was.",
        data.display()
    )
}

/// A node as docker's clients name it: they take `localhost` for a registry without TLS.
fn host(node: &NodePlan) -> String {
    if node.public.ip().is_loopback() { format!("localhost:{}", node.public.port()) } else { node.public.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{NodePlan, json};

    #[test]
    fn the_line_of_json_has_the_documented_keys() {
        let node = NodePlan {
            id: 1,
            name: "eu-1".to_owned(),
            region: "eu".to_owned(),
            public: "127.0.0.1:5001".parse().unwrap(),
            peer: "127.0.0.1:7001".parse().unwrap(),
            ops: "127.0.0.1:9101".parse().unwrap(),
            folder: "/data/eu-1".into(),
            launcher: Vec::new(),
        };
        let line = json(&[node], &[77]);
        assert!(!line.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"nodes": [{
                "id": 1, "name": "eu-1", "region": "eu", "registry": "127.0.0.1:5001", "ops": "127.0.0.1:9101",
                "peer": "127.0.0.1:7001", "pid": 77, "data": "/data/eu-1",
            }]})
        );
    }
}
