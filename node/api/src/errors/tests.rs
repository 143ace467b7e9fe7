#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{ApiError, respond};
use crate::route::RouteError;
use http_body_util::BodyExt;
use portolan_auth::Denied;
use portolan_oci::{ByteRange, ContentRange, Digest, ErrorBody, Reference, RepoName, Tag};
use portolan_registry::{Ack, LeaderError, PendingBlob, PolicyError, RegistryError};

/// A failure, its status, its code, and a header.
type Case = (ApiError, u16, &'static str, Option<(&'static str, &'static str)>);

async fn ask(error: ApiError) -> (u16, ErrorBody, http::HeaderMap) {
    let response = respond(&error, "the-id");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap(), parts.headers)
}

fn name() -> RepoName {
    "a".parse().unwrap()
}

fn policy(error: PolicyError) -> ApiError {
    RegistryError::Policy(error).into()
}

fn leader(error: LeaderError) -> ApiError {
    RegistryError::Leader(error).into()
}

fn admin_cases() -> Vec<Case> {
    vec![
        (
            RegistryError::RegionUnknown { region: "x".into(), known: vec!["eu".into()] }.into(),
            400,
            "REQUEST_INVALID",
            None,
        ),
        (
            RegistryError::NotWanted { repo: name(), regions: vec!["us".into()], wanted: Vec::new() }.into(),
            409,
            "REGION_UNWANTED",
            None,
        ),
        (RegistryError::PolicyUnknown(String::new().try_into().unwrap()).into(), 404, "NAME_UNKNOWN", None),
        (policy(PolicyError::RegionCount { count: 0 }), 400, "POLICY_INVALID", None),
        (policy(PolicyError::AckOfNothing { regions: 0, copies: 1 }), 400, "POLICY_INVALID", None),
        (policy(PolicyError::Bound { ms: 0 }), 400, "POLICY_INVALID", None),
        (policy(PolicyError::Copies { copies: 17 }), 400, "POLICY_INVALID", None),
        (policy(PolicyError::UnknownRegion { region: "x".into(), known: Vec::new() }), 409, "POLICY_INVALID", None),
        (ApiError::Query { key: "image", reason: "is missing".into() }, 400, "REQUEST_INVALID", None),
        (serde_json::from_str::<u8>("{").unwrap_err().into(), 400, "REQUEST_INVALID", None),
        (policy(PolicyError::Prefixes { limit: 1 }), 409, "POLICY_INVALID", None),
        (policy(PolicyError::Limits { count: 2, limit: 1 }), 400, "POLICY_INVALID", None),
        (RegistryError::ImageTooLarge { limit: 1 }.into(), 400, "REQUEST_INVALID", None),
        (leader(LeaderError::Unknown { node: "x".into(), known: vec!["a".into()] }), 404, "NODE_UNFIT", None),
        (leader(LeaderError::NotUnderstood { leader: "x".into() }), 409, "NODE_UNFIT", None),
        (leader(LeaderError::Nobody), 409, "NODE_UNFIT", None),
        (leader(LeaderError::NoLeader), 503, "UNAVAILABLE", Some(("retry-after", "2"))),
        (leader(LeaderError::NotTaken), 503, "UNAVAILABLE", Some(("retry-after", "2"))),
        (ApiError::BodyTooLong { limit: 1 }, 413, "REQUEST_INVALID", None),
        (ApiError::BodyBroken("x".into()), 400, "REQUEST_INVALID", None),
        (ApiError::BodySilent { idle_ms: 1 }, 408, "REQUEST_INVALID", None),
    ]
}

