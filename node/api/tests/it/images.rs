//! Where an image is, waiting for it, and what would be lost with a region.

use crate::support::{Client, IMAGE, INDEX, LEADERLESS_READ_MS, Server, descriptor, header, manifest, random, refused};
use portolan_oci::Digest;
use portolan_registry::testing::Setup;
use reqwest::Response;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn three() -> Setup {
    Setup { nodes: 3, ..Setup::default() }
}

async fn wait(client: &Client, query: &str) -> (u16, Value) {
    let response = client.get(&format!("/api/v1/wait?{query}")).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn status(client: &Client, image: &str) -> Value {
    let response = client.get(&format!("/api/v1/replication?image={image}")).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{image}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn set(client: &Client, prefix: &str, settings: &Value) {
    let request = client.ask("PUT", &format!("/api/v1/repos?prefix={prefix}"));
    let response = request.bearer_auth("s3cret").body(settings.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200, "{settings}");
}

fn region<'a>(report: &'a Value, name: &str) -> &'a Value {
    let regions = report["regions"].as_array().unwrap();
    regions.iter().find(|region| region["region"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// Pushes a manifest that refers to another, with a blob of its own, and gives the blob's digest.
async fn attach(client: &Client, repo: &str, subject: &Digest, subject_bytes: usize, seed: u64) -> Digest {
    let layer = random(seed, 2000);
    client.push_blob(repo, b"{}").await;
    let digest = client.push_blob(repo, &layer).await;
    let mut signature = manifest(b"{}", &[&layer]);
    signature["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": subject_bytes});
    signature["artifactType"] = json!("application/vnd.test.signature");
    let bytes = signature.to_string().into_bytes();
    let reference = Digest::sha256_of(&bytes).to_string();
    assert_eq!(client.put_manifest(repo, &reference, IMAGE, bytes).await.status(), 201);
    digest
}

#[tokio::test]
async fn a_wait_ends_when_the_image_is_there_with_its_children_and_signatures() {
    let server = Server::with(three()).await;
    let (first, third) = (server.client(1), server.client(3));
    let (child, bytes) = first.push_image("team/app", "amd64", 1).await;
    attach(&first, "team/app", &child, bytes.len(), 7).await;
    let mut entry = descriptor(IMAGE, &bytes);
    entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string().into_bytes();
    assert_eq!(first.put_manifest("team/app", "v1", INDEX, index.clone()).await.status(), 201);
    // Any node answers, also for regions that are not its own.
    let (code, report) = wait(&third, "image=team/app:v1&regions=r2,r3&timeout=30s").await;
    assert_eq!((code, &report["done"]), (200, &json!(true)), "{report}");
    assert_eq!(report["digest"], json!(Digest::sha256_of(&index)));
    assert_eq!((&report["manifests"], &report["blobs"]), (&json!(3), &json!(4)), "{report}");
    for name in ["r1", "r2", "r3"] {
        let region = region(&report, name);
        assert_eq!((&region["copies"], &region["done"]), (&json!(1), &json!(true)), "{region}");
    }
    // Without regions: everywhere where policy wants it. A host before the name is passed over.
    let (code, report) = wait(&third, "image=localhost:5001/team/app:v1&timeout=30s").await;
    assert_eq!(code, 200, "{report}");
    let (all, there) = (&report["bytes"], &region(&report, "r2")["bytes"]);
    assert_eq!(all, there, "{report}");
    server.stop().await;
}

#[tokio::test]
async fn a_wait_says_at_its_deadline_what_is_missing_and_a_later_one_goes_on() {
    let server = Server::with(three()).await;
    let client = server.client(1);
    server.cluster.cut(3);
    client.push_image("app", "v1", 1).await;
    let began = Instant::now();
    let (code, report) = wait(&client, "image=app:v1&regions=r3&timeout=700ms").await;
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    assert_eq!((code, &report["done"]), (408, &json!(false)), "{report}");
    let lacking = region(&report, "r3");
    assert_eq!((&lacking["blobs"], &lacking["bytes"], &lacking["done"]), (&json!(0), &json!(0), &json!(false)));
    assert!(lacking["missing_bytes"].as_u64().unwrap() >= 3000, "{report}");
    // The waiter sees it come, by itself.
    let late = tokio::spawn({
        let client = client.clone();
        async move { wait(&client, "image=app:v1&regions=r3&timeout=1m").await }
    });
    server.cluster.heal(3);
    let (code, report) = late.await.unwrap();
    assert_eq!(code, 200, "{report}");
    assert_eq!(region(&report, "r3")["missing_bytes"], json!(0));
    server.stop().await;
}

#[tokio::test]
async fn a_tag_that_moves_meanwhile_means_what_it_meant() {
    let server = Server::with(three()).await;
    let client = server.client(1);
    let (first, _) = client.push_image("app", "v1", 1).await;
    server.cluster.cut(3);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { wait(&client, "image=app:v1&regions=r3&timeout=2s").await }
    });
    // Whichever comes first, one image is meant from its beginning to its end.
    let (second, _) = client.push_image("app", "v1", 2).await;
    let (_, report) = waiting.await.unwrap();
    assert!([json!(first), json!(second)].contains(&report["digest"]), "{report}");
    assert_eq!(report["reference"], "v1");
    server.stop().await;
}

