//! Deletes: what goes, what stays, what is refused.

use crate::support::{IMAGE, INDEX, Server, descriptor, manifest, random, refused};
use portolan_oci::Digest;
use serde_json::json;

#[tokio::test]
async fn deleting_a_tag_keeps_the_manifest_and_deleting_the_manifest_takes_its_tags() {
    let server = Server::start().await;
    let client = server.client(1);
    let (digest, bytes) = client.push_image("a", "one", 1).await;
    assert_eq!(client.put_manifest("a", "two", IMAGE, bytes).await.status(), 201);
    assert_eq!(client.send("DELETE", "/v2/a/manifests/one").await.status(), 202);
    refused(client.get("/v2/a/manifests/one").await, 404, "MANIFEST_UNKNOWN").await;
    refused(client.send("DELETE", "/v2/a/manifests/one").await, 404, "MANIFEST_UNKNOWN").await;
    assert_eq!(client.get(&format!("/v2/a/manifests/{digest}")).await.status(), 200);
    assert_eq!(client.send("DELETE", &format!("/v2/a/manifests/{digest}")).await.status(), 202);
    for reference in ["two", &digest.to_string()] {
        refused(client.get(&format!("/v2/a/manifests/{reference}")).await, 404, "MANIFEST_UNKNOWN").await;
    }
    refused(client.send("DELETE", &format!("/v2/a/manifests/{digest}")).await, 404, "MANIFEST_UNKNOWN").await;
    let tags: serde_json::Value = client.get("/v2/a/tags/list").await.json().await.unwrap();
    assert_eq!(tags, json!({"name": "a", "tags": []}));
    server.stop().await;
}

#[tokio::test]
async fn what_something_refers_to_stays() {
    let server = Server::start().await;
    let client = server.client(1);
    let layer = random(1, 1000);
    for blob in [b"{}", layer.as_slice()] {
        client.push_blob("a", blob).await;
    }
    let image = manifest(b"{}", &[&layer]).to_string().into_bytes();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, &image)]});
    let index = index.to_string().into_bytes();
    assert_eq!(client.put_manifest("a", "image", IMAGE, image.clone()).await.status(), 201);
    assert_eq!(client.put_manifest("a", "index", INDEX, index.clone()).await.status(), 201);
    let (image, index) = (Digest::sha256_of(&image), Digest::sha256_of(&index));
    let blob = format!("/v2/a/blobs/{}", Digest::sha256_of(&layer));
    let body = refused(client.send("DELETE", &format!("/v2/a/manifests/{image}")).await, 405, "UNSUPPORTED").await;
    assert_eq!(body.errors[0].detail, Some(json!({"referrers": [index]})));
    let body = refused(client.send("DELETE", &blob).await, 405, "UNSUPPORTED").await;
    assert_eq!(body.errors[0].detail, Some(json!({"referrers": [image]})));
    for digest in [index, image] {
        assert_eq!(client.send("DELETE", &format!("/v2/a/manifests/{digest}")).await.status(), 202);
    }
    // What hung below stays visible for the grace period, and may be hidden now.
    assert_eq!(client.get(&blob).await.bytes().await.unwrap(), layer);
    assert_eq!(client.send("DELETE", &blob).await.status(), 202);
    refused(client.get(&blob).await, 404, "BLOB_UNKNOWN").await;
    refused(client.send("DELETE", &blob).await, 404, "BLOB_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn a_blob_hidden_in_one_repository_is_still_shown_in_another() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(2, 1000);
    let digest = client.push_blob("a", &bytes).await;
    client.push_blob("b", &bytes).await;
    assert_eq!(client.send("DELETE", &format!("/v2/a/blobs/{digest}")).await.status(), 202);
    refused(client.get(&format!("/v2/a/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
    assert_eq!(client.get(&format!("/v2/b/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
    server.stop().await;
}
