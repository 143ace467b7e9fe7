//! What names repositories, tags and content, as it comes in over HTTP: the grammar of the specification, and one
//! spelling of each.

use crate::raw::{exchange, request};
use crate::support::{Server, header};

#[tokio::test]
async fn a_name_or_tag_of_the_greatest_length_is_taken_and_a_longer_one_refused() {
    let server = Server::start().await;
    let client = server.client(1);
    // As many characters as clients take: distribution's reference package allows a name of 255 and a tag of 128.
    let longest = format!("{}/{}", "a".repeat(127), "b".repeat(127));
    let (longest_tag, longer_tag) = ("t".repeat(128), "t".repeat(129));
    let (digest, bytes) = client.push_image(&longest, &longest_tag, 1).await;
    let got = client.get(&format!("/v2/{longest}/manifests/{longest_tag}")).await;
    assert_eq!(header(&got, "Docker-Content-Digest"), digest.to_string());
    assert_eq!(got.bytes().await.unwrap(), bytes);
    let port = server.ports(1).public;
    for (method, target, status, code) in [
        ("GET", format!("/v2/{longest}c/tags/list"), 400, "NAME_INVALID"),
        ("POST", format!("/v2/{longest}c/blobs/uploads/"), 400, "NAME_INVALID"),
        ("PUT", format!("/v2/{longest}/manifests/{longer_tag}"), 400, "TAG_INVALID"),
        ("GET", format!("/v2/{longest}/manifests/{longer_tag}"), 404, "MANIFEST_UNKNOWN"),
        ("DELETE", format!("/v2/{longest}/manifests/{longer_tag}"), 400, "TAG_INVALID"),
        ("GET", format!("/v2/{longest}/tags/list?last={longer_tag}"), 400, "TAG_INVALID"),
    ] {
        let answer = exchange(port, &request(method, &target, &[], b"")).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target}");
    }
    server.stop().await;
}

/// Names that the grammar does not have, as a target may spell them.
const OUTSIDE: [&str; 50] = [
    "A/b",
    "a/B",
    "a//b",
    "/a",
    "a/",
    "a/../b",
    "..",
    ".",
    "a/.",
    "a/.b",
    "a/b.",
    "-a",
    "a-",
    "_a",
    "a_",
    "a..b",
    "a._b",
    "a___b",
    "a.-b",
    "a:b",
    "a@b",
    "a+b",
    "a b",
    "a,b",
    "a\\b",
    "a~b",
    "a*",
    "%61B",
    "a%20b",
    "a%00",
    "%00",
    "a%0d%0ab",
    "%2e%2e",
    "a/%2e%2e/b",
    "a%3Ab",
    "%C3%A9",
    "%c0%af",
    "%c0%ae%c0%ae",
    "%ED%A0%80",
    "%FF",
    "%",
    "a%",
    "a%2",
    "a%zz",
    // An escaped slash separates nothing, once or twice escaped, whatever the name would be with it.
    "a%2Fb",
    "a%2fb",
    "a%252Fb",
    "a%5Cb",
    "%2Fa",
    "a%2F",
];

#[tokio::test]
async fn a_name_outside_the_grammar_is_invalid_however_it_is_escaped() {
    let server = Server::start().await;
    let client = server.client(1);
    client.push_image("a/b", "t", 1).await;
    let port = server.ports(1).public;
    for name in OUTSIDE {
        for rest in ["tags/list", "manifests/t", "blobs/uploads/", "referrers/sha256:0"] {
            let method = if rest == "blobs/uploads/" { "POST" } else { "GET" };
            let target = format!("/v2/{name}/{rest}");
            // A space in the target would end it.
            let bytes = request(method, &target.replace(' ', "%20"), &[], b"");
            let answer = exchange(port, &bytes).await.unwrap();
            assert_eq!((answer.status, answer.code().as_str()), (400, "NAME_INVALID"), "{target}: {answer:?}");
        }
    }
    // A letter or a colon may be escaped: some clients do, and one thing has one name all the same.
    for target in ["/v2/a/%62/tags/list", "/v2/%61/b/manifests/%74"] {
        assert_eq!(exchange(port, &request("GET", target, &[], b"")).await.unwrap().status, 200, "{target}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_escaped_slash_makes_no_other_resource() {
    let server = Server::start().await;
    let client = server.client(1);
    let (digest, _) = client.push_image("a/b", "t", 1).await;
    let session = client.begin("a/b").await;
    let port = server.ports(1).public;
    let escaped = session.replace("uploads/", "uploads%2F");
    for (target, status, code) in [
        ("/v2/a/b%2Ftags/list".to_owned(), 404, "UNSUPPORTED"),
        ("/v2/a/b/tags%2Flist".to_owned(), 404, "UNSUPPORTED"),
        ("/v2/a/b/manifests%2Ft".to_owned(), 404, "UNSUPPORTED"),
        ("/v2/a/b/manifests/x%2Ft".to_owned(), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/a/b/blobs%2F{digest}"), 404, "UNSUPPORTED"),
        (format!("/v2/a/b/blobs/x%2F{digest}"), 400, "DIGEST_INVALID"),
        ("/v2/a/b/blobs/uploads/..%2Fx".to_owned(), 404, "BLOB_UPLOAD_UNKNOWN"),
        (escaped, 400, "DIGEST_INVALID"),
        ("/v2%2F_catalog".to_owned(), 404, "UNSUPPORTED"),
        ("/v2/%2e%2e/v2/a/b/tags/list".to_owned(), 400, "NAME_INVALID"),
    ] {
        let answer = exchange(port, &request("GET", &target, &[], b"")).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{target}: {answer:?}");
    }
    // In a query nothing is separated by slashes, and clients escape them.
    let blob = client.push_blob("a/b", b"mounted").await;
    let mounted = client.send("POST", &format!("/v2/c/blobs/uploads/?mount={blob}&from=a%2Fb")).await;
    assert_eq!(mounted.status(), 201);
    server.stop().await;
}