#[tokio::test]
async fn where_policy_wants_nothing_nobody_waits_in_vain() {
    let server = Server::with(three()).await;
    let client = server.client(1);
    set(&client, "app", &json!({"regions": {"only": ["r1", "r2"]}})).await;
    client.push_image("app", "v1", 1).await;
    let response = client.get("/api/v1/wait?image=app:v1&regions=r2,r3&timeout=1h").await;
    let body = refused(response, 409, "REGION_UNWANTED").await;
    let message = &body.errors[0].message;
    assert!(message.contains("r3") && message.contains("r1, r2") && message.contains("repo set"), "{message}");
    let detail = body.errors[0].detail.as_ref().unwrap();
    assert_eq!(detail, &json!({"regions": ["r3"], "wanted": ["r1", "r2"]}));
    let (code, _) = wait(&client, "image=app:v1&timeout=30s").await;
    assert_eq!(code, 200);
    let report = status(&client, "app:v1").await;
    assert_eq!(region(&report, "r3")["copies"], json!(0), "{report}");
    assert_eq!((&region(&report, "r3")["done"], &report["done"]), (&json!(true), &json!(true)));
    // A wider policy is an answer to those who wait.
    set(&client, "app", &json!({})).await;
    let (code, report) = wait(&client, "image=app:v1&regions=r3&timeout=30s").await;
    assert_eq!(code, 200, "{report}");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused_in_words() {
    let server = Server::with(three()).await;
    let client = server.client(2);
    client.push_image("app", "v1", 1).await;
    let unknown = Digest::sha256_of(b"?");
    let cases: Vec<(String, u16, &str, &str)> = vec![
        ("wait".into(), 400, "REQUEST_INVALID", "image"),
        ("wait?image=".into(), 400, "REQUEST_INVALID", "image"),
        ("wait?image=App".into(), 400, "NAME_INVALID", "upper-case"),
        ("wait?image=app:.x".into(), 400, "TAG_INVALID", "tag"),
        ("wait?image=app@sha256:1".into(), 400, "DIGEST_INVALID", "digest"),
        ("wait?image=none:v1".into(), 404, "NAME_UNKNOWN", "none"),
        ("wait?image=app:v2".into(), 404, "MANIFEST_UNKNOWN", "v2"),
        (format!("wait?image=app@{unknown}"), 404, "MANIFEST_UNKNOWN", "sha256"),
        ("wait?image=app:v1&regions=mars".into(), 400, "REQUEST_INVALID", "r1, r2, r3"),
        ("wait?image=app:v1&timeout=2h".into(), 400, "REQUEST_INVALID", "at most 1h"),
        ("wait?image=app:v1&timeout=60".into(), 400, "REQUEST_INVALID", "ms, s, m or h"),
        ("replication".into(), 400, "REQUEST_INVALID", "image"),
        ("replication?image=a%20b".into(), 400, "NAME_INVALID", "a b"),
        ("replication?image=none".into(), 404, "NAME_UNKNOWN", "none"),
        ("replication?image=app:v2".into(), 404, "MANIFEST_UNKNOWN", "v2"),
    ];
    for (target, status, code, says) in cases {
        let body = refused(client.get(&format!("/api/v1/{target}")).await, status, code).await;
        assert!(body.errors[0].message.contains(says), "{target}: {says} in {:?}", body.errors[0].message);
    }
    server.stop().await;
}

#[tokio::test]
async fn as_many_wait_as_may() {
    let mut setup = three();
    setup.registry.limits.waits = 1;
    let server = Server::with(setup).await;
    let client = server.client(1);
    server.cluster.cut(3);
    client.push_image("app", "v1", 1).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move {
            // Who asks below may have the place for a moment.
            loop {
                let answer = wait(&client, "image=app:v1&timeout=20s").await;
                if answer.0 != 429 {
                    return answer;
                }
            }
        }
    });
    let busy: Response = loop {
        let other = client.get("/api/v1/wait?image=app:v1&timeout=0s").await;
        if other.status() == 429 {
            break other;
        }
        assert!(!waiting.is_finished(), "nobody waited");
    };
    refused(busy, 429, "TOOMANYREQUESTS").await;
    // A node that leaves sends those who wait elsewhere.
    server.cluster.registry(1).leave();
    let (code, body) = waiting.await.unwrap();
    assert_eq!((code, &body["errors"][0]["code"]), (503, &json!("UNAVAILABLE")));
    server.stop().await;
}

