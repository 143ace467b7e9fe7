//! Pushes through a region that must not store their bytes: another node takes them.

use crate::support::{Client, Server, location, random, refused, until_holds};
use portolan_oci::Digest;
use portolan_registry::Config;
use portolan_registry::config::{Limits, Uploads};
use portolan_registry::testing::{self, Setup};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// Nodes of which the first must not store anything of `bound`.
async fn barring_the_first(nodes: u64, uploads: Uploads, limits: Limits) -> Server {
    let registry = Config { uploads, limits, ..testing::config() };
    let server = Server::with(Setup { nodes, registry, ..Setup::default() }).await;
    let others: Vec<String> = (2..=nodes).map(|node| format!("r{node}")).collect();
    let settings = json!({"regions": {"never_outside": others}}).to_string();
    let request = server.client(1).ask("PUT", "/api/v1/repos?prefix=bound").bearer_auth("s3cret");
    assert_eq!(request.body(settings).send().await.unwrap().status(), 200);
    server
}

/// How many sessions lie on a node's disk.
fn sessions(server: &Server, node: u64) -> usize {
    std::fs::read_dir(server.cluster.folder(node).join("uploads")).unwrap().count()
}

fn whole(client: &Client, bytes: &[u8]) -> reqwest::RequestBuilder {
    client.ask("POST", &format!("/v2/bound/app/blobs/uploads/?digest={}", Digest::sha256_of(bytes)))
}

#[tokio::test]
async fn a_whole_blob_that_fails_leaves_nothing_at_the_node_that_took_it() {
    let limits = Limits { blob_bytes: 500_000, ..Limits::default() };
    let server = barring_the_first(2, Uploads::default(), limits).await;
    let client = server.client(1);
    let bytes = random(1, 100_000);
    refused(whole(&client, b"another").body(bytes.clone()).send().await.unwrap(), 400, "DIGEST_INVALID").await;
    assert_eq!(sessions(&server, 2), 0, "after a wrong digest");
    // Of an unknown length, so that it is not refused by its head.
    let long = random(2, 600_000);
    let stream = futures::stream::iter([Ok::<_, std::io::Error>(long.clone())]);
    let response = whole(&client, &long).body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    refused(response, 413, "SIZE_INVALID").await;
    assert_eq!(sessions(&server, 2), 0, "after a body over the limit");
    // The client leaves in the middle: nobody waits for the answer any more.
    let (mut pieces, body) = futures::channel::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let leaving = tokio::spawn(whole(&client, &bytes).body(reqwest::Body::wrap_stream(body)).send());
    futures::SinkExt::send(&mut pieces, Ok(bytes[..50_000].to_vec())).await.unwrap();
    until_holds("no upload began", || sessions(&server, 2) > 0).await;
    leaving.abort();
    drop(pieces);
    until_holds("it stays when its client has left", || sessions(&server, 2) == 0).await;
    assert_eq!(whole(&client, &bytes).body(bytes.clone()).send().await.unwrap().status(), 201);
    assert_eq!((sessions(&server, 1), sessions(&server, 2)), (0, 0));
    server.stop().await;
}

#[tokio::test]
async fn an_upload_begins_where_there_is_room_and_is_refused_only_when_there_is_none() {
    let uploads = Uploads { sessions: 1, ..Uploads::default() };
    let server = barring_the_first(3, uploads, Limits::default()).await;
    let client = server.client(1);
    let first = client.begin("bound/app").await;
    client.begin("bound/app").await;
    assert_eq!((sessions(&server, 1), sessions(&server, 2), sessions(&server, 3)), (0, 1, 1));
    refused(client.send("POST", "/v2/bound/app/blobs/uploads/").await, 429, "TOOMANYREQUESTS").await;
    assert_eq!(client.send("DELETE", &first).await.status(), 204);
    client.begin("bound/app").await;
    server.stop().await;
}

#[tokio::test]
async fn an_upload_does_not_wait_for_a_node_that_is_gone_while_another_takes_it() {
    // Longer than any client of this test waits.
    let uploads = Uploads { owner_wait_ms: 600_000, ..Uploads::default() };
    let server = barring_the_first(3, uploads, Limits::default()).await;
    let client = server.client(1);
    for (gone, other) in [(2, 3), (3, 2)] {
        server.cluster.cut(gone);
        let began = client.begin("bound/app").await;
        assert!(began.contains(&format!("/{other}.")), "{began} while node {gone} is gone");
        server.cluster.heal(gone);
    }
    // While none can be reached they are waited for.
    server.cluster.cut(1);
    let mut waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send("POST", "/v2/bound/app/blobs/uploads/").await }
    });
    assert!(timeout(Duration::from_secs(3), &mut waiting).await.is_err(), "it gave up after one round");
    server.cluster.heal(1);
    let response = waiting.await.unwrap();
    assert_eq!(response.status(), 202);
    assert!(!location(&response).contains("/1."), "{response:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_is_asked_for_again_is_the_same_one() {
    let server = barring_the_first(2, Uploads::default(), Limits::default()).await;
    let [first, second] = server.cluster.begin_twice(1, 2, &"bound/app".parse().unwrap()).await;
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(sessions(&server, 2), 1);
    server.stop().await;
}
