#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{RouteError, admin, handler_label, registry};
use crate::query::Query;
use http::Method;
use portolan_oci::ErrorCode;

const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn ask(method: &str, target: &str) -> Result<(String, &'static str), RouteError> {
    let target = target.replace("HEX", HEX);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let action = registry(&method, path, &Query::parse(query))?;
    let repo = action.repo().map(|repo| format!(" {repo}")).unwrap_or_default();
    Ok((format!("{}{repo}", action.name()), handler_label(&action)))
}

#[test]
fn every_path_and_method_has_its_action_and_label() {
    let cases = [
        ("GET", "", "base", "base"),
        ("HEAD", "", "base", "base"),
        ("GET", "_catalog", "catalog.list", "catalog"),
        ("GET", "_catalog?n=5&last=a", "catalog.list", "catalog"),
        ("GET", "a/tags/list", "tags.list a", "tags"),
        ("GET", "a/b/c/tags/list?n=1", "tags.list a/b/c", "tags"),
        ("GET", "a/referrers/sha256:HEX", "referrers.list a", "referrers"),
        ("GET", "a/manifests/latest", "manifest.read a", "manifest"),
        ("HEAD", "a/manifests/sha256:HEX", "manifest.read a", "manifest"),
        ("PUT", "a/b/manifests/v1.0_x", "manifest.put a/b", "manifest"),
        ("DELETE", "a/manifests/latest", "tag.delete a", "manifest"),
        ("DELETE", "a/manifests/sha256:HEX", "manifest.delete a", "manifest"),
        ("GET", "a/blobs/sha256:HEX", "blob.read a", "blob"),
        ("HEAD", "a/blobs/sha256:HEX", "blob.read a", "blob"),
        ("DELETE", "a/blobs/sha256:HEX", "blob.delete a", "blob"),
        ("POST", "a/blobs/uploads/", "upload.start a", "blob_upload"),
        ("POST", "a/blobs/uploads", "upload.start a", "blob_upload"),
        ("POST", "a/blobs/uploads/?digest=sha256:HEX", "upload.start a", "blob_upload"),
        ("POST", "a/blobs/uploads/?mount=sha256:HEX&from=b/c", "blob.mount a", "blob_upload"),
        ("POST", "a/blobs/uploads/?mount=sha256%3AHEX&from=b%2Fc", "blob.mount a", "blob_upload"),
        ("POST", "a/blobs/uploads/?mount=sha256:HEX", "blob.mount a", "blob_upload"),
        ("POST", "a/blobs/uploads/?from=b", "upload.start a", "blob_upload"),
        ("GET", "a/blobs/uploads/1.x", "upload.read a", "blob_upload_chunk"),
        ("PATCH", "a/blobs/uploads/1.x", "upload.append a", "blob_upload_chunk"),
        ("PUT", "a/blobs/uploads/1.x?digest=sha256:HEX", "upload.finish a", "blob_upload_chunk"),
        ("DELETE", "a/blobs/uploads/1.x", "upload.cancel a", "blob_upload_chunk"),
        // Repositories may be called like parts of the protocol: the last segments decide.
        ("GET", "blobs/uploads/manifests/latest", "manifest.read blobs/uploads", "manifest"),
        ("GET", "tags/list/tags/list", "tags.list tags/list", "tags"),
        ("GET", "manifests/manifests/manifests", "manifest.read manifests", "manifest"),
        ("POST", "a/manifests/blobs/uploads/", "upload.start a/manifests", "blob_upload"),
        ("GET", "a/blobs/uploads/list", "upload.read a", "blob_upload_chunk"),
        ("GET", "referrers/blobs/sha256:HEX", "blob.read referrers", "blob"),
    ];
    for (method, target, action, label) in cases {
        assert_eq!(ask(method, target).unwrap(), (action.to_owned(), label), "{method} {target}");
    }
}

