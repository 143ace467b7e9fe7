//! Whatever a client sends wrongly gets a 4xx with its code, and leaves nothing behind.

use crate::support::{IMAGE, INDEX, Server, descriptor, manifest, random, refused};
use portolan_oci::Digest;
use serde_json::json;

#[tokio::test]
async fn malformed_names_tags_and_digests_get_their_codes() {
    let server = Server::start().await;
    let client = server.client(1);
    let hex = Digest::sha256_of(b"x").hex();
    let long = "a".repeat(300);
    let cases = [
        ("GET", "/v2/UPPER/tags/list".to_owned(), 400, "NAME_INVALID"),
        ("POST", "/v2/a--/blobs/uploads/".to_owned(), 400, "NAME_INVALID"),
        ("GET", format!("/v2/{long}/tags/list"), 400, "NAME_INVALID"),
        ("GET", "/v2/a%00b/tags/list".to_owned(), 400, "NAME_INVALID"),
        ("GET", "/v2/%2e%2e%2fb/tags/list".to_owned(), 400, "NAME_INVALID"),
        ("GET", "/v2/a%FF/tags/list".to_owned(), 400, "NAME_INVALID"),
        ("GET", "/v2/a/manifests/-x".to_owned(), 404, "MANIFEST_UNKNOWN"),
        ("DELETE", "/v2/a/manifests/-x".to_owned(), 400, "TAG_INVALID"),
        ("PUT", format!("/v2/a/manifests/{}", "t".repeat(129)), 400, "TAG_INVALID"),
        ("GET", format!("/v2/a/manifests/sha256:{}", hex.to_uppercase()), 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/sha256:12".to_owned(), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/a/blobs/md5:{hex}"), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/a/manifests/sha256:{hex}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/none".to_owned(), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a".to_owned(), 404, "UNSUPPORTED"),
        ("GET", "/nothing".to_owned(), 404, "UNSUPPORTED"),
        ("POST", "/v2/".to_owned(), 405, "UNSUPPORTED"),
        ("PATCH", "/v2/a/manifests/t".to_owned(), 405, "UNSUPPORTED"),
    ];
    for (method, target, status, code) in cases {
        refused(client.send(method, &target).await, status, code).await;
    }
    // Escapes are undone once, for clients that escape the colon.
    let digest = client.push_blob("a/b", b"x").await.to_string().replace(':', "%3A");
    assert_eq!(client.get(&format!("/v2/a/b/blobs/{digest}")).await.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn wrong_manifests_are_refused_and_nothing_is_stored() {
    let server = Server::start().await;
    let client = server.client(1);
    client.push_blob("a", b"{}").await;
    let image = manifest(b"{}", &[]);
    let with = |key: &str, value: serde_json::Value| {
        let mut image = image.clone();
        image[key] = value;
        image.to_string().into_bytes()
    };
    let cases = [
        ("t", IMAGE, b"not json".to_vec(), 400, "MANIFEST_INVALID"),
        ("t", IMAGE, Vec::new(), 400, "MANIFEST_INVALID"),
        ("t", IMAGE, b"[]".to_vec(), 400, "MANIFEST_INVALID"),
        ("t", IMAGE, b"{}".to_vec(), 400, "MANIFEST_INVALID"),
        ("t", INDEX, image.to_string().into_bytes(), 400, "MANIFEST_INVALID"),
        ("t", IMAGE, with("schemaVersion", json!(3)), 400, "MANIFEST_INVALID"),
        ("t", IMAGE, with("config", json!({"digest": "x"})), 400, "MANIFEST_INVALID"),
        ("t", IMAGE, with("schemaVersion", json!(1)), 400, "UNSUPPORTED"),
        ("t", IMAGE, with("layers", json!([descriptor("a/b", b"nowhere")])), 404, "MANIFEST_BLOB_UNKNOWN"),
        (&format!("sha256:{}", "0".repeat(64)), IMAGE, image.to_string().into_bytes(), 400, "DIGEST_INVALID"),
        ("t?tag=-bad", IMAGE, image.to_string().into_bytes(), 400, "TAG_INVALID"),
        ("t", IMAGE, vec![b' '; (4 << 20) + 1], 413, "SIZE_INVALID"),
    ];
    for (reference, kind, bytes, status, code) in cases {
        refused(client.put_manifest("a", reference, kind, bytes).await, status, code).await;
    }
    refused(client.get("/v2/a/manifests/t").await, 404, "MANIFEST_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn every_missing_blob_and_child_is_named() {
    let server = Server::start().await;
    let client = server.client(1);
    client.push_blob("a", b"{}").await;
    client.push_blob("b", b"elsewhere").await;
    let missing = [b"elsewhere".as_slice(), b"nowhere"];
    let image = manifest(b"{}", &missing).to_string().into_bytes();
    let children = [descriptor(IMAGE, b"one"), descriptor(IMAGE, b"two")];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string().into_bytes();
    for (kind, bytes, named) in [(IMAGE, image, missing), (INDEX, index, [b"one".as_slice(), b"two"])] {
        let body = refused(client.put_manifest("a", "t", kind, bytes).await, 404, "MANIFEST_BLOB_UNKNOWN").await;
        let mut got: Vec<_> = body.errors.iter().map(|entry| entry.detail.clone().unwrap()["digest"].clone()).collect();
        let mut want: Vec<_> = named.iter().map(|bytes| json!(Digest::sha256_of(bytes))).collect();
        got.sort_by_key(ToString::to_string);
        want.sort_by_key(ToString::to_string);
        assert_eq!(got, want);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_no_blob() {
    let server = Server::start().await;
    let client = server.client(1);
    let session = client.begin("a").await;
    let bytes = random(1, 100);
    refused(client.patch(&session, Some("0-49"), bytes.clone()).await, 400, "SIZE_INVALID").await;
    refused(client.patch(&session, Some("0-199"), bytes.clone()).await, 400, "SIZE_INVALID").await;
    assert_eq!(client.patch(&session, Some("0-99"), bytes.clone()).await.status(), 202);
    assert_eq!(client.finish(&session, &Digest::sha256_of(&bytes).to_string()).await.status(), 201);
    server.stop().await;
}
