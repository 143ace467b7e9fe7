//! Where a tag pointed, move by move.

use crate::support::{Client, IMAGE, LEADERLESS_READ_MS, Server, header, refused};
use portolan_oci::Digest;
use portolan_registry::testing::Setup;
use serde_json::{Value, json};

/// How many moves of a tag are remembered.
const REMEMBERED: u64 = 100;

async fn history(client: &Client, image: &str) -> Value {
    let response = client.get(&format!("/api/v1/history?image={image}")).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{image}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Revision, digest and author of each move.
fn moves(report: &Value) -> Vec<(u64, Option<Digest>, String)> {
    let one = |told: &Value| {
        let digest = serde_json::from_value(told["digest"].clone()).unwrap();
        (told["revision"].as_u64().unwrap(), digest, told["by"].as_str().unwrap().to_owned())
    };
    report["moves"].as_array().unwrap().iter().map(one).collect()
}

/// Puts a manifest under a tag, as nobody in particular.
async fn point(client: &Client, repo: &str, tag: &str, bytes: &[u8]) {
    assert_eq!(client.put_manifest(repo, tag, IMAGE, bytes.to_vec()).await.status(), 201);
}

async fn delete(client: &Client, repo: &str, reference: &str) {
    assert_eq!(client.send("DELETE", &format!("/v2/{repo}/manifests/{reference}")).await.status(), 202);
}

#[tokio::test]
async fn every_move_is_told_by_any_node_as_soon_as_it_was_made() {
    let server = Server::with(Setup { nodes: 3, ..Setup::default() }).await;
    let (here, there) = (server.client(1), server.client(3));
    let (first, _) = here.push_image("team/app", "v1", 1).await;
    let mut want = vec![(1, Some(first), "anonymous".to_owned())];
    assert_eq!(moves(&history(&there, "team/app:v1").await), want);

    let (second, bytes) = here.push_image("team/app", "other", 2).await;
    let put = here.ask("PUT", "/v2/team/app/manifests/v1").bearer_auth("s3cret").header("Content-Type", IMAGE);
    assert_eq!(put.body(bytes.clone()).send().await.unwrap().status(), 201);
    want.insert(0, (2, Some(second), "admin".to_owned()));
    assert_eq!(moves(&history(&there, "team/app:v1").await), want);
    // A push of what it points at already moves nothing.
    point(&here, "team/app", "v1", &bytes).await;
    assert_eq!(moves(&history(&there, "team/app:v1").await), want);

    delete(&here, "team/app", "v1").await;
    want.insert(0, (3, None, "anonymous".to_owned()));
    assert_eq!(moves(&history(&there, "team/app:v1").await), want, "removed by its name");
    point(&here, "team/app", "v1", &bytes).await;
    want.insert(0, (4, Some(second), "anonymous".to_owned()));
    assert_eq!(moves(&history(&there, "team/app:v1").await), want, "and back");
    delete(&here, "team/app", &second.to_string()).await;
    want.insert(0, (5, None, "anonymous".to_owned()));

    let report = history(&there, "localhost:5001/team/app:v1").await;
    assert_eq!(moves(&report), want, "removed with its manifest");
    assert_eq!((&report["repository"], &report["tag"]), (&json!("team/app"), &json!("v1")));
    assert_eq!((&report["truncated"], &report["stale_ms"]), (&json!(false), &Value::Null));
    let at: Vec<&str> = report["moves"].as_array().unwrap().iter().map(|one| one["at"].as_str().unwrap()).collect();
    assert!(at.is_sorted_by(|newer, older| newer >= older), "{at:?}");
    assert!(at.iter().all(|at| at.len() == "2025-11-21T11:20:31.999Z".len() && at.ends_with('Z')), "{at:?}");
    // The other tag of that manifest went with it, and has a history of its own.
    let other = history(&there, "team/app:other").await;
    let want = [(2, None, "anonymous".to_owned()), (1, Some(second), "anonymous".to_owned())];
    assert_eq!(moves(&other), want);
    server.stop().await;
}

#[tokio::test]
async fn a_repository_that_holds_nothing_any_more_tells_what_its_tags_were() {
    let server = Server::start().await;
    let client = server.client(1);
    let (digest, _) = client.push_image("gone", "latest", 1).await;
    delete(&client, "gone", &digest.to_string()).await;
    let catalog: Value = client.get("/v2/_catalog").await.json().await.unwrap();
    assert_eq!(catalog["repositories"], json!([]));
    refused(client.get("/v2/gone/manifests/latest").await, 404, "MANIFEST_UNKNOWN").await;
    let removed = (2, None, "anonymous".to_owned());
    let known = (1, Some(digest), "anonymous".to_owned());
    assert_eq!(moves(&history(&client, "gone").await), [removed.clone(), known.clone()], "without a tag it is latest");
    // Pushed again, the tag goes on counting.
    let (digest, _) = client.push_image("gone", "latest", 1).await;
    let want = [(3, Some(digest), "anonymous".to_owned()), removed, known];
    assert_eq!(moves(&history(&client, "gone:latest").await), want);
    server.stop().await;
}

#[tokio::test]
async fn what_never_was_has_no_history() {
    let server = Server::start().await;
    let client = server.client(1);
    let (digest, _) = client.push_image("app", "v1", 1).await;
    client.push_blob("blobs", b"only").await;
    let cases = [
        ("".to_owned(), 400, "REQUEST_INVALID", "image"),
        ("?image=".to_owned(), 400, "REQUEST_INVALID", "image"),
        ("?image=App:v1".to_owned(), 400, "NAME_INVALID", "upper-case"),
        ("?image=app:.x".to_owned(), 400, "TAG_INVALID", "tag"),
        (format!("?image=app@{digest}"), 400, "REQUEST_INVALID", "only tags move"),
        (format!("?image=app:v1@{digest}"), 400, "REQUEST_INVALID", "only tags move"),
        ("?image=none:v1".to_owned(), 404, "NAME_UNKNOWN", "repository none"),
        ("?image=blobs:v1".to_owned(), 404, "NAME_UNKNOWN", "repository blobs"),
        ("?image=app:v2".to_owned(), 404, "MANIFEST_UNKNOWN", "app has never had a tag v2"),
        ("?image=app".to_owned(), 404, "MANIFEST_UNKNOWN", "app has never had a tag latest"),
        // The beginning of a tag's name is another tag.
        ("?image=app:v".to_owned(), 404, "MANIFEST_UNKNOWN", "app has never had a tag v"),
    ];
    for (query, status, code, says) in cases {
        let body = refused(client.get(&format!("/api/v1/history{query}")).await, status, code).await;
        assert!(body.errors[0].message.contains(says), "{query}: {says} in {:?}", body.errors[0].message);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_forgotten_is_said_to_be() {
    let server = Server::start().await;
    let client = server.client(1);
    let images = [client.push_image("app", "one", 1).await, client.push_image("app", "two", 2).await];
    let pushes = REMEMBERED + 1;
    for (_, bytes) in images.iter().cycle().take(usize::try_from(REMEMBERED).unwrap()) {
        point(&client, "app", "busy", bytes).await;
    }
    let report = history(&client, "app:busy").await;
    let revisions: Vec<u64> = moves(&report).iter().map(|(revision, _, _)| *revision).collect();
    assert_eq!(revisions, (1..=REMEMBERED).rev().collect::<Vec<_>>());
    assert_eq!(report["truncated"], json!(false), "all are there");
    point(&client, "app", "busy", &images[0].1).await;
    let report = history(&client, "app:busy").await;
    let told = moves(&report);
    let revisions: Vec<u64> = told.iter().map(|(revision, _, _)| *revision).collect();
    assert_eq!(revisions, (2..=pushes).rev().collect::<Vec<_>>());
    assert_eq!((report["truncated"].clone(), told[0].1), (json!(true), Some(images[0].0)));
    server.stop().await;
}

#[tokio::test]
async fn without_a_leader_a_history_is_marked_or_refused_as_its_tags_are() {
    let mut setup = Setup { nodes: 2, ..Setup::default() };
    setup.registry.reads.linearizable_timeout_ms = LEADERLESS_READ_MS;
    let server = Server::with(setup).await;
    let client = server.client(1);
    let settings = json!({"partition": "fail"}).to_string();
    let put = client.ask("PUT", "/api/v1/repos?prefix=strict").bearer_auth("s3cret").body(settings);
    assert_eq!(put.send().await.unwrap().status(), 200);
    let (digest, _) = client.push_image("app", "v1", 1).await;
    client.push_image("strict/app", "v1", 2).await;
    delete(&client, "app", "v1").await;
    assert_eq!(moves(&history(&client, "app:v1").await).len(), 2);
    server.cluster.cut(1);
    let old = client.get("/api/v1/history?image=app:v1").await;
    assert_eq!(old.status(), 200);
    assert!(header(&old, "Warning").starts_with("299 - \""), "{:?}", old.headers());
    let age: u64 = header(&old, "Age").parse().unwrap();
    let report: Value = old.json().await.unwrap();
    assert_eq!(report["stale_ms"].as_u64().map(|stale_ms| stale_ms / 1000), Some(age), "{report}");
    let want = [(2, None, "anonymous".to_owned()), (1, Some(digest), "anonymous".to_owned())];
    assert_eq!(moves(&report), want);
    // What this node does not know may have come since.
    for image in ["strict/app:v1", "app:v2", "none:v1"] {
        let answer = client.get(&format!("/api/v1/history?image={image}")).await;
        assert_eq!(header(&answer, "Retry-After"), "2", "{image}");
        refused(answer, 503, "UNAVAILABLE").await;
    }
    server.cluster.heal(1);
    server.stop().await;
}
