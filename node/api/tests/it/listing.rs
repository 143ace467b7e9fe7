//! Lists: tags, repositories, referrers.

use crate::support::{IMAGE, INDEX, Server, descriptor, header, manifest, refused};
use portolan_oci::{Algorithm, Digest};
use portolan_registry::testing::Setup;
use serde_json::{Value, json};

/// Follows the links of a list; returns what each page held.
async fn pages(server: &Server, first: &str, field: &str) -> Vec<Vec<String>> {
    let client = server.client(1);
    let (mut target, mut pages) = (first.to_owned(), Vec::new());
    loop {
        let got = client.get(&target).await;
        assert_eq!(got.status(), 200, "{target}");
        let link = got.headers().get("Link").map(|link| link.to_str().unwrap().to_owned());
        let body: Value = got.json().await.unwrap();
        let entries = body[field].as_array().unwrap().iter();
        pages.push(entries.map(|entry| entry.as_str().unwrap().to_owned()).collect());
        let Some(link) = link else { return pages };
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        target = next.to_owned();
        assert!(pages.len() < 20, "the links go in a circle");
    }
}

#[tokio::test]
async fn tags_and_repositories_come_in_lexical_order_page_by_page() {
    let server = Server::start().await;
    let client = server.client(1);
    let (_, bytes) = client.push_image("a/x", "b", 1).await;
    for tag in ["a", "C", "a1", "_z"] {
        assert_eq!(client.put_manifest("a/x", tag, IMAGE, bytes.clone()).await.status(), 201);
    }
    client.push_image("a", "t", 1).await;
    client.push_image("b", "t", 1).await;
    let tags = ["C", "_z", "a", "a1", "b"];
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let path = "/v2/a/x/tags/list";
    assert_eq!(pages(&server, path, "tags").await, [list(&tags)]);
    let two = pages(&server, &format!("{path}?n=2"), "tags").await;
    assert_eq!(two, [list(&tags[..2]), list(&tags[2..4]), list(&tags[4..])]);
    assert_eq!(pages(&server, &format!("{path}?n=5"), "tags").await, [list(&tags)]);
    assert_eq!(pages(&server, &format!("{path}?n=0"), "tags").await, [list(&[])]);
    assert_eq!(pages(&server, &format!("{path}?last=a"), "tags").await, [list(&tags[3..])]);
    assert_eq!(pages(&server, &format!("{path}?last=zzz"), "tags").await, [list(&[])]);
    assert_eq!(pages(&server, "/v2/_catalog", "repositories").await, [list(&["a", "a/x", "b"])]);
    let one = pages(&server, "/v2/_catalog?n=1", "repositories").await;
    assert_eq!(one, [list(&["a"]), list(&["a/x"]), list(&["b"])]);
    for n in ["-1", "x", "1.5", ""] {
        refused(client.get(&format!("{path}?n={n}")).await, 400, "PAGINATION_NUMBER_INVALID").await;
        refused(client.get(&format!("/v2/_catalog?n={n}")).await, 400, "PAGINATION_NUMBER_INVALID").await;
    }
    refused(client.get("/v2/none/tags/list").await, 404, "NAME_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_never_unknown() {
    let server = Server::start().await;
    let client = server.client(1);
    let (subject, subject_bytes) = client.push_image("a", "t", 1).await;
    let path = format!("/v2/a/referrers/{subject}");
    let none = client.get(&path).await;
    assert_eq!(header(&none, "Content-Type"), INDEX);
    assert_eq!(none.json::<Value>().await.unwrap()["manifests"], json!([]));
    client.push_blob("a", b"{}").await;
    let mut digests = Vec::new();
    for kind in ["x/sbom", "x/signature"] {
        let mut image = manifest(b"{}", &[]);
        image["artifactType"] = json!(kind);
        image["annotations"] = json!({"of": kind});
        image["subject"] = descriptor(IMAGE, &subject_bytes);
        let bytes = image.to_string().into_bytes();
        let digest = Digest::sha256_of(&bytes);
        let put = client.put_manifest("a", &digest.to_string(), IMAGE, bytes).await;
        assert_eq!(header(&put, "OCI-Subject"), subject.to_string());
        digests.push((digest, kind));
    }
    let all: Value = client.get(&path).await.json().await.unwrap();
    assert_eq!(all["manifests"].as_array().unwrap().len(), 2);
    for (digest, kind) in digests {
        let got = client.get(&format!("{path}?artifactType={kind}")).await;
        assert_eq!(header(&got, "OCI-Filters-Applied"), "artifactType");
        let body: Value = got.json().await.unwrap();
        let entry = &body["manifests"][0];
        assert_eq!(body["manifests"].as_array().unwrap().len(), 1, "{kind}");
        assert_eq!((entry["digest"].clone(), entry["artifactType"].clone()), (json!(digest), json!(kind)));
        assert_eq!(entry["annotations"], json!({"of": kind}));
    }
    // Of what is not there, and of repositories that are not there, the list is empty.
    let other = Digest::sha256_of(b"other");
    for target in [format!("/v2/a/referrers/{other}"), format!("/v2/none/referrers/{other}")] {
        assert_eq!(client.get(&target).await.json::<Value>().await.unwrap()["manifests"], json!([]));
    }
    refused(client.get("/v2/a/referrers/t").await, 400, "DIGEST_INVALID").await;
    server.stop().await;
}

#[tokio::test]
async fn referrers_under_the_fallback_tag_are_served_too() {
    let server = Server::start().await;
    let client = server.client(1);
    let (subject, _) = client.push_image("a", "t", 1).await;
    // Pushed by a client that believed there was no list of referrers: no `subject`, but an index under a tag.
    let (_, signature) = client.push_image("a", "signature", 2).await;
    let mut entry = descriptor(IMAGE, &signature);
    entry["artifactType"] = json!("x/signature");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let tag = subject.to_string().replace(':', "-");
    let put = client.put_manifest("a", &tag, INDEX, index.to_string().into_bytes()).await;
    assert_eq!(put.status(), 201);
    for (query, count) in [("", 1), ("?artifactType=x/signature", 1), ("?artifactType=x/other", 0)] {
        let body: Value = client.get(&format!("/v2/a/referrers/{subject}{query}")).await.json().await.unwrap();
        assert_eq!(body["manifests"].as_array().unwrap().len(), count, "{query}: {body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn referrers_come_page_by_page_with_those_under_the_fallback_tag_among_them() {
    let server = Server::start().await;
    let client = server.client(1);
    client.push_blob("a", b"{}").await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        // Need not be there.
        let subject = Digest::of(algorithm, b"subject");
        let (mut want, mut listed) = (Vec::new(), Vec::new());
        for name in ["one", "two", "three", "four", "five"] {
            let mut image = manifest(b"{}", &[]);
            image["annotations"] = json!({"name": name, "of": subject});
            let by_tag = listed.len() < 2;
            if !by_tag {
                image["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": 7});
            }
            let bytes = image.to_string().into_bytes();
            assert_eq!(client.put_manifest("a", name, IMAGE, bytes.clone()).await.status(), 201);
            if by_tag {
                listed.push(descriptor(IMAGE, &bytes));
            }
            want.push(Digest::sha256_of(&bytes).to_string());
        }
        // Of any digest the tag has 64 characters, so that the longest fit.
        let tag = format!("{}-{}", algorithm.name(), &subject.hex()[..64]);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
        assert_eq!(client.put_manifest("a", &tag, INDEX, index.to_string().into_bytes()).await.status(), 201);
        want.sort();
        for n in [1, 2, 5, 9] {
            let (mut target, mut got) = (format!("/v2/a/referrers/{subject}?n={n}"), Vec::new());
            loop {
                let page = client.get(&target).await;
                let link = page.headers().get("Link").map(|link| link.to_str().unwrap().to_owned());
                let body: Value = page.json().await.unwrap();
                let entries = body["manifests"].as_array().unwrap();
                assert!(entries.len() == n || link.is_none(), "{n}: {body}");
                assert!(entries.len() <= n, "{n}: {body}");
                got.extend(entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
                let Some(link) = link else { break };
                link.strip_prefix('<')
                    .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                    .unwrap()
                    .clone_into(&mut target);
                assert!(got.len() < 9, "the links go in a circle");
            }
            assert_eq!(got, want, "{algorithm:?}, {n} at a time");
        }
        let none = client.get(&format!("/v2/a/referrers/{subject}?n=0")).await;
        assert!(none.headers().get("Link").is_none());
        assert_eq!(none.json::<Value>().await.unwrap()["manifests"], json!([]));
    }
    server.stop().await;
}

#[tokio::test]
async fn annotations_too_long_for_the_log_are_kept_and_listed_page_by_page() {
    let mut setup = Setup::default();
    setup.registry.limits.referrers_bytes = 400_000;
    let server = Server::with(setup).await;
    let client = server.client(1);
    let (subject, subject_bytes) = client.push_image("a", "t", 1).await;
    client.push_blob("a", b"{}").await;
    let long = "x".repeat(150_000);
    let mut want = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        let mut image = manifest(b"{}", &[]);
        image["annotations"] = json!({"name": name, "long": long});
        image["subject"] = descriptor(IMAGE, &subject_bytes);
        let bytes = image.to_string().into_bytes();
        let put = client.put_manifest("a", name, IMAGE, bytes.clone()).await;
        assert_eq!(put.status(), 201, "{name}");
        assert_eq!(client.get(&format!("/v2/a/manifests/{name}")).await.bytes().await.unwrap(), bytes);
        want.push((Digest::sha256_of(&bytes).to_string(), image["annotations"].clone()));
    }
    want.sort_by(|left, right| left.0.cmp(&right.0));
    let (mut target, mut got, mut pages) = (format!("/v2/a/referrers/{subject}"), Vec::new(), 0);
    loop {
        let page = client.get(&target).await;
        let link = page.headers().get("Link").map(|link| link.to_str().unwrap().to_owned());
        let body: Value = page.json().await.unwrap();
        let entries = body["manifests"].as_array().unwrap().iter();
        got.extend(entries.map(|entry| (entry["digest"].as_str().unwrap().to_owned(), entry["annotations"].clone())));
        pages += 1;
        let Some(link) = link else { break };
        link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().clone_into(&mut target);
        assert!(pages < 10, "the links go in a circle");
    }
    assert!(got == want, "the list lacks annotations");
    assert_eq!(pages, 3);
    server.stop().await;
}