#[test]
fn a_malformed_part_gets_its_code() {
    let long = "a".repeat(256);
    let cases = [
        ("GET", "A/tags/list".to_owned(), ErrorCode::NameInvalid),
        ("GET", "/tags/list".to_owned(), ErrorCode::NameInvalid),
        ("GET", "a//b/tags/list".to_owned(), ErrorCode::NameInvalid),
        ("GET", "../../etc/tags/list".to_owned(), ErrorCode::NameInvalid),
        ("GET", "a/../b/manifests/latest".to_owned(), ErrorCode::NameInvalid),
        ("GET", "a\0b/manifests/latest".to_owned(), ErrorCode::NameInvalid),
        ("GET", format!("{long}/manifests/latest"), ErrorCode::NameInvalid),
        ("PUT", "a/manifests/.latest".to_owned(), ErrorCode::TagInvalid),
        ("DELETE", "a/manifests/".to_owned(), ErrorCode::TagInvalid),
        ("PUT", format!("a/manifests/{}", "t".repeat(129)), ErrorCode::TagInvalid),
        ("GET", "a/manifests/sha256:12".to_owned(), ErrorCode::DigestInvalid),
        ("GET", "a/manifests/md5:HEX".to_owned(), ErrorCode::DigestInvalid),
        ("GET", "a/blobs/latest".to_owned(), ErrorCode::DigestInvalid),
        ("GET", "a/blobs/".to_owned(), ErrorCode::DigestInvalid),
        ("GET", "a/blobs/sha256:..%2f".to_owned(), ErrorCode::DigestInvalid),
        ("GET", "a/referrers/latest".to_owned(), ErrorCode::DigestInvalid),
        ("POST", "a/blobs/uploads/?mount=sha256:12&from=b".to_owned(), ErrorCode::DigestInvalid),
        ("POST", "a/blobs/uploads/?mount=nothing".to_owned(), ErrorCode::DigestInvalid),
        ("POST", "a/blobs/uploads/?mount=sha256:HEX&from=B".to_owned(), ErrorCode::NameInvalid),
    ];
    for (method, target, code) in cases {
        match ask(method, &target) {
            Err(RouteError::Invalid(invalid)) => assert_eq!(invalid.code(), code, "{method} {target}"),
            other => panic!("{method} {target}: {other:?}"),
        }
    }
}

#[test]
fn reading_what_no_tag_is_called_finds_no_manifest() {
    for (method, target) in [("GET", "a/manifests/.latest"), ("HEAD", "a/manifests/.latest"), ("GET", "a/manifests/")] {
        assert!(matches!(ask(method, target), Err(RouteError::NoTag(_))), "{method} {target}");
    }
}

#[test]
fn what_is_not_there_is_told_from_what_has_another_method() {
    let cases = [
        ("GET", "_catalog/", None),
        ("GET", "a", None),
        ("GET", "a/tags", None),
        ("GET", "a/tags/list/", None),
        ("GET", "a/b", None),
        ("POST", "", Some("GET, HEAD")),
        ("DELETE", "_catalog", Some("GET, HEAD")),
        ("POST", "a/tags/list", Some("GET, HEAD")),
        ("PUT", "a/referrers/sha256:HEX", Some("GET, HEAD")),
        ("POST", "a/manifests/latest", Some("GET, HEAD, PUT, DELETE")),
        ("PUT", "a/blobs/sha256:HEX", Some("GET, HEAD, DELETE")),
        ("GET", "a/blobs/uploads/", Some("POST")),
        ("PUT", "a/blobs/uploads/", Some("POST")),
        ("POST", "a/blobs/uploads/1.x", Some("GET, HEAD, PATCH, PUT, DELETE")),
        ("BREW", "a/manifests/latest", Some("GET, HEAD, PUT, DELETE")),
    ];
    for (method, target, allow) in cases {
        let want = allow.map_or(RouteError::NoSuchPath, |allow| RouteError::Method { allow });
        assert_eq!(ask(method, target).unwrap_err(), want, "{method} {target}");
    }
}

#[test]
fn the_admin_api_tells_looking_from_changing() {
    let cases = [
        (Method::GET, "cluster", Some("admin.read")),
        (Method::HEAD, "cluster", Some("admin.read")),
        (Method::POST, "cluster", Some("admin.change")),
        (Method::GET, "openapi.json", Some("admin.read")),
        (Method::DELETE, "openapi.json", Some("admin.change")),
        (Method::GET, "repos", Some("admin.read")),
        (Method::PUT, "repos", Some("admin.change")),
        (Method::DELETE, "repos", Some("admin.change")),
        (Method::GET, "replication", Some("admin.read")),
        (Method::GET, "wait", Some("admin.read")),
        (Method::PUT, "wait", Some("admin.change")),
        (Method::GET, "history", Some("admin.read")),
        (Method::DELETE, "history", Some("admin.change")),
        (Method::GET, "rpo", Some("admin.read")),
        (Method::PUT, "bandwidth", Some("admin.change")),
        (Method::GET, "repos/", None),
        (Method::GET, "clusters", None),
        (Method::GET, "", None),
    ];
    for (method, path, want) in cases {
        let got = admin(&method, path).ok();
        assert_eq!(got.as_ref().map(portolan_auth::Action::name), want, "{method} {path}");
    }
}