#[tokio::test]
async fn each_failure_has_its_status_code_and_header() {
    let repo: RepoName = "a".parse().unwrap();
    let digest = Digest::sha256_of(b"x");
    let unknown = RegistryError::ManifestUnknown { repo: repo.clone(), reference: Reference::Digest(digest) };
    let cases: Vec<Case> = vec![
        (RegistryError::RepoUnknown(repo.clone()).into(), 404, "NAME_UNKNOWN", None),
        (unknown.into(), 404, "MANIFEST_UNKNOWN", None),
        (
            RegistryError::TagNeverWas { repo: repo.clone(), tag: "t".parse().unwrap() }.into(),
            404,
            "MANIFEST_UNKNOWN",
            None,
        ),
        (RegistryError::BlobUnknown { repo, digest }.into(), 404, "BLOB_UNKNOWN", None),
        (RegistryError::UploadUnknown("x".into()).into(), 404, "BLOB_UPLOAD_UNKNOWN", None),
        (RegistryError::ManifestTooLarge { limit: 4 }.into(), 413, "SIZE_INVALID", None),
        (RegistryError::BlobTooLarge { limit: 4 }.into(), 413, "SIZE_INVALID", None),
        (RegistryError::ChildrenUnknown(vec![digest]).into(), 404, "MANIFEST_BLOB_UNKNOWN", None),
        (RegistryError::DigestMismatch { expected: digest }.into(), 400, "DIGEST_INVALID", None),
        (RegistryError::SizeMismatch { expected: 1, found: 2 }.into(), 400, "SIZE_INVALID", None),
        (RegistryError::OutOfOrder { start: 9, length: 5 }.into(), 416, "RANGE_INVALID", Some(("range", "0-4"))),
        (
            RegistryError::RangeUnsatisfiable { size: 5 }.into(),
            416,
            "RANGE_INVALID",
            Some(("content-range", "bytes */5")),
        ),
        (RegistryError::ReferredTo(vec![digest]).into(), 405, "UNSUPPORTED", Some(("allow", "GET, HEAD"))),
        (RegistryError::TooManySessions { limit: 1 }.into(), 429, "TOOMANYREQUESTS", Some(("retry-after", "1"))),
        (ApiError::TooManyTags { limit: 1 }, 414, "TAG_INVALID", None),
        (ApiError::Busy { what: "x", limit: 1 }, 429, "TOOMANYREQUESTS", Some(("retry-after", "1"))),
        (RegistryError::NoQuorum.into(), 503, "UNAVAILABLE", Some(("retry-after", "2"))),
        (RegistryError::NotConfirmed.into(), 503, "UNAVAILABLE", Some(("retry-after", "2"))),
        (RegistryError::Unreachable(digest).into(), 503, "UNAVAILABLE", Some(("retry-after", "2"))),
        (RegistryError::AckPending(Vec::new()).into(), 503, "ACK_PENDING", Some(("retry-after", "5"))),
        (RegistryError::StorageFull.into(), 507, "STORAGE_FULL", None),
        (RegistryError::Outcome("X").into(), 500, "UNKNOWN", None),
        (RouteError::NoSuchPath.into(), 404, "UNSUPPORTED", None),
        (RouteError::Method { allow: "GET" }.into(), 405, "UNSUPPORTED", Some(("allow", "GET"))),
        (RouteError::Missing("digest").into(), 400, "DIGEST_INVALID", None),
        (RouteError::NoTag("-".parse::<Tag>().unwrap_err()).into(), 404, "MANIFEST_UNKNOWN", None),
        (ByteRange::parse("x").unwrap_err().into(), 416, "RANGE_INVALID", None),
        (ContentRange::parse("x").unwrap_err().into(), 400, "BLOB_UPLOAD_INVALID", None),
        (
            Denied::NeedsAdminToken.into(),
            401,
            "UNAUTHORIZED",
            Some(("www-authenticate", "Bearer realm=\"portolan admin\"")),
        ),
    ];
    for (error, status, code, header) in cases.into_iter().chain(admin_cases()) {
        let name = format!("{error:?}");
        let (got, body, headers) = ask(error).await;
        assert_eq!((got, body.errors[0].code.as_str()), (status, code), "{name}");
        assert_eq!(headers["content-type"], "application/json");
        if let Some((key, value)) = header {
            assert_eq!(headers[key], value, "{name}");
        }
    }
}

#[tokio::test]
async fn every_unknown_child_is_named() {
    let digests = vec![Digest::sha256_of(b"x"), Digest::sha256_of(b"y")];
    let (_, body, _) = ask(RegistryError::ChildrenUnknown(digests.clone()).into()).await;
    let named: Vec<_> = body.errors.iter().map(|entry| entry.detail.as_ref().unwrap()["digest"].clone()).collect();
    assert_eq!(named, digests.iter().map(|digest| serde_json::json!(digest)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_fault_shows_a_code_and_the_request_id_and_nothing_else() {
    let (status, body, _) = ask(RegistryError::Outcome("SecretCommand").into()).await;
    let text = serde_json::to_string(&body).unwrap();
    assert_eq!(status, 500);
    assert!(text.contains("the-id") && !text.contains("SecretCommand"), "{text}");
}

#[tokio::test]
async fn a_pending_push_says_what_is_durable_where() {
    let durable_in =
        [("eu".to_owned(), vec!["eu-1".to_owned(), "eu-2".to_owned()]), ("us".to_owned(), vec!["us-1".to_owned()])];
    let needed = Ack { regions: 2, copies: 2 }.into();
    let pending = PendingBlob { digest: Digest::sha256_of(b"x"), durable_in: durable_in.into(), needed };
    let (_, body, _) = ask(RegistryError::AckPending(vec![pending]).into()).await;
    let want = serde_json::json!({
        "digest": Digest::sha256_of(b"x"),
        "durable_on": ["eu-1", "eu-2", "us-1"],
        "durable_in": {"eu": ["eu-1", "eu-2"], "us": ["us-1"]},
        "needed": {"regions": 2, "copies": 2},
    });
    assert_eq!(body.errors[0].detail.as_ref().unwrap(), &want);
}
