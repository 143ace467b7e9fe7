//! Pushes as clients do them.

use crate::support::{IMAGE, INDEX, Server, descriptor, header, manifest, random, refused};
use portolan_oci::{Algorithm, Digest};
use serde_json::json;

#[tokio::test]
async fn an_image_is_pushed_and_pulled_bit_for_bit() {
    let server = Server::start().await;
    let client = server.client(1);
    let (config, layer) = (b"{}".to_vec(), random(1, 100_000));
    // As skopeo does it: look, begin, stream, close.
    for blob in [&config, &layer] {
        let digest = Digest::sha256_of(blob).to_string();
        refused(client.get(&format!("/v2/a/b/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
        let session = client.begin("a/b").await;
        let patched = client.patch(&session, None, blob.clone()).await;
        assert_eq!(patched.status(), 202);
        assert_eq!(header(&patched, "Range"), format!("0-{}", blob.len() - 1));
        assert!(!header(&patched, "Docker-Upload-UUID").is_empty());
        let put = client.finish(&header(&patched, "Location"), &digest).await;
        assert_eq!(put.status(), 201);
        assert_eq!(header(&put, "Docker-Content-Digest"), digest);
        assert_eq!(header(&put, "Location"), format!("/v2/a/b/blobs/{digest}"));
        let head = client.send("HEAD", &format!("/v2/a/b/blobs/{digest}")).await;
        assert_eq!((head.status().as_u16(), header(&head, "Content-Length")), (200, blob.len().to_string()));
    }
    // Odd spacing: what is stored must be these bytes and no others.
    let bytes = format!("  {}\n", manifest(&config, &[&layer])).into_bytes();
    let digest = Digest::sha256_of(&bytes).to_string();
    let put = client.put_manifest("a/b", "v1", IMAGE, bytes.clone()).await;
    assert_eq!((put.status().as_u16(), header(&put, "Docker-Content-Digest")), (201, digest.clone()));
    for reference in ["v1", &digest] {
        let got = client.get(&format!("/v2/a/b/manifests/{reference}")).await;
        assert_eq!(got.status(), 200);
        assert_eq!(header(&got, "Content-Type"), IMAGE);
        assert_eq!(header(&got, "Docker-Content-Digest"), digest);
        assert_eq!(header(&got, "ETag"), format!("\"{digest}\""));
        assert_eq!(got.bytes().await.unwrap(), bytes);
        let head = client.send("HEAD", &format!("/v2/a/b/manifests/{reference}")).await;
        assert_eq!(header(&head, "Content-Length"), bytes.len().to_string());
    }
    let got = client.get(&format!("/v2/a/b/blobs/{}", Digest::sha256_of(&layer))).await;
    assert_eq!(header(&got, "Content-Length"), layer.len().to_string());
    assert_eq!(got.bytes().await.unwrap(), layer);
    server.stop().await;
}

#[tokio::test]
async fn an_index_lists_its_images_and_may_be_put_with_many_tags() {
    let server = Server::start().await;
    let client = server.client(1);
    let (_, one) = client.push_image("a", "one", 1).await;
    let (_, two) = client.push_image("a", "two", 2).await;
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(IMAGE, &one), descriptor(IMAGE, &two)],
    });
    let bytes = index.to_string().into_bytes();
    let digest = Digest::sha256_of(&bytes);
    let put = client.put_manifest("a", &format!("{digest}?tag=x&tag=y"), INDEX, bytes.clone()).await;
    assert_eq!(put.status(), 201);
    let tags: Vec<_> = put.headers().get_all("OCI-Tag").iter().collect();
    assert_eq!(tags, ["x", "y"]);
    for tag in ["x", "y"] {
        assert_eq!(client.get(&format!("/v2/a/manifests/{tag}")).await.bytes().await.unwrap(), bytes);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_manifest_travels_in_parts() {
    let server = Server::start().await;
    let client = server.client(1);
    let config = b"{}".to_vec();
    client.push_blob("a", &config).await;
    let mut image = manifest(&config, &[]);
    for length in [20_000, 300_000, 3_000_000] {
        // Not an annotation, whose length is limited: a field that nobody reads.
        image["x-padding"] = json!("p".repeat(length));
        let bytes = image.to_string().into_bytes();
        assert_eq!(client.put_manifest("a", "big", IMAGE, bytes.clone()).await.status(), 201, "{length}");
        assert_eq!(client.get("/v2/a/manifests/big").await.bytes().await.unwrap(), bytes, "{length}");
    }
    server.stop().await;
}

#[tokio::test]
async fn blobs_may_be_named_by_sha512() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(3, 50_000);
    let digest = Digest::of(Algorithm::Sha512, &bytes).to_string();
    let session = client.begin("a").await;
    assert_eq!(client.patch(&session, None, bytes.clone()).await.status(), 202);
    assert_eq!(client.finish(&session, &digest).await.status(), 201);
    assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
    server.stop().await;
}

#[tokio::test]
async fn a_mount_shows_a_blob_only_where_it_was_shown() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(4, 1000);
    let digest = client.push_blob("a", &bytes).await;
    // Existence elsewhere never leaks.
    refused(client.get(&format!("/v2/b/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
    let mounted = client.send("POST", &format!("/v2/b/blobs/uploads/?mount={digest}&from=a")).await;
    assert_eq!(mounted.status(), 201);
    assert_eq!(header(&mounted, "Location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(client.get(&format!("/v2/b/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
    // Without a source it is looked for wherever the caller may read.
    let found = client.send("POST", &format!("/v2/c/blobs/uploads/?mount={digest}")).await;
    assert_eq!((found.status().as_u16(), header(&found, "Location")), (201, format!("/v2/c/blobs/{digest}")));
    let nowhere = Digest::sha256_of(b"nowhere");
    for query in [format!("mount={digest}&from=e"), format!("mount={nowhere}"), "from=a".into()] {
        let other = client.send("POST", &format!("/v2/d/blobs/uploads/?{query}")).await;
        assert_eq!(other.status(), 202, "{query}");
        assert!(header(&other, "Location").starts_with("/v2/d/blobs/uploads/1."), "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_tag_moves_and_an_unchanged_push_changes_nothing() {
    let server = Server::start().await;
    let client = server.client(1);
    let (one, bytes) = client.push_image("a", "t", 1).await;
    assert_eq!(client.put_manifest("a", "t", IMAGE, bytes).await.status(), 201);
    assert_eq!(header(&client.get("/v2/a/manifests/t").await, "Docker-Content-Digest"), one.to_string());
    let (two, _) = client.push_image("a", "t", 2).await;
    assert_eq!(header(&client.get("/v2/a/manifests/t").await, "Docker-Content-Digest"), two.to_string());
    assert_eq!(client.get(&format!("/v2/a/manifests/{one}")).await.status(), 200);
    server.stop().await;
}
