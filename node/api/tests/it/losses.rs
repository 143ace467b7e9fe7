//! What would be lost with a region, what nobody can read while one is silent, and what is lost; and how many may ask.

use crate::support::{Client, IMAGE, Server, manifest, random, refused};
use portolan_oci::Digest;
use portolan_registry::testing::{PATIENCE, Setup};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

fn region<'a>(rows: &'a Value, name: &str) -> Option<&'a Value> {
    rows.as_array().unwrap().iter().find(|row| row["region"] == name)
}

async fn warnings(client: &Client) -> String {
    let report: Value = client.get("/api/v1/cluster").await.json().await.unwrap();
    report["warnings"].to_string()
}

async fn set(client: &Client, prefix: &str, settings: &Value) {
    let request = client.ask("PUT", &format!("/api/v1/repos?prefix={prefix}"));
    let response = request.bearer_auth("s3cret").body(settings.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200, "{settings}");
}

#[tokio::test]
async fn what_a_silent_region_alone_has_cannot_be_read_until_it_is_back_and_is_not_forgotten() {
    let mut setup = Setup { nodes: 3, ..Setup::default() };
    setup.consensus.down_after_ms = 1_000;
    setup.registry.reads.holder_wait_ms = 100;
    let server = Server::with(setup).await;
    let (first, third) = (server.client(1), server.client(3));
    set(&first, "alone", &json!({"regions": {"only": ["r3"]}})).await;
    third.push_image("alone/app", "v1", 1).await;
    first.push_image("shared/app", "v1", 2).await;
    let blobs = |report: &Value, name: &str| region(&report["regions"], name).unwrap()["blobs"].clone();
    let hangs_on_r3 = |report: &Value| {
        let others = ["r1", "r2"].iter().all(|name| blobs(report, name) == 0);
        report["incomplete"] == json!(false) && blobs(report, "r3") == json!(2) && others
    };
    let before = first.report_until("rpo", hangs_on_r3).await;
    let none = [json!(0), json!(0), json!([])];
    let silenced = |report: &Value| ["_blobs", "_bytes", ""].map(|part| report[format!("unreachable{part}")].clone());
    assert_eq!(silenced(&before), none, "{before}");

    server.cluster.cut(3);
    let report = first.report_until("rpo", |report| report["unreachable_blobs"] == json!(2)).await;
    let silent = region(&report["unreachable"], "r3").unwrap();
    let lone = region(&before["regions"], "r3").unwrap();
    assert_eq!((&silent["blobs"], &silent["bytes"]), (&lone["blobs"], &lone["bytes"]), "{report}");
    assert_eq!(report["unreachable_bytes"], lone["bytes"]);
    assert_eq!((&silent["images"], &silent["all_named"]), (&json!(["alone/app:v1"]), &json!(true)), "{report}");
    assert!(silent["oldest_ms"].is_u64(), "{report}");
    assert_eq!(report["unreachable"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!((&blobs(&report, "r3"), &report["damaged_blobs"]), (&json!(0), &json!(0)), "{report}");
    let said = warnings(&first).await;
    assert!(said.contains("2 blobs cannot be read until r3 is back"), "{said}");
    let layer = Digest::sha256_of(&random(1, 3000));
    refused(first.get(&format!("/v2/alone/app/blobs/{layer}")).await, 503, "UNAVAILABLE").await;

    server.cluster.heal(3);
    let after = first.report_until("rpo", hangs_on_r3).await;
    assert_eq!(silenced(&after), none, "{after}");
    assert!(!warnings(&first).await.contains("cannot be read"));
    server.stop().await;
}

#[tokio::test]
async fn images_that_were_not_looked_for_are_not_passed_over_in_silence() {
    let server = Server::start().await;
    let client = server.client(1);
    let (base, config) = (random(1, 500), b"{}");
    let digest = client.push_blob("team/app", &base).await;
    client.push_blob("team/app", config).await;
    // As many as are looked at, then one more: all of one layer and one config.
    let push = async |count: std::ops::Range<usize>| {
        for index in count {
            let mut image = manifest(config, &[&base]);
            image["annotations"] = json!({"index": index.to_string()});
            let (tag, bytes) = (format!("v{index}"), image.to_string().into_bytes());
            assert_eq!(client.put_manifest("team/app", &tag, IMAGE, bytes).await.status(), 201);
        }
    };
    let hangs = |report: &Value| report["incomplete"] == json!(false) && report["regions"][0]["blobs"] == json!(2);
    push(0..256).await;
    client
        .report_until("rpo", |report| {
            let one = &report["regions"][0];
            hangs(report) && one["all_named"] == json!(true) && one["more_images"] == json!(256 - 50)
        })
        .await;
    push(256..257).await;
    let report = client.report_until("rpo", |report| report["regions"][0]["all_named"] == json!(false)).await;
    assert_eq!(report["regions"][0]["images"].as_array().unwrap().len(), 50, "{report}");
    assert_eq!(report["all_damaged_named"], json!(true), "nothing is damaged: {report}");

    // Its last copy goes behind the node's back; whoever wants its bytes finds out.
    let hex = digest.hex();
    let folder = server.cluster.folder(1).join("blobs/sha256").join(&hex[..2]);
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.file_name().unwrap().to_string_lossy().starts_with(&hex) {
            std::fs::remove_file(file).unwrap();
        }
    }
    client.until_status(&format!("/v2/team/app/blobs/{digest}"), StatusCode::NOT_FOUND).await;
    let report = client.report_until("rpo", |report| report["damaged_blobs"] == json!(1)).await;
    assert_eq!(report["damaged"].as_array().unwrap().len(), 256, "{report}");
    assert_eq!(report["all_damaged_named"], json!(false), "{report}");
    assert!(warnings(&client).await.contains("1 blob has no copy left"));
    server.stop().await;
}

#[tokio::test]
async fn more_reports_than_allowed_get_429_and_all_else_goes_on() {
    let mut setup = Setup { nodes: 3, ..Setup::default() };
    setup.registry.limits.reports = 1;
    setup.registry.reads.linearizable_timeout_ms = 3_000;
    let server = Server::with(setup).await;
    let client = server.client(1);
    client.push_image("app", "v1", 1).await;
    // It waits for a leader's word that does not come.
    server.cluster.cut(1);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move {
            // Who asks below may have the place for a moment.
            loop {
                let status = client.get("/api/v1/repos").await.status().as_u16();
                if status != 429 {
                    return status;
                }
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let busy = loop {
        let answer = client.get("/api/v1/rpo").await;
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 200);
        assert!(!waiting.is_finished() && Instant::now() < deadline, "nobody was refused");
    };
    refused(busy, 429, "TOOMANYREQUESTS").await;
    refused(client.get("/api/v1/replication?image=app:v1").await, 429, "TOOMANYREQUESTS").await;
    assert_eq!(client.get("/api/v1/cluster").await.status(), 200);
    assert_eq!(client.get("/v2/").await.status(), 200);
    assert_eq!(waiting.await.unwrap(), 200, "marked as stale");
    assert_eq!(client.get("/api/v1/rpo").await.status(), 200, "the place is free again");
    server.stop().await;
}