#[tokio::test]
async fn the_status_of_an_image_tells_every_region_what_it_has() {
    let mut setup = three();
    setup.registry.reads.linearizable_timeout_ms = LEADERLESS_READ_MS;
    let server = Server::with(setup).await;
    let client = server.client(2);
    server.cluster.cut(3);
    let (digest, _) = client.push_image("app", "v1", 1).await;
    let (code, _) = wait(&client, "image=app:v1&regions=r1&timeout=30s").await;
    assert_eq!(code, 200);
    let report = status(&client, "app:v1").await;
    assert_eq!((&report["repository"], &report["reference"]), (&json!("app"), &json!("v1")));
    assert_eq!(report["digest"], json!(digest));
    assert_eq!((&report["manifests"], &report["blobs"], &report["done"]), (&json!(1), &json!(2), &json!(false)));
    let (here, there) = (region(&report, "r2"), region(&report, "r3"));
    assert_eq!((&here["blobs"], &here["missing_bytes"], &here["done"]), (&json!(2), &json!(0), &json!(true)));
    assert_eq!(
        (&there["blobs"], &there["missing_bytes"], &there["done"]),
        (&json!(0), &report["bytes"], &json!(false))
    );
    assert_eq!((&there["eta_ms"], &there["sources"]), (&Value::Null, &json!([])), "its node cannot be asked");
    let by_digest = status(&client, &format!("app@{digest}")).await;
    assert_eq!(by_digest["digest"], json!(digest));
    assert_eq!((&report["stale_ms"], &by_digest["stale_ms"]), (&Value::Null, &Value::Null));
    // Without a majority the state is old, and says so: of a digest too, since where its blobs are may change.
    server.cluster.cut(1);
    for (target, status) in [
        ("replication?image=app:v1".to_owned(), 200),
        (format!("replication?image=app@{digest}"), 200),
        (format!("wait?image=app@{digest}&regions=r1&timeout=20s"), 200),
        (format!("wait?image=app@{digest}&regions=r3&timeout=100ms"), 408),
    ] {
        let old = client.get(&format!("/api/v1/{target}")).await;
        assert_eq!(old.status().as_u16(), status, "{target}");
        assert!(header(&old, "Warning").starts_with("299 "), "{target}: {:?}", old.headers());
        let age: u64 = header(&old, "Age").parse().unwrap();
        let report: Value = old.json().await.unwrap();
        let stale_ms = report["stale_ms"].as_u64().unwrap_or_else(|| panic!("{target}: {report}"));
        assert_eq!(stale_ms / 1000, age, "{target}");
    }
    refused(client.get("/api/v1/wait?image=app:v1").await, 503, "UNAVAILABLE").await;
    let unknown = format!("/api/v1/replication?image=app@{}", Digest::sha256_of(b"?"));
    refused(client.get(&unknown).await, 503, "UNAVAILABLE").await;
    server.stop().await;
}

#[tokio::test]
async fn what_only_one_region_holds_would_be_lost_with_it() {
    let server = Server::with(three()).await;
    let client = server.client(1);
    client.push_image("shared/app", "v1", 1).await;
    set(&client, "alone", &json!({"regions": {"only": ["r1"]}})).await;
    let (digest, bytes) = client.push_image("alone/app", "v1", 2).await;
    attach(&client, "alone/app", &digest, bytes.len(), 9).await;
    let settled = |report: &Value| {
        let (first, rest) = (region(report, "r1"), [region(report, "r2"), region(report, "r3")]);
        report["incomplete"] == json!(false) && first["blobs"] == json!(4) && rest.iter().all(|one| one["blobs"] == 0)
    };
    for node in [1, 3] {
        let report = server.client(node).report_until("rpo", settled).await;
        let first = region(&report, "r1");
        assert_eq!(first["images"], json!(["alone/app:v1"]), "the signature is the image's own: {first}");
        assert_eq!((&first["more_images"], &first["all_named"]), (&json!(0), &json!(true)));
        assert!(first["bytes"].as_u64().unwrap() > 5000 && first["oldest_ms"].is_u64(), "{first}");
        assert_eq!(region(&report, "r2")["oldest_ms"], Value::Null);
        assert_eq!((&report["damaged_blobs"], &report["damaged"]), (&json!(0), &json!([])));
    }
    // A wider policy ends the risk.
    set(&client, "alone", &json!({})).await;
    client.report_until("rpo", |report| region(report, "r1")["blobs"] == json!(0)).await;
    server.stop().await;
}
