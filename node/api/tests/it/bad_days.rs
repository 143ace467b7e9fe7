//! No quorum, a full disk, too much at once, a stop in the middle.

use crate::support::{IMAGE, Server, header, manifest, random, refused, until, until_holds};
use portolan_oci::Digest;
use portolan_registry::Config;
use portolan_registry::config::{Limits, Reads, Uploads};
use portolan_registry::testing::{self, Cluster, PATIENCE, Setup};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Pushes that find no quorum, or too few copies, give up soon, and not so soon that those before need a machine that
/// never stands still.
fn impatient() -> Config {
    let uploads = Uploads { commit_timeout_ms: 5_000, ack_timeout_ms: 5_000, ..Uploads::default() };
    Config { uploads, ..testing::config() }
}

#[tokio::test]
async fn without_a_quorum_writes_get_503_and_digests_are_served_and_a_put_is_repeated() {
    // While there is a leader nothing is read but a blob that this node knows.
    let reads = Reads { linearizable_timeout_ms: 300, ..Reads::default() };
    let registry = Config { reads, ..impatient() };
    let server = Server::with(Setup { nodes: 2, registry, ..Setup::default() }).await;
    let client = server.client(1);
    let (digest, bytes) = client.push_image("a", "t", 1).await;
    let layer = random(9, 200_000);
    let session = client.begin("a").await;
    assert_eq!(client.patch(&session, None, layer.clone()).await.status(), 202);
    server.cluster.cut(1);
    // Pulls by digest go on.
    assert_eq!(client.get(&format!("/v2/a/manifests/{digest}")).await.bytes().await.unwrap(), bytes);
    let config = Digest::sha256_of(b"{\"seed\":1}");
    assert_eq!(client.get(&format!("/v2/a/blobs/{config}")).await.status(), 200);
    // The last known meaning of a tag is served, marked.
    let stale = client.get("/v2/a/manifests/t").await;
    assert_eq!(stale.status(), 200);
    assert!(header(&stale, "Warning").starts_with("299 - \""));
    assert!(header(&stale, "Age").parse::<u64>().unwrap() < 60);
    assert_eq!(stale.bytes().await.unwrap(), bytes);
    assert_eq!(client.get("/v2/a/tags/list").await.status(), 200);
    // What is not known here is not known to be unknown.
    let nowhere = Digest::sha256_of(b"nowhere");
    for target in ["manifests/none".to_owned(), format!("manifests/{nowhere}"), format!("blobs/{nowhere}")] {
        refused(client.get(&format!("/v2/a/{target}")).await, 503, "UNAVAILABLE").await;
    }
    // Writes are refused in time, with a hint when to come back; the upload is kept.
    let put = client.finish(&session, &Digest::sha256_of(&layer).to_string()).await;
    assert_eq!(header(&put, "Retry-After"), "2");
    refused(put, 503, "UNAVAILABLE").await;
    let image = client.put_manifest("a", "u", IMAGE, bytes.clone()).await;
    assert_eq!(header(&image, "Retry-After"), "2");
    refused(image, 503, "UNAVAILABLE").await;
    assert_eq!(client.get(&session).await.status(), 204);
    let (status, reasons) = server.ops(1, "/readyz/write").await;
    assert_eq!(status, 503, "{reasons}");
    server.cluster.heal(1);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let put = client.finish(&session, &Digest::sha256_of(&layer).to_string()).await;
        if put.status() == 201 {
            break;
        }
        assert!(Instant::now() < deadline, "{put:?}");
    }
    let blob = client.get(&format!("/v2/a/blobs/{}", Digest::sha256_of(&layer))).await;
    assert_eq!(blob.bytes().await.unwrap(), layer);
    server.stop().await;
}

/// Three nodes of which the second was stopped and started again, cut off from the others, and has not announced it.
async fn restarted_alone(ready_wait_ms: u64) -> Cluster {
    let reads = Reads { linearizable_timeout_ms: 1_000, ready_wait_ms, ..Reads::default() };
    let registry = Config { reads, ..testing::config() };
    let mut cluster = Cluster::start(Setup { nodes: 3, registry, ..Setup::default() }).await;
    assert_eq!(reasons(&cluster), NO_REASON);
    cluster.cut(2);
    cluster.reopen(2).await;
    cluster
}

const NO_REASON: [&str; 0] = [];

/// Why the second node is not ready for pulls.
fn reasons(cluster: &Cluster) -> Vec<String> {
    cluster.registry(2).pull_readiness().unwrap().reasons
}

#[tokio::test]
async fn a_restarted_node_is_not_ready_until_it_follows_the_log_again() {
    let cluster = restarted_alone(3_600_000).await;
    assert_eq!(reasons(&cluster), ["this start is not confirmed by the cluster yet"]);
    cluster.heal(2);
    cluster.announce(2).await;
    assert_eq!(reasons(&cluster), NO_REASON);
    // It is no matter of having a leader: who loses it later goes on.
    cluster.cut(2);
    assert!(cluster.registry(2).push_readiness().await.unwrap().reasons.len() == 1);
    assert_eq!(reasons(&cluster), NO_REASON);
    cluster.stop().await;
}

