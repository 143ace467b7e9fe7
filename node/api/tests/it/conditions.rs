//! Conditional requests, and that HEAD tells what GET tells.

use crate::raw::{Answer, exchange, request};
use crate::support::{IMAGE, INDEX, Server, descriptor};
use portolan_oci::Digest;
use serde_json::json;
use std::net::SocketAddr;

async fn ask(port: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    exchange(port, &request(method, target, headers, b"")).await.unwrap_or_else(|| panic!("{method} {target}"))
}

#[tokio::test]
async fn head_tells_what_get_tells() {
    let server = Server::start().await;
    let client = server.client(1);
    let (image, bytes) = client.push_image("a", "t", 1).await;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, &bytes)]});
    client.put_manifest("a", "index", INDEX, index.to_string().into_bytes()).await;
    let blob = client.push_blob("a", b"abc").await;
    let empty = client.push_blob("a", b"").await;
    let session = client.begin("a").await;
    let targets = [
        ("/v2/".to_owned(), 200),
        ("/v2/a/manifests/t".to_owned(), 200),
        ("/v2/a/manifests/index".to_owned(), 200),
        (format!("/v2/a/manifests/{image}"), 200),
        (format!("/v2/a/blobs/{blob}"), 200),
        (format!("/v2/a/blobs/{empty}"), 200),
        ("/v2/a/tags/list?n=1".to_owned(), 200),
        ("/v2/_catalog".to_owned(), 200),
        (format!("/v2/a/referrers/{image}?artifactType=x/y"), 200),
        ("/api/v1/cluster".to_owned(), 200),
        (session, 204),
        ("/v2/a/manifests/none".to_owned(), 404),
        (format!("/v2/a/blobs/{}", Digest::sha256_of(b"nowhere")), 404),
        ("/v2/UPPER/tags/list".to_owned(), 400),
        ("/nowhere".to_owned(), 404),
    ];
    for (target, status) in targets {
        let port = server.ports(1).public;
        let (got, head) = (ask(port, "GET", &target, &[]).await, ask(port, "HEAD", &target, &[]).await);
        assert_eq!((got.status, head.status), (status, status), "{target}");
        assert!(head.body.is_empty(), "{target}: a body for HEAD");
        let told = |answer: &Answer| {
            // Only who opens a blob knows where its bytes come from; the others are of each request.
            let own = ["date", "x-request-id", "portolan-source"];
            let mut headers: Vec<_> =
                answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())).cloned().collect();
            headers.sort();
            // The cluster's report counts what goes on. And what has no content has no length, which hyper tells all
            // the same in an answer to HEAD.
            if target.starts_with("/api/") || answer.status == 204 {
                headers.retain(|(name, _)| name != "content-length");
            }
            headers
        };
        assert_eq!(told(&got), told(&head), "{target}");
        if status == 200 && !target.starts_with("/api/") {
            assert_eq!(head.header("Content-Length"), Some(got.body.len().to_string().as_str()), "{target}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again_and_what_it_lacks_is() {
    let server = Server::start().await;
    let client = server.client(1);
    let (image, _) = client.push_image("a", "t", 1).await;
    let blob = client.push_blob("a", b"abc").await;
    let other = Digest::sha256_of(b"other");
    let (by_tag, by_digest) = ("/v2/a/manifests/t".to_owned(), format!("/v2/a/manifests/{image}"));
    for (target, own) in [(by_tag, image), (by_digest, image), (format!("/v2/a/blobs/{blob}"), blob)] {
        let cases = [
            (format!("\"{own}\""), 304),
            (format!("W/\"{own}\""), 304),
            (own.to_string(), 304),
            (format!("\"{other}\", \"{own}\""), 304),
            ("*".to_owned(), 304),
            (format!("\"{other}\""), 200),
            ("\"\"".to_owned(), 200),
            (String::new(), 200),
        ];
        for (condition, status) in cases {
            for method in ["GET", "HEAD"] {
                let headers = [("If-None-Match", condition.as_str())];
                let answer = ask(server.ports(1).public, method, &target, &headers).await;
                assert_eq!(answer.status, status, "{method} {target} {condition}");
                assert_eq!(answer.header("ETag"), Some(format!("\"{own}\"").as_str()), "{target} {condition}");
                assert_eq!(answer.header("Docker-Content-Digest"), Some(own.to_string().as_str()));
                assert!(status == 200 || answer.body.is_empty(), "{target} {condition}");
            }
        }
    }
    // Of what is not there nobody has a copy.
    let missing = ask(server.ports(1).public, "GET", &format!("/v2/b/blobs/{blob}"), &[("If-None-Match", "*")]).await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "BLOB_UNKNOWN"));
    server.stop().await;
}

#[tokio::test]
async fn a_range_is_sent_only_of_the_content_that_was_begun() {
    let server = Server::start().await;
    let client = server.client(1);
    let blob = client.push_blob("a", b"abcdef").await;
    let target = format!("/v2/a/blobs/{blob}");
    let own = format!("\"{blob}\"");
    let weak = format!("W/{own}");
    let cases = [
        (None, "bytes=2-3", 206, "cd"),
        (Some(own.as_str()), "bytes=2-3", 206, "cd"),
        (Some(&own), "bytes=-1", 206, "f"),
        (Some("\"other\""), "bytes=2-3", 200, "abcdef"),
        // A weak tag and a date promise too little for that (RFC 9110, section 13.1.5).
        (Some(&weak), "bytes=2-3", 200, "abcdef"),
        (Some("Wed, 21 Oct 2015 07:28:00 GMT"), "bytes=2-3", 200, "abcdef"),
        // Without its condition the range is none, however bad it is.
        (Some("\"other\""), "bytes=9-", 200, "abcdef"),
        (Some("\"other\""), "nonsense", 200, "abcdef"),
        (None, "bytes=0-", 206, "abcdef"),
        (None, "bytes=5-99", 206, "f"),
    ];
    for (condition, range, status, body) in cases {
        let headers: Vec<(&str, &str)> =
            [Some(("Range", range)), condition.map(|tag| ("If-Range", tag))].into_iter().flatten().collect();
        let answer = ask(server.ports(1).public, "GET", &target, &headers).await;
        assert_eq!((answer.status, answer.body.as_slice()), (status, body.as_bytes()), "{headers:?}");
        assert_eq!(answer.header("Content-Range").is_some(), status == 206, "{headers:?}");
        assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
    }
    // What the client has already comes first; a range of HEAD is none.
    let both = [("Range", "bytes=0-0"), ("If-None-Match", own.as_str())];
    assert_eq!(ask(server.ports(1).public, "GET", &target, &both).await.status, 304);
    let head = ask(server.ports(1).public, "HEAD", &target, &[("Range", "bytes=9-")]).await;
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("6")));
    server.stop().await;
}
