//! What a client may send and hold at once.

use crate::raw::{exchange, request};
use crate::support::{Server, header, random, refused, until_answered, until_holds};
use portolan_oci::Digest;
use portolan_registry::Config;
use portolan_registry::config::{Limits, Uploads};
use portolan_registry::testing::{self, Setup};
use reqwest::StatusCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn with(limits: Limits) -> Server {
    let registry = Config { limits, ..testing::config() };
    Server::with(Setup { registry, ..Setup::default() }).await
}

#[tokio::test]
async fn a_blob_that_announces_too_much_is_refused_before_it_is_sent() {
    let server = with(Limits { blob_bytes: 1000, ..Limits::default() }).await;
    let client = server.client(1);
    let session = client.begin("a").await;
    let port = server.ports(1).public;
    let (whole, more) = (random(1, 1000), random(2, 1001));
    let digest = Digest::sha256_of(&more);
    let post = format!("/v2/a/blobs/uploads/?digest={digest}");
    let put = format!("{session}?digest={digest}");
    for (method, target, headers) in [
        ("POST", post.as_str(), vec![("Content-Length", "1001")]),
        ("PATCH", &session, vec![("Content-Length", "1001")]),
        ("PATCH", &session, vec![("Content-Length", "10"), ("Content-Range", "991-1000")]),
        ("PUT", &put, vec![("Content-Length", "9999999999999999999")]),
    ] {
        let headers = [headers, vec![("Expect", "100-continue")]].concat();
        // Nothing of the body is sent: it is not waited for, nor asked for.
        let answer = exchange(port, &request(method, target, &headers, b"")).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (413, "SIZE_INVALID"), "{method} {headers:?}");
        assert!(!answer.continued, "{method} {headers:?}");
        assert_eq!(answer.header("Connection"), Some("close"), "{method} {headers:?}");
    }
    // None of it touched the session, and as much as is allowed is taken.
    assert_eq!(client.patch(&session, None, whole.clone()).await.status(), 202);
    assert_eq!(client.finish(&session, &Digest::sha256_of(&whole).to_string()).await.status(), 201);
    server.stop().await;
}

#[tokio::test]
async fn a_blob_that_turns_out_too_long_is_refused_in_the_middle() {
    let server = with(Limits { blob_bytes: 1_000_000, ..Limits::default() }).await;
    let client = server.client(1);
    let bytes = random(3, 1_200_000);
    let digest = Digest::sha256_of(&bytes);
    // Of an unknown length, as docker sends them, in one request and over several.
    let stream = |from: usize, to: usize| {
        let piece = bytes[from..to].to_vec();
        reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(piece)]))
    };
    let session = client.begin("a").await;
    let patched = client.ask("PATCH", &session).body(stream(0, 1_200_000)).send().await.unwrap();
    refused(patched, 413, "SIZE_INVALID").await;
    let post = client.ask("POST", &format!("/v2/a/blobs/uploads/?digest={digest}")).body(stream(0, 1_200_000));
    refused(post.send().await.unwrap(), 413, "SIZE_INVALID").await;
    let session = client.begin("a").await;
    assert_eq!(client.ask("PATCH", &session).body(stream(0, 900_000)).send().await.unwrap().status(), 202);
    refused(client.ask("PATCH", &session).body(stream(900_000, 1_200_000)).send().await.unwrap(), 413, "SIZE_INVALID")
        .await;
    let announced = client.patch(&session, None, bytes[..200_000].to_vec()).await;
    refused(announced, 413, "SIZE_INVALID").await;
    refused(client.get(&format!("/v2/a/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn a_manifest_that_announces_too_much_is_refused_before_it_is_sent() {
    let server = with(Limits { manifest_bytes: 1000, ..Limits::default() }).await;
    let headers = [("Content-Length", "1001"), ("Expect", "100-continue")];
    let bytes = request("PUT", "/v2/a/manifests/t", &headers, b"");
    let answer = exchange(server.ports(1).public, &bytes).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str(), answer.continued), (413, "SIZE_INVALID", false));
    server.stop().await;
}

