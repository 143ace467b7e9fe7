//! What a repository's policy promises its readers and demands of its pushes (design, section 6).

use crate::support::{IMAGE, LEADERLESS_READ_MS, Server, header, manifest, random, refused};
use portolan_oci::Digest;
use portolan_registry::testing::Setup;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn set(server: &Server, prefix: &str, settings: Value) {
    let request = server.client(1).ask("PUT", &format!("/api/v1/repos?prefix={prefix}"));
    let response = request.bearer_auth("s3cret").body(settings.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200, "{prefix} {settings}: {:?}", response.text().await);
}

/// Nodes that are going to lose their leader.
async fn leaderless(nodes: u64) -> Server {
    let mut setup = Setup { nodes, ..Setup::default() };
    setup.registry.reads.linearizable_timeout_ms = LEADERLESS_READ_MS;
    Server::with(setup).await
}

#[tokio::test]
async fn without_a_leader_each_repository_keeps_its_own_contract_and_digests_are_served_in_all() {
    let server = leaderless(2).await;
    let client = server.client(1);
    set(&server, "strict", json!({"partition": "fail"})).await;
    set(&server, "strict/but/lenient", json!({"partition": "serve-stale"})).await;
    let repos = ["strict/app", "strict/but/lenient/app", "other"];
    let mut pushed = Vec::new();
    for (seed, repo) in (1..).zip(repos) {
        pushed.push(client.push_image(repo, "t", seed).await);
    }
    server.cluster.cut(1);
    let began = Instant::now();
    for (repo, (digest, bytes)) in repos.into_iter().zip(&pushed) {
        for target in [format!("/v2/{repo}/manifests/t"), format!("/v2/{repo}/tags/list")] {
            let answer = client.get(&target).await;
            if repo == "strict/app" {
                assert_eq!(header(&answer, "Retry-After"), "2", "{target}");
                refused(answer, 503, "UNAVAILABLE").await;
            } else {
                assert_eq!(answer.status(), 200, "{target}");
                assert!(header(&answer, "Warning").starts_with("299 - \""), "{target}");
                assert!(header(&answer, "Age").parse::<u64>().unwrap() < 60, "{target}");
            }
        }
        let by_digest = client.get(&format!("/v2/{repo}/manifests/{digest}")).await;
        assert_eq!(by_digest.bytes().await.unwrap(), *bytes);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "each waits for its own limit at most");
    server.cluster.heal(1);
    server.stop().await;
}

#[tokio::test]
async fn a_bounded_read_is_answered_from_the_last_confirmation_until_that_is_too_old() {
    let server = leaderless(2).await;
    let client = server.client(1);
    set(&server, "long", json!({"tag_reads": {"bounded_ms": 3_600_000}})).await;
    set(&server, "short", json!({"tag_reads": {"bounded_ms": 1}})).await;
    for repo in ["long/app", "short/app"] {
        client.push_image(repo, "t", 1).await;
        assert_eq!(client.get(&format!("/v2/{repo}/manifests/t")).await.status(), 200);
    }
    server.cluster.cut(1);
    let fresh_enough = client.get("/v2/long/app/manifests/t").await;
    assert_eq!(fresh_enough.status(), 200);
    assert!(fresh_enough.headers().get("Warning").is_none(), "it keeps the promise that was asked for");
    // What was under way at the cut may confirm one more read.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let too_old = client.get("/v2/short/app/manifests/t").await;
        assert_eq!(too_old.status(), 200);
        if too_old.headers().get("Warning").is_some_and(|text| text.as_bytes().starts_with(b"299 - \"")) {
            break;
        }
        assert!(Instant::now() < deadline, "not marked: {too_old:?}");
    }
    server.cluster.heal(1);
    server.stop().await;
}

#[tokio::test]
async fn within_the_bound_nothing_is_unknown_before_the_leader_says_so() {
    let server = leaderless(3).await;
    let (here, there) = (server.client(1), server.client(3));
    set(&server, "long", json!({"tag_reads": {"bounded_ms": 3_600_000}})).await;
    there.push_image("long/app", "old", 1).await;
    let targets = ["/v2/long/app/manifests/new", "/v2/long/new/tags/list", "/api/v1/replication?image=long/app:new"];
    // The first read of this start passes a barrier, and the later ones count from it.
    for (target, code) in targets.into_iter().zip(["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "MANIFEST_UNKNOWN"]) {
        assert_eq!(here.get("/v2/long/app/manifests/old").await.status(), 200);
        refused(here.get(target).await, 404, code).await;
    }
    server.cluster.cut(1);
    there.push_image("long/app", "new", 2).await;
    there.push_image("long/new", "new", 3).await;
    for target in targets {
        let answer = here.get(target).await;
        assert_eq!(header(&answer, "Retry-After"), "2", "{target}");
        refused(answer, 503, "UNAVAILABLE").await;
    }
    let hit = here.get("/v2/long/app/manifests/old").await;
    assert_eq!((hit.status().as_u16(), hit.headers().get("Warning")), (200, None), "what is known within the bound");
    server.cluster.heal(1);
    // One barrier finds what was merely not applied here.
    let deadline = Instant::now() + Duration::from_secs(30);
    for target in targets {
        while here.get(target).await.status() == 503 {
            assert!(Instant::now() < deadline, "{target}: no leader is found again");
        }
        assert_eq!(here.get(target).await.status(), 200, "{target}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_push_through_a_region_that_must_not_store_lands_where_it_may_in_every_way_to_upload() {
    let server = Server::with(Setup { nodes: 2, ..Setup::default() }).await;
    set(&server, "bound", json!({"regions": {"never_outside": ["r2"]}})).await;
    // Node 1 is in r1.
    let client = server.client(1);
    let (config, layer, streamed) = (random(1, 100), random(2, 400_000), random(3, 3_000_000));
    client.push_blob("bound/app", &config).await;
    let whole = client.ask("POST", &format!("/v2/bound/app/blobs/uploads/?digest={}", Digest::sha256_of(&layer)));
    assert_eq!(whole.body(layer.clone()).send().await.unwrap().status(), 201);
    let session = client.begin("bound/app").await;
    assert_eq!(client.patch(&session, None, streamed.clone()).await.status(), 202);
    assert_eq!(client.finish(&session, &Digest::sha256_of(&streamed).to_string()).await.status(), 201);
    let image = serde_json::to_vec(&manifest(&config, &[&layer, &streamed])).unwrap();
    assert_eq!(client.put_manifest("bound/app", "t", IMAGE, image).await.status(), 201);
    for bytes in [&config, &layer, &streamed] {
        let digest = Digest::sha256_of(bytes);
        let files = |node| server.cluster.floors(node).blobs.files_of(&digest).unwrap().len();
        assert_eq!((files(1), files(2)), (0, 1), "{digest}");
        let pulled = client.get(&format!("/v2/bound/app/blobs/{digest}")).await;
        assert_eq!(pulled.bytes().await.unwrap(), *bytes);
    }
    // With the one region that may store them out of reach, a push is refused before its bytes are sent.
    server.cluster.cut(2);
    refused(client.send("POST", "/v2/bound/app/blobs/uploads/").await, 503, "UNAVAILABLE").await;
    server.cluster.heal(2);
    server.stop().await;
}
