//! What an operator asks.

use crate::support::{Server, header, refused, until};
use futures::future::join_all;
use portolan_registry::testing::Setup;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test]
async fn the_cluster_is_one_question_to_any_node() {
    let server = Server::with(Setup { nodes: 2, ..Setup::default() }).await;
    for node in [1, 2] {
        let report: Value = server.client(node).get("/api/v1/cluster").await.json().await.unwrap();
        assert_eq!(report["cluster_id"], json!("test"));
        assert_eq!(report["epoch"], json!(0));
        assert!(report["term"].as_u64().unwrap() > 0 && report["leader"].is_u64(), "{report}");
        assert!(report["warnings"].is_array());
        let nodes = report["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 2);
        for (id, entry) in (1..).zip(nodes) {
            assert_eq!(entry["id"], json!(id));
            assert_eq!(entry["name"], json!(format!("n{id}")));
            assert_eq!(
                (&entry["role"], &entry["state"], &entry["voter"]),
                (&json!("full"), &json!("up"), &json!(true))
            );
            for key in ["region", "zone", "applied", "lag", "last_seen_ms", "version"] {
                assert!(entry.get(key).is_some(), "{key} in {entry}");
            }
        }
        let own = &nodes[node - 1];
        assert_eq!(own["last_seen_ms"], json!(0), "{own}");
        assert_eq!(report["asked"], json!(node));
        for key in [
            "up_ms",
            "requests",
            "faults",
            "received_bytes",
            "sent_bytes",
            "queue",
            "queue_bytes",
            "fetches",
            "uploads",
        ] {
            assert!(own["load"][key].is_u64(), "{key} in {own}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn any_node_tells_what_every_other_does_and_how_far_it_is() {
    let server = Server::with(Setup { nodes: 2, ..Setup::default() }).await;
    server.client(2).push_image("a", "t", 1).await;
    let pushed = |report: &Value| report["nodes"][1]["load"]["received_bytes"].as_u64().unwrap_or(0) > 0;
    let report = server.client(1).report_until("cluster", pushed).await;
    for entry in report["nodes"].as_array().unwrap() {
        for key in ["up_ms", "requests", "faults", "sent_bytes", "queue", "queue_bytes", "fetches", "uploads"] {
            assert!(entry["load"][key].is_u64(), "{key} in {entry}");
        }
        assert!(entry["load"]["disk_free_bytes"].is_u64(), "{entry}");
    }
    let measured = |link: &Value| link["rtt_ms"].as_f64().is_some_and(|rtt_ms| rtt_ms > 0.0);
    let report = server
        .client(1)
        .report_until("cluster", |report| report["links"].as_array().unwrap().iter().all(measured))
        .await;
    let ends = |link: &Value| (link["from"].as_u64().unwrap(), link["to"].as_u64().unwrap());
    let links: Vec<_> = report["links"].as_array().unwrap().iter().map(ends).collect();
    assert_eq!(links, [(1, 2), (2, 1)]);

    server.cluster.cut(2);
    let silent = |report: &Value| report["nodes"][1]["load"].is_null();
    let report = server.client(1).report_until("cluster", silent).await;
    assert!(report["nodes"][0]["load"].is_object(), "{report}");
    assert!(report["nodes"][1]["last_seen_ms"].as_u64().unwrap() > 0, "{report}");
    let unmeasured = |report: &Value| report["links"].as_array().unwrap().iter().all(|link| link["rtt_ms"].is_null());
    server.client(1).report_until("cluster", unmeasured).await;
    server.stop().await;
}

#[tokio::test]
async fn changing_the_cluster_needs_the_admin_token() {
    let server = Server::start().await;
    let client = server.client(1);
    let stranger = client.send("POST", "/api/v1/cluster").await;
    assert!(stranger.headers().contains_key("WWW-Authenticate"));
    refused(stranger, 401, "UNAUTHORIZED").await;
    let admin = client.ask("POST", "/api/v1/cluster").bearer_auth("s3cret").send().await.unwrap();
    refused(admin, 405, "UNSUPPORTED").await;
    refused(client.get("/api/v1/none").await, 404, "UNSUPPORTED").await;
    server.stop().await;
}

#[tokio::test]
async fn health_and_metrics_are_on_the_ops_port() {
    let server = Server::start().await;
    let client = server.client(1);
    client.push_image("a", "t", 1).await;
    client.get("/v2/a/manifests/t").await.bytes().await.unwrap();
    for path in ["/healthz", "/readyz", "/readyz/write"] {
        let (status, text) = server.ops(1, path).await;
        assert_eq!(status, 200, "{path}: {text}");
    }
    assert_eq!(server.ops(1, "/v2/").await.0, 404);
    assert_eq!(client.get("/metrics").await.status(), 404);
    let (_, text) = server.ops(1, "/metrics").await;
    for line in [
        "registry_http_requests_total{handler=\"manifest\",method=\"get\",code=\"200\"}",
        "registry_http_requests_total{handler=\"manifest\",method=\"put\",code=\"201\"}",
        "registry_http_requests_total{handler=\"blob_upload\",method=\"post\",code=\"201\"}",
        "registry_http_request_duration_seconds",
        "registry_http_in_flight_requests{handler=\"manifest\"}",
        "registry_http_request_size_bytes",
        "registry_http_response_size_bytes",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    server.stop().await;
}

/// What a node's state amounts to, as the ops port tells.
async fn state_hash(server: &Server, node: usize) -> (u64, String) {
    let (status, text) = server.ops(node, "/statehash").await;
    assert_eq!(status, 200, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let hash = report["sha256"].as_str().unwrap().to_owned();
    assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{report}");
    (report["applied"].as_u64().unwrap(), hash)
}

#[tokio::test]
async fn nodes_at_the_same_index_tell_the_same_hash_of_their_state() {
    let mut server = Server::with(Setup { nodes: 3, ..Setup::default() }).await;
    let mut seen = BTreeMap::new();
    for seed in 1..=3_u64 {
        server.client(usize::try_from(seed).unwrap()).push_image("a", "t", seed).await;
        // Background work may write at any moment, so that the nodes are looked at until they stand at one index.
        let (applied, hash) = until(async || {
            let first = state_hash(&server, 1).await;
            let others = (state_hash(&server, 2).await, state_hash(&server, 3).await);
            if [others.0.0, others.1.0] != [first.0; 2] {
                return Err(format!("never at one index: {first:?} {others:?}"));
            }
            assert_eq!(others, (first.clone(), first.clone()));
            Ok(first)
        })
        .await;
        assert_eq!(seen.insert(hash, applied), None, "the image changed the state");
    }
    let before = state_hash(&server, 3).await;
    server.restart(3).await;
    let after = state_hash(&server, 3).await;
    assert!(after.0 > before.0 && after.1 != before.1, "a start is a row: {before:?} {after:?}");
    until(async || {
        let (first, third) = (state_hash(&server, 1).await, state_hash(&server, 3).await);
        if first.0 != third.0 {
            return Err(format!("never at one index: {first:?} {third:?}"));
        }
        assert_eq!(first, third);
        Ok(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_node_hashes_its_state_once_at_a_time() {
    let server = Server::start().await;
    server.client(1).push_image("a", "t", 1).await;
    let url = format!("http://{}/statehash", server.ports(1).ops);
    let refused = until(async || {
        let answers = join_all((0..16).map(|_| reqwest::get(&url))).await;
        let answers = answers.into_iter().map(|answer| answer.expect("the port answers"));
        let (served, refused): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status() == 200);
        assert!(!served.is_empty(), "one of them is served: {refused:?}");
        refused.into_iter().next().ok_or_else(|| "sixteen never met".to_owned())
    })
    .await;
    assert_eq!((refused.status().as_u16(), header(&refused, "Retry-After").as_str()), (429, "1"));
    state_hash(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_node_that_leaves_says_so_while_it_still_serves() {
    let server = Server::start().await;
    let client = server.client(1);
    let (_, bytes) = client.push_image("a", "t", 1).await;
    server.cluster.registry(1).leave();
    for path in ["/readyz", "/readyz/write"] {
        let (status, reasons) = server.ops(1, path).await;
        assert!(status == 503 && reasons.contains("stopping"), "{path}: {status} {reasons}");
    }
    assert_eq!(server.ops(1, "/healthz").await.0, 200);
    assert_eq!(client.get("/v2/a/manifests/t").await.bytes().await.unwrap(), bytes);
    server.stop().await;
}
