//! Pulls: ranges, conditions, mirrors.

use crate::support::{IMAGE, Server, header, random, refused};

#[tokio::test]
async fn ranges_are_honoured_ignored_or_refused() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(1, 1_000_000);
    let digest = client.push_blob("a", &bytes).await;
    let target = format!("/v2/a/blobs/{digest}");
    let cases = [
        ("bytes=0-0", 206, Some(0..1)),
        ("bytes=10-19", 206, Some(10..20)),
        ("bytes=262143-262145", 206, Some(262_143..262_146)),
        ("bytes=999990-", 206, Some(999_990..1_000_000)),
        ("bytes=-10", 206, Some(999_990..1_000_000)),
        ("bytes=-2000000", 206, Some(0..1_000_000)),
        ("bytes=999999-2000000", 206, Some(999_999..1_000_000)),
        ("bytes=0-1,5-9", 200, Some(0..1_000_000)),
        ("lines=1-2", 200, Some(0..1_000_000)),
        ("bytes=1000000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=99999999999999999999-", 416, None),
        ("bytes=999990-99999999999999999999", 206, Some(999_990..1_000_000)),
        ("bytes=9-5", 416, None),
        ("bytes=x", 416, None),
    ];
    for (range, status, want) in cases {
        let got = client.ask("GET", &target).header("Range", range).send().await.unwrap();
        assert_eq!(got.status(), status, "{range}");
        let Some(want) = want else {
            // What is no range at all is refused before anybody looks how long the blob is.
            if let Some(size) = got.headers().get("Content-Range") {
                assert_eq!(size, "bytes */1000000", "{range}");
            }
            refused(got, status, "RANGE_INVALID").await;
            continue;
        };
        if status == 206 {
            let whole = format!("bytes {}-{}/1000000", want.start, want.end - 1);
            assert_eq!(header(&got, "Content-Range"), whole, "{range}");
        }
        assert_eq!(header(&got, "Content-Length"), want.len().to_string(), "{range}");
        assert_eq!(got.bytes().await.unwrap(), bytes[want], "{range}");
    }
    let other = client.ask("GET", &target).header("Range", "bytes=0-0").header("If-Range", "\"x\"");
    assert_eq!(other.send().await.unwrap().status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn what_the_client_has_already_is_not_sent_again() {
    let server = Server::start().await;
    let client = server.client(1);
    let (digest, _) = client.push_image("a", "t", 1).await;
    let blob = client.push_blob("a", b"x").await;
    for (target, tag) in [
        ("/v2/a/manifests/t".to_owned(), digest),
        (format!("/v2/a/manifests/{digest}"), digest),
        (format!("/v2/a/blobs/{blob}"), blob),
    ] {
        for (condition, status) in [(format!("\"{tag}\""), 304), ("\"other\"".to_owned(), 200)] {
            let got = client.ask("GET", &target).header("If-None-Match", &condition).send().await.unwrap();
            assert_eq!(got.status(), status, "{target} {condition}");
            assert_eq!(header(&got, "Docker-Content-Digest"), tag.to_string());
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn every_answer_says_which_protocol_and_which_request() {
    let server = Server::start().await;
    let client = server.client(1);
    for target in ["/v2/", "/v2", "/v2/a/manifests/none"] {
        let got = client.get(target).await;
        assert_eq!(header(&got, "Docker-Distribution-Api-Version"), "registry/2.0", "{target}");
        assert_eq!(header(&got, "X-Request-Id").len(), 26, "{target}");
    }
    assert_eq!(client.get("/v2/").await.status(), 200);
    let named = client.ask("GET", "/v2/").header("X-Request-Id", "mine-1").send().await.unwrap();
    assert_eq!(header(&named, "X-Request-Id"), "mine-1");
    let long = "x".repeat(200);
    let renamed = client.ask("GET", "/v2/").header("X-Request-Id", long).send().await.unwrap();
    assert_eq!(header(&renamed, "X-Request-Id").len(), 26);
    // A mirror is told for whom it stands in.
    let (_, bytes) = client.push_image("library/b", "t", 1).await;
    let got = client.ask("GET", "/v2/library/b/manifests/t?ns=docker.io").header("Accept", IMAGE).send().await.unwrap();
    assert_eq!(header(&got, "OCI-Namespace"), "docker.io");
    assert_eq!(got.bytes().await.unwrap(), bytes);
    server.stop().await;
}

#[tokio::test]
async fn a_pull_speaks_http2_in_the_clear_too() {
    let server = Server::start().await;
    let bytes = random(2, 3_000_000);
    let digest = server.client(1).push_blob("a", &bytes).await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let got = http.get(format!("http://{}/v2/a/blobs/{digest}", server.ports(1).public)).send().await.unwrap();
    assert_eq!(got.version(), reqwest::Version::HTTP_2);
    assert_eq!(got.bytes().await.unwrap(), bytes);
    server.stop().await;
}