#[tokio::test]
async fn a_read_that_the_cluster_confirmed_makes_a_restarted_node_ready() {
    let cluster = restarted_alone(3_600_000).await;
    cluster.heal(2);
    let deadline = Instant::now() + PATIENCE;
    // The second reason of a node that takes no pushes would be that no read was confirmed.
    while cluster.registry(2).push_readiness().await.unwrap().reasons.len() > 1 {
        assert!(Instant::now() < deadline, "no read was confirmed");
    }
    assert_eq!(reasons(&cluster), NO_REASON);
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_that_finds_no_quorum_after_its_start_is_ready_for_pulls_in_the_end() {
    let cluster = restarted_alone(500).await;
    let ready =
        || reasons(&cluster).is_empty().then_some(()).ok_or_else(|| format!("never ready: {:?}", reasons(&cluster)));
    until(async || ready()).await;
    assert!(!cluster.registry(2).push_readiness().await.unwrap().is_ready());
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_pushed_at_one_node_is_pulled_at_the_other_at_once() {
    let server = Server::with(Setup { nodes: 2, ..Setup::default() }).await;
    let (here, there) = (server.client(1), server.client(2));
    for seed in 0..5 {
        let (digest, bytes) = here.push_image("a", "t", seed).await;
        let got = there.get("/v2/a/manifests/t").await;
        assert_eq!(header(&got, "Docker-Content-Digest"), digest.to_string());
        assert_eq!(got.bytes().await.unwrap(), bytes);
        let layer = random(seed, 3000);
        let blob = there.get(&format!("/v2/a/blobs/{}", Digest::sha256_of(&layer))).await;
        assert!(["local", "following", "peer 1"].contains(&header(&blob, "Portolan-Source").as_str()), "{blob:?}");
        assert_eq!(blob.bytes().await.unwrap(), layer);
        // A delete's answer waits until the other node has applied it.
        let deleted = here.send("DELETE", &format!("/v2/a/manifests/{digest}")).await;
        assert_eq!(deleted.status(), 202);
        assert!(deleted.headers().get("Warning").is_none(), "{deleted:?}");
        refused(there.get(&format!("/v2/a/manifests/{digest}")).await, 404, "MANIFEST_UNKNOWN").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_uploads_and_goes_on_serving() {
    let mut setup = Setup::default();
    setup.store.reserve_bytes = u64::MAX;
    let server = Server::with(setup).await;
    let client = server.client(1);
    refused(client.send("POST", "/v2/a/blobs/uploads/").await, 507, "STORAGE_FULL").await;
    let target = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256_of(b"x"));
    refused(client.ask("POST", &target).body("x").send().await.unwrap(), 507, "STORAGE_FULL").await;
    assert_eq!(std::fs::read_dir(server.cluster.folder(1).join("uploads")).unwrap().count(), 0);
    let (status, reasons) = server.ops(1, "/readyz/write").await;
    assert!(status == 503 && reasons.contains("full"), "{status} {reasons}");
    assert_eq!(server.ops(1, "/readyz").await.0, 200);
    refused(client.get("/v2/a/manifests/t").await, 404, "MANIFEST_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn a_push_waits_for_its_second_copy_and_without_it_says_what_is_durable_where() {
    let server = Server::with(Setup { nodes: 2, one_region: true, registry: impatient(), ..Setup::default() }).await;
    let client = server.client(1);
    client.push_image("a", "t", 1).await;
    // The second node fetches nothing any more.
    server.cluster.floors(2).replication.shutdown().await;
    let config = random(2, 100);
    client.push_blob("a", &config).await;
    let image = manifest(&config, &[]).to_string().into_bytes();
    let put = client.put_manifest("a", "u", IMAGE, image).await;
    assert_eq!(header(&put, "Retry-After"), "5");
    let body = refused(put, 503, "ACK_PENDING").await;
    let detail = body.errors[0].detail.clone().unwrap();
    let want = json!({
        "digest": Digest::sha256_of(&config),
        "durable_on": ["n1"],
        "durable_in": {"r1": ["n1"]},
        "needed": {"regions": 1, "copies": 2},
    });
    assert_eq!(detail, want);
    refused(client.get("/v2/a/manifests/u").await, 404, "MANIFEST_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn a_push_that_waits_is_told_of_the_copies_that_count_and_of_how_many_are_needed() {
    let server = Server::with(Setup { nodes: 3, registry: impatient(), ..Setup::default() }).await;
    let client = server.client(1);
    let set = async |settings: serde_json::Value| {
        let request = client.ask("PUT", "/api/v1/repos?prefix=a").bearer_auth("s3cret");
        assert_eq!(request.body(settings.to_string()).send().await.unwrap().status(), 200, "{settings}");
    };
    server.cluster.floors(2).replication.shutdown().await;
    set(json!({"regions": {"only": ["r1"]}})).await;
    let (_, bytes) = client.push_image("a", "t", 1).await;
    // A pull leaves copies in r3, where none are wanted.
    for blob in [b"{\"seed\":1}".to_vec(), random(1, 3000)] {
        let target = format!("/v2/a/blobs/{}", Digest::sha256_of(&blob));
        assert_eq!(server.client(3).get(&target).await.bytes().await.unwrap(), blob);
    }
    client.report_until("replication?image=a:t", |report| report["regions"][2]["blobs"] == 2).await;
    set(json!({"regions": {"only": ["r1", "r2"]}, "ack": {"regions": 2, "copies": 1}})).await;
    let body = refused(client.put_manifest("a", "u", IMAGE, bytes).await, 503, "ACK_PENDING").await;
    assert_eq!(body.errors.len(), 2, "{body:?}");
    for error in &body.errors {
        let detail = error.detail.as_ref().unwrap();
        assert_eq!((&detail["durable_on"], &detail["durable_in"]), (&json!(["n1"]), &json!({"r1": ["n1"]})));
        assert_eq!(detail["needed"], json!({"regions": 2, "copies": 1}));
    }
    server.stop().await;
}

#[tokio::test]
async fn more_sessions_than_allowed_get_429() {
    let uploads = Uploads { sessions: 2, ..Uploads::default() };
    let registry = Config { uploads, ..testing::config() };
    let server = Server::with(Setup { registry, ..Setup::default() }).await;
    let client = server.client(1);
    let first = client.begin("a").await;
    client.begin("a").await;
    let third = client.send("POST", "/v2/a/blobs/uploads/").await;
    assert_eq!(header(&third, "Retry-After"), "1");
    refused(third, 429, "TOOMANYREQUESTS").await;
    assert_eq!(client.send("DELETE", &first).await.status(), 204);
    client.begin("a").await;
    server.stop().await;
}

#[tokio::test]
async fn more_requests_than_allowed_get_429() {
    let registry = Config { limits: Limits { requests: 1, ..Limits::default() }, ..testing::config() };
    let server = Server::with(Setup { registry, ..Setup::default() }).await;
    let client = server.client(1);
    let session = client.begin("a").await;
    let mut hanging = TcpStream::connect(server.ports(1).public).await.unwrap();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    hanging.write_all(head.as_bytes()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let response = client.get("/v2/").await;
        if response.status() == 429 {
            refused(response, 429, "TOOMANYREQUESTS").await;
            break;
        }
        assert!(Instant::now() < deadline, "never too many");
    }
    hanging.write_all(b"cd").await.unwrap();
    let mut answer = vec![0; 12];
    hanging.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 202");
    server.stop().await;
}

#[tokio::test]
async fn a_silent_client_loses_its_request_and_keeps_its_bytes() {
    let uploads = Uploads { idle_timeout_ms: 200, ..Uploads::default() };
    let registry = Config { uploads, ..testing::config() };
    let server = Server::with(Setup { registry, ..Setup::default() }).await;
    let client = server.client(1);
    let session = client.begin("a").await;
    let mut hanging = TcpStream::connect(server.ports(1).public).await.unwrap();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    hanging.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    hanging.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert_eq!(header(&client.get(&session).await, "Range"), "0-1");
    server.stop().await;
}

#[tokio::test]
async fn an_expired_session_is_swept() {
    let uploads = Uploads { session_ttl_ms: 3_000, sweep_interval_ms: 50, ..Uploads::default() };
    let registry = Config { uploads, ..testing::config() };
    let server = Server::with(Setup { registry, ..Setup::default() }).await;
    let client = server.client(1);
    let session = client.begin("a").await;
    assert_eq!(client.patch(&session, None, random(1, 1000)).await.status(), 202);
    let folder = server.cluster.folder(1).join("uploads");
    until_holds("never swept", || std::fs::read_dir(&folder).unwrap().count() == 0).await;
    refused(client.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let mut server = Server::start().await;
    let client = server.client(1);
    let session = client.begin("a").await;
    let port = server.ports(1).public;
    let mut stream = TcpStream::connect(port).await.unwrap();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    stream.write_all(head.as_bytes()).await.unwrap();
    let part = server.cluster.folder(1).join("uploads").join(session.rsplit('.').next().unwrap()).join("data");
    until_holds("the beginning never arrived", || std::fs::metadata(&part).unwrap().len() >= 2).await;
    let finish = async {
        // Only after the stop has begun does the client send the rest.
        until(async || TcpStream::connect(port).await.err().ok_or_else(|| "the port is still open".to_owned())).await;
        stream.write_all(b"cd").await.unwrap();
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    };
    let (cut, answer) = tokio::join!(server.close(1), finish);
    assert_eq!((cut, answer.as_slice()), (0, b"HTTP/1.1 202".as_slice()));
    server.cluster.stop().await;
}
