//! Manifests of every kind: taken as they are, given back as they were, under the type that they came with.

use crate::support::{IMAGE, INDEX, Server, descriptor, header, manifest, refused};
use portolan_oci::Digest;
use portolan_oci::media_type::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT, OCI_EMPTY,
};
use serde_json::{Value, json};

const CUSTOM: &str = "application/vnd.example.thing.v3+json";

fn of(kind: &str, value: &Value) -> Value {
    let mut value = value.clone();
    value["mediaType"] = json!(kind);
    value
}

fn without_type(value: &Value) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove("mediaType");
    value
}

#[tokio::test]
async fn every_kind_is_given_back_byte_for_byte_under_its_type() {
    let server = Server::start().await;
    let client = server.client(1);
    let (_, child) = client.push_image("a", "child", 1).await;
    client.push_blob("a", b"{}").await;
    client.push_blob("a", b"layer").await;
    let image = manifest(b"{}", &[b"layer"]);
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(IMAGE, &child)]});
    let mut artifact = image.clone();
    artifact["config"] = descriptor(OCI_EMPTY, b"{}");
    artifact["artifactType"] = json!("application/vnd.example.sbom");
    let mut pointing = image.clone();
    pointing["subject"] = descriptor(IMAGE, b"not there yet");
    let withdrawn = json!({"mediaType": OCI_ARTIFACT, "blobs": [descriptor("a/b", b"layer")]});
    let cases: Vec<(Option<&str>, Value, &str)> = vec![
        (Some(IMAGE), image.clone(), IMAGE),
        (Some(IMAGE), without_type(&image), IMAGE),
        (Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), image.clone(), IMAGE),
        (None, image.clone(), IMAGE),
        (None, without_type(&image), IMAGE),
        (Some("application/json"), without_type(&image), IMAGE),
        (Some(INDEX), of(INDEX, &index), INDEX),
        (Some(INDEX), index.clone(), INDEX),
        (Some(DOCKER_MANIFEST), of(DOCKER_MANIFEST, &image), DOCKER_MANIFEST),
        (Some(DOCKER_LIST), of(DOCKER_LIST, &index), DOCKER_LIST),
        (Some(IMAGE), artifact, IMAGE),
        (Some(IMAGE), pointing, IMAGE),
        (Some(OCI_ARTIFACT), withdrawn, OCI_ARTIFACT),
        // Not known, with a shape and without one.
        (Some(CUSTOM), of(CUSTOM, &image), CUSTOM),
        (Some(CUSTOM), of(CUSTOM, &index), CUSTOM),
        (Some(CUSTOM), json!({"schemaVersion": 1, "things": [1, 2, 3]}), CUSTOM),
        (None, json!({"mediaType": CUSTOM}), CUSTOM),
        (Some(CUSTOM), json!({}), CUSTOM),
    ];
    for (content_type, value, want) in cases {
        // Odd spacing: what is kept must be these bytes and no others.
        let bytes = format!(" {}\n\n", serde_json::to_string_pretty(&value).unwrap()).into_bytes();
        let digest = Digest::sha256_of(&bytes);
        let mut put = client.ask("PUT", "/v2/a/manifests/it").body(bytes.clone());
        if let Some(content_type) = content_type {
            put = put.header("Content-Type", content_type);
        }
        let put = put.send().await.unwrap();
        assert_eq!(put.status(), 201, "{content_type:?} {value}");
        assert_eq!(header(&put, "Docker-Content-Digest"), digest.to_string());
        let subject = value.get("subject").map(|subject| subject["digest"].as_str().unwrap().to_owned());
        assert_eq!(put.headers().get("OCI-Subject").map(|value| value.to_str().unwrap().to_owned()), subject);
        for reference in ["it".to_owned(), digest.to_string()] {
            let got = client.get(&format!("/v2/a/manifests/{reference}")).await;
            assert_eq!(header(&got, "Content-Type"), want, "{content_type:?} {value}");
            assert_eq!(got.bytes().await.unwrap(), bytes, "{value}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_contradicts_its_type_is_refused() {
    let server = Server::start().await;
    let client = server.client(1);
    client.push_blob("a", b"{}").await;
    let image = manifest(b"{}", &[]);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    let schema1 = json!({"schemaVersion": 1, "name": "a", "tag": "t", "fsLayers": [], "history": []});
    let cases = [
        (INDEX, image.clone(), 400, "MANIFEST_INVALID"),
        (DOCKER_MANIFEST, image.clone(), 400, "MANIFEST_INVALID"),
        (CUSTOM, image.clone(), 400, "MANIFEST_INVALID"),
        ("application/json", image.clone(), 400, "MANIFEST_INVALID"),
        (IMAGE, index.clone(), 400, "MANIFEST_INVALID"),
        (IMAGE, without_type(&index), 400, "MANIFEST_INVALID"),
        (INDEX, without_type(&image), 400, "MANIFEST_INVALID"),
        ("application/json", json!({}), 400, "MANIFEST_INVALID"),
        ("nonsense", without_type(&image), 400, "MANIFEST_INVALID"),
        (CUSTOM, json!({"config": "not a descriptor"}), 400, "MANIFEST_INVALID"),
        (CUSTOM, json!([1, 2]), 400, "MANIFEST_INVALID"),
        // What an unknown kind names must be there all the same: it would be pulled in vain.
        (CUSTOM, of(CUSTOM, &manifest(b"{}", &[b"nowhere"])), 404, "MANIFEST_BLOB_UNKNOWN"),
        (DOCKER_SCHEMA1, schema1.clone(), 400, "UNSUPPORTED"),
        (DOCKER_SCHEMA1_SIGNED, schema1.clone(), 400, "UNSUPPORTED"),
        ("application/json", schema1, 400, "UNSUPPORTED"),
    ];
    for (kind, value, status, code) in cases {
        let put = client.put_manifest("a", "t", kind, value.to_string().into_bytes()).await;
        let body = refused(put, status, code).await;
        if code == "UNSUPPORTED" {
            let message = &body.errors[0].message;
            assert!(message.contains("schema 1") && message.contains("push the image again"), "{message}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn tags_of_a_push_by_digest_are_all_moved_or_none() {
    let server = Server::start().await;
    let client = server.client(1);
    client.push_blob("a", b"{}").await;
    let bytes = manifest(b"{}", &[]).to_string().into_bytes();
    let digest = Digest::sha256_of(&bytes);
    // The specification wants ten at least.
    let sixteen: Vec<String> = (0..16).map(|number| format!("v{number}")).collect();
    let query = |tags: &[String]| tags.iter().map(|tag| format!("tag={tag}")).collect::<Vec<_>>().join("&");
    let put = client.put_manifest("a", &format!("{digest}?{}", query(&sixteen)), IMAGE, bytes.clone()).await;
    assert_eq!(put.status(), 201);
    let told: Vec<_> = put.headers().get_all("OCI-Tag").iter().map(|tag| tag.to_str().unwrap().to_owned()).collect();
    assert_eq!(told, sixteen);
    assert_eq!(header(&put, "Location"), format!("/v2/a/manifests/{digest}"));
    let seventeen: Vec<String> = (0..17).map(|number| format!("w{number}")).collect();
    let put = client.put_manifest("a", &format!("{digest}?{}", query(&seventeen)), IMAGE, bytes.clone()).await;
    refused(put, 414, "TAG_INVALID").await;
    let put = client.put_manifest("a", &format!("{digest}?tag=x&tag=-y"), IMAGE, bytes).await;
    refused(put, 400, "TAG_INVALID").await;
    let listed: Value = client.get("/v2/a/tags/list").await.json().await.unwrap();
    assert_eq!(listed["tags"].as_array().unwrap().len(), 16, "{listed}");
    server.stop().await;
}