/// Sends the head of a PATCH and some of its body.
async fn hanging(server: &Server, session: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.ports(1).public).await.unwrap();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn more_bodies_of_uploads_than_allowed_get_429_and_all_else_goes_on() {
    let server = with(Limits { uploads: 2, ..Limits::default() }).await;
    let client = server.client(1);
    let (digest, _) = client.push_image("a", "t", 1).await;
    let whole = client.begin("a").await;
    assert_eq!(client.patch(&whole, None, b"abc".to_vec()).await.status(), 202);
    let mut streams = Vec::new();
    for _ in 0..2 {
        let session = client.begin("a").await;
        streams.push(hanging(&server, &session).await);
    }
    let third = client.begin("a").await;
    let third = until_answered(StatusCode::TOO_MANY_REQUESTS, || client.patch(&third, None, b"abc".to_vec())).await;
    assert_eq!(header(&third, "Retry-After"), "1");
    refused(third, 429, "TOOMANYREQUESTS").await;
    // Whatever brings no bytes of a blob goes on.
    let fourth = client.begin("a").await;
    assert_eq!(client.get(&fourth).await.status(), 204);
    assert_eq!(client.send("DELETE", &fourth).await.status(), 204);
    assert_eq!(client.finish(&whole, &Digest::sha256_of(b"abc").to_string()).await.status(), 201);
    let got = client.get(&format!("/v2/a/manifests/{digest}")).await;
    let again = client.put_manifest("a", "u", &header(&got, "Content-Type"), got.bytes().await.unwrap().to_vec()).await;
    assert_eq!(again.status(), 201);
    // One ends well, one breaks off: both places are free again.
    streams[0].write_all(b"cd").await.unwrap();
    let mut answer = vec![0; 12];
    timeout(PATIENCE, streams[0].read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 202");
    drop(streams);
    let session = client.begin("a").await;
    let held = hanging(&server, &session).await;
    let fifth = client.begin("a").await;
    until_answered(StatusCode::ACCEPTED, || client.patch(&fifth, None, b"abc".to_vec())).await;
    drop(held);
    server.stop().await;
}

#[tokio::test]
async fn more_downloads_than_allowed_get_429_and_all_else_goes_on() {
    let server = with(Limits { downloads: 1, ..Limits::default() }).await;
    let client = server.client(1);
    // More than all buffers between the two take.
    let large = client.push_blob("a", &random(1, 48 << 20)).await;
    let (image, _) = client.push_image("a", "t", 1).await;
    let target = format!("/v2/a/blobs/{large}");
    let first = until_answered(StatusCode::OK, || client.get(&target)).await;
    for _ in 0..2 {
        let second = client.ask("GET", &target).header("Range", "bytes=0-0").send().await.unwrap();
        assert_eq!(header(&second, "Retry-After"), "1");
        refused(second, 429, "TOOMANYREQUESTS").await;
    }
    assert_eq!(client.send("HEAD", &target).await.status(), 200);
    let known = client.ask("GET", &target).header("If-None-Match", format!("\"{large}\"")).send().await.unwrap();
    assert_eq!(known.status(), 304);
    assert_eq!(client.get(&format!("/v2/a/manifests/{image}")).await.status(), 200);
    let session = client.begin("a").await;
    assert_eq!(client.patch(&session, None, b"abc".to_vec()).await.status(), 202);
    // Half of it is taken, then the client goes away: the place is free again.
    drop(first);
    until_answered(StatusCode::PARTIAL_CONTENT, || async {
        client.ask("GET", &target).header("Range", "bytes=0-0").send().await.unwrap()
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_download_that_is_refused_takes_no_place() {
    let server = with(Limits { downloads: 1, ..Limits::default() }).await;
    let client = server.client(1);
    let blob = client.push_blob("a", b"abc").await;
    let target = format!("/v2/a/blobs/{blob}");
    for _ in 0..3 {
        let outside = client.ask("GET", &target).header("Range", "bytes=9-").send().await.unwrap();
        refused(outside, 416, "RANGE_INVALID").await;
        refused(client.get(&format!("/v2/b/blobs/{blob}")).await, 404, "BLOB_UNKNOWN").await;
        let got = until_answered(StatusCode::OK, || client.get(&target)).await;
        assert_eq!(got.bytes().await.unwrap().as_ref(), b"abc");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_nobody_writes_to_ends_after_its_lifetime() {
    let uploads = Uploads { session_ttl_ms: 200, sweep_interval_ms: 20, ..Uploads::default() };
    let registry = Config { uploads, ..testing::config() };
    let server = Server::with(Setup { registry, ..Setup::default() }).await;
    let client = server.client(1);
    let session = client.begin("a").await;
    // To look at it would be to keep it: its folder tells.
    let folder = server.cluster.folder(1).join("uploads");
    until_holds("never swept", || std::fs::read_dir(&folder).unwrap().count() == 0).await;
    refused(client.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    server.stop().await;
}
