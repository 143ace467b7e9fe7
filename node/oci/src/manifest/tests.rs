#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{ManifestError, ManifestKind, ParsedManifest, parse};
use crate::digest::Digest;
use crate::error::ErrorCode;
use crate::media_type::{
    DOCKER_CONFIG, DOCKER_FOREIGN_LAYER, DOCKER_LAYER, DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST,
};
use proptest::{prop_assert, proptest};
use serde_json::{Value, json};

fn digest(of: &str) -> Digest {
    Digest::sha256_of(of.as_bytes())
}

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn image(media_type: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(OCI_CONFIG, "config"),
        "layers": [descriptor(OCI_LAYER_GZIP, "one"), descriptor(OCI_LAYER_GZIP, "two")],
    })
}

fn index(media_type: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [descriptor(OCI_MANIFEST, "amd64"), descriptor(OCI_MANIFEST, "arm64")],
    })
}

fn with(mut value: Value, field: &str, content: Value) -> Value {
    value[field] = content;
    value
}

fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field);
    value
}

fn read(content_type: Option<&str>, body: &Value) -> Result<ParsedManifest, ManifestError> {
    parse(content_type, body.to_string().as_bytes())
}

fn digests(descriptors: &[crate::Descriptor]) -> Vec<Digest> {
    descriptors.iter().map(|descriptor| descriptor.digest).collect()
}

#[test]
fn an_image_needs_its_configuration_and_layers() {
    for media_type in [OCI_MANIFEST, DOCKER_MANIFEST] {
        let parsed = read(Some(media_type), &image(media_type)).unwrap();
        assert_eq!((parsed.media_type.as_str(), parsed.kind), (media_type, ManifestKind::Image));
        assert_eq!(digests(&parsed.blobs), [digest("config"), digest("one"), digest("two")]);
        assert_eq!(parsed.manifests, []);
    }
}

#[test]
fn an_index_needs_its_manifests() {
    for media_type in [OCI_INDEX, DOCKER_LIST] {
        let parsed = read(Some(media_type), &index(media_type)).unwrap();
        assert_eq!((parsed.media_type.as_str(), parsed.kind), (media_type, ManifestKind::Index));
        assert_eq!(digests(&parsed.manifests), [digest("amd64"), digest("arm64")]);
        assert_eq!(parsed.blobs, []);
        assert_eq!(parsed.artifact_type, None);
    }
}

#[test]
fn the_media_type_comes_from_the_body_the_request_or_the_shape() {
    let custom = "application/vnd.example.thing.v1+json";
    let cases = [
        (Some(OCI_MANIFEST), image(OCI_MANIFEST), OCI_MANIFEST),
        (None, image(OCI_MANIFEST), OCI_MANIFEST),
        (Some(OCI_MANIFEST), without(image(""), "mediaType"), OCI_MANIFEST),
        (Some(""), without(image(""), "mediaType"), OCI_MANIFEST),
        (None, without(image(""), "mediaType"), OCI_MANIFEST),
        (None, with(image(""), "mediaType", json!("")), OCI_MANIFEST),
        (None, without(index(""), "mediaType"), OCI_INDEX),
        (Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), image(OCI_MANIFEST), OCI_MANIFEST),
        (Some(custom), image(custom), custom),
        (Some(custom), index(custom), custom),
        (Some(custom), without(image(custom), "schemaVersion"), custom),
        (Some(custom), with(image(custom), "schemaVersion", json!(7)), custom),
        // What only says how the body is written says nothing, and clients would refuse to pull it under that name.
        (Some("application/json"), without(image(""), "mediaType"), OCI_MANIFEST),
        (Some("application/x-www-form-urlencoded"), without(index(""), "mediaType"), OCI_INDEX),
        (Some("application/octet-stream; x=y"), without(index(""), "mediaType"), OCI_INDEX),
    ];
    for (content_type, body, want) in cases {
        let parsed = read(content_type, &body).unwrap_or_else(|error| panic!("{content_type:?} {body}: {error}"));
        assert_eq!(parsed.media_type, want);
        assert_eq!(parsed.kind == ManifestKind::Index, body.get("manifests").is_some());
    }
}

#[test]
fn a_type_that_is_not_known_is_kept_and_needs_what_it_names() {
    let custom = "application/vnd.example.thing.v1+json";
    let subject = descriptor(OCI_MANIFEST, "subject");
    let cases = [
        (json!({}), ManifestKind::Unknown, 0, 0),
        (json!({"mediaType": custom}), ManifestKind::Unknown, 0, 0),
        (json!({"schemaVersion": 1, "things": [1, 2]}), ManifestKind::Unknown, 0, 0),
        (json!({"schemaVersion": 2, "subject": subject, "artifactType": "x/y"}), ManifestKind::Unknown, 0, 0),
        (image(custom), ManifestKind::Image, 3, 0),
        (json!({"blobs": [descriptor("a/b", "payload")]}), ManifestKind::Image, 1, 0),
        (index(custom), ManifestKind::Index, 0, 2),
    ];
    for (body, kind, blobs, manifests) in cases {
        let parsed = read(Some(custom), &body).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!((parsed.kind, parsed.media_type.as_str()), (kind, custom), "{body}");
        assert_eq!((parsed.blobs.len(), parsed.manifests.len()), (blobs, manifests), "{body}");
        assert_eq!(parsed.subject.is_some(), body.get("subject").is_some(), "{body}");
    }
    // The body alone may say it.
    assert_eq!(read(None, &json!({"mediaType": custom})).unwrap().kind, ManifestKind::Unknown);
}

#[test]
fn whatever_is_no_manifest_is_refused_with_its_code() {
    let duplicate =
        format!(r#"{{"schemaVersion":2,"config":{0},"config":{0},"layers":[]}}"#, descriptor(OCI_CONFIG, "c"));
    let array = format!(r#"[2,null,{},[],null,null,null,null,{{}},null]"#, descriptor(OCI_CONFIG, "c"));
    let bodies = [array.as_str(), "", "{", "[]", "null", "1", "\"x\"", "{} {}", "\u{feff}{}", duplicate.as_str()];
    for body in bodies {
        let error = parse(Some(OCI_MANIFEST), body.as_bytes()).unwrap_err();
        assert!(matches!(error, ManifestError::Json(_) | ManifestError::NotAnObject), "{body:?}: {error}");
        assert_eq!(error.code(), ErrorCode::ManifestInvalid, "{body:?}");
    }
    assert!(parse(Some(OCI_MANIFEST), b"{\"schemaVersion\":2,\"x\":\"\xff\"}").is_err());
    let deep = format!("{{\"x\":{}}}", "[".repeat(100_000));
    assert!(parse(Some(OCI_MANIFEST), deep.as_bytes()).is_err());

    let cases: Vec<(Option<&str>, Value, &str)> = vec![
        (Some(OCI_INDEX), image(OCI_MANIFEST), "Content-Type says"),
        (Some(DOCKER_MANIFEST), image(OCI_MANIFEST), "Content-Type says"),
        (Some(OCI_MANIFEST), index(""), "must have a config"),
        (Some(OCI_INDEX), without(image(""), "mediaType"), "must have a list of manifests"),
        (Some(DOCKER_LIST), image(DOCKER_LIST), "must have a list of manifests"),
        (Some(OCI_MANIFEST), without(image(OCI_MANIFEST), "config"), "must have a config"),
        (Some(OCI_MANIFEST), without(image(OCI_MANIFEST), "schemaVersion"), "schemaVersion"),
        (Some(OCI_INDEX), without(index(OCI_INDEX), "schemaVersion"), "schemaVersion"),
        (Some(OCI_INDEX), with(index(OCI_INDEX), "schemaVersion", json!(3)), "schemaVersion"),
        (Some(OCI_INDEX), with(index(OCI_INDEX), "layers", json!([])), "both"),
        (Some(OCI_MANIFEST), with(image(OCI_MANIFEST), "manifests", json!(null)), "both"),
        (Some("not a type"), without(image(""), "mediaType"), "is not a media type"),
        (None, with(image(""), "mediaType", json!("text")), "is not a media type"),
        (None, with(image(OCI_MANIFEST), "artifactType", json!("x y/z")), "is not a media type"),
        (None, json!({}), "neither"),
        (Some(""), json!({"schemaVersion": 2}), "neither"),
        (Some("application/json"), json!({"schemaVersion": 2}), "neither"),
        (Some("application/json"), image(OCI_MANIFEST), "Content-Type says"),
        (Some("application/json"), without(without(image(""), "mediaType"), "schemaVersion"), "schemaVersion"),
        (Some("application/vnd.example+json"), with(index(""), "config", descriptor("a/b", "c")), "both"),
        (Some("application/vnd.example+json"), json!({"config": {}}), "does not parse"),
        (Some("application/vnd.example+json"), json!({"layers": "many"}), "does not parse"),
        (Some(OCI_MANIFEST), with(image(OCI_MANIFEST), "layers", json!([{"size": 1}])), "does not parse"),
        (Some(OCI_MANIFEST), with(image(OCI_MANIFEST), "annotations", json!({"k": 1})), "does not parse"),
        (Some(OCI_MANIFEST), with(image(OCI_MANIFEST), "subject", json!("sha256:1")), "does not parse"),
    ];
    for (content_type, body, want) in cases {
        let error = read(content_type, &body).expect_err(&body.to_string());
        assert!(error.to_string().contains(want), "{body}: {error}");
        assert_eq!(error.code(), ErrorCode::ManifestInvalid);
    }
}

#[test]
fn a_manifest_is_text_also_where_nobody_reads() {
    let mut body = image(OCI_MANIFEST).to_string().into_bytes();
    body.truncate(body.len() - 1);
    let valid = body.len() + 9;
    body.extend_from_slice(b",\"note\":\"\xff\"}");
    let error = parse(Some(OCI_MANIFEST), &body).unwrap_err();
    assert!(matches!(error, ManifestError::NotText { valid: found } if found == valid), "{error}");
    assert_eq!(error.code(), ErrorCode::ManifestInvalid);
}

#[test]
fn a_digest_is_a_blob_or_a_manifest_and_not_both() {
    for size in [5, 9] {
        let mut body = index(OCI_INDEX);
        let layer = with(descriptor(OCI_LAYER_GZIP, "amd64"), "size", json!(size));
        body["manifests"].as_array_mut().unwrap().push(layer);
        let error = read(None, &body).unwrap_err();
        assert!(matches!(error, ManifestError::TwoKinds { digest: both } if both == digest("amd64")), "{error}");
        assert_eq!(error.code(), ErrorCode::ManifestInvalid);
    }
}

#[test]
fn a_refusal_does_not_send_the_manifest_back() {
    let long = "y".repeat(1 << 20);
    let error = read(None, &with(image(OCI_MANIFEST), "config", json!(long))).unwrap_err().to_string();
    assert!(error.len() < 400, "{} bytes", error.len());
    assert!(error.contains("does not parse: invalid type: string") && error.contains("at line 1 column"), "{error}");
}

#[test]
fn schema_1_is_refused_by_name_however_it_is_sent() {
    let body = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": [], "signatures": []});
    let cases = [
        (Some(DOCKER_SCHEMA1), body.clone()),
        (Some(DOCKER_SCHEMA1_SIGNED), body.clone()),
        (Some("application/json"), body.clone()),
        (None, body.clone()),
        (None, without(body, "fsLayers")),
        (Some(OCI_MANIFEST), json!({"schemaVersion": 2, "mediaType": DOCKER_SCHEMA1})),
        (Some("application/vnd.example+json"), json!({"schemaVersion": 1, "fsLayers": []})),
        (Some(OCI_MANIFEST), with(image(OCI_MANIFEST), "schemaVersion", json!(1))),
    ];
    for (content_type, body) in cases {
        let error = read(content_type, &body).unwrap_err();
        assert!(matches!(error, ManifestError::Schema1), "{content_type:?}: {error}");
        assert_eq!(error.code(), ErrorCode::Unsupported);
        let words = error.to_string();
        assert!(words.contains("schema 1") && words.contains("push the image again"), "{words}");
    }
}

#[test]
fn layers_that_lie_elsewhere_are_not_needed() {
    let layers = json!([
        descriptor(DOCKER_FOREIGN_LAYER, "windows"),
        descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "elsewhere"),
        descriptor(DOCKER_LAYER, "here"),
    ]);
    let parsed = read(None, &with(image(DOCKER_MANIFEST), "layers", layers)).unwrap();
    assert_eq!(digests(&parsed.blobs), [digest("config"), digest("here")]);
}

#[test]
fn a_blob_named_twice_is_needed_once_and_its_sizes_must_agree() {
    let twice = json!([descriptor(OCI_LAYER_GZIP, "one"), descriptor(OCI_LAYER_GZIP, "one")]);
    let parsed = read(None, &with(image(OCI_MANIFEST), "layers", twice)).unwrap();
    assert_eq!(digests(&parsed.blobs), [digest("config"), digest("one")]);

    let other = with(descriptor(OCI_LAYER_GZIP, "one"), "size", json!(99));
    let differ = json!([descriptor(OCI_LAYER_GZIP, "one"), other]);
    let error = read(None, &with(image(OCI_MANIFEST), "layers", differ)).unwrap_err();
    assert!(matches!(error, ManifestError::SizesDiffer { digest: found } if found == digest("one")), "{error}");
}

#[test]
fn an_artifact_is_called_by_its_type_or_its_configuration() {
    let empty = json!({"mediaType": OCI_EMPTY, "digest": digest("{}"), "size": 2, "data": "e30="});
    let bare = with(with(image(OCI_MANIFEST), "config", empty), "layers", json!([descriptor("a/b", "payload")]));
    let cases = [
        (with(bare.clone(), "artifactType", json!("application/vnd.example")), Some("application/vnd.example")),
        (with(bare.clone(), "artifactType", json!("")), Some(OCI_EMPTY)),
        (bare, Some(OCI_EMPTY)),
        (with(image(OCI_MANIFEST), "config", descriptor(DOCKER_CONFIG, "c")), Some(DOCKER_CONFIG)),
        (with(index(OCI_INDEX), "artifactType", json!("x/y")), Some("x/y")),
        (index(OCI_INDEX), None),
    ];
    for (body, want) in cases {
        assert_eq!(read(None, &body).unwrap().artifact_type.as_deref(), want, "{body}");
    }
}

#[test]
fn subject_and_annotations_are_kept() {
    let subject = descriptor(OCI_MANIFEST, "subject");
    let body = with(image(OCI_MANIFEST), "subject", subject);
    let body = with(body, "annotations", json!({"org.example.key": "value"}));
    let parsed = read(None, &body).unwrap();
    assert_eq!(parsed.subject.unwrap().digest, digest("subject"));
    assert_eq!(parsed.annotations["org.example.key"], "value");
    assert!(!digests(&parsed.blobs).contains(&digest("subject")), "a subject need not exist");
}

#[test]
fn null_lists_are_empty_as_go_writes_them() {
    let body = with(with(image(OCI_MANIFEST), "layers", json!(null)), "annotations", json!(null));
    assert_eq!(digests(&read(None, &body).unwrap().blobs), [digest("config")]);
    let body = with(index(OCI_INDEX), "manifests", json!(null));
    assert_eq!(read(None, &body).unwrap().manifests, []);
}

#[test]
fn the_withdrawn_artifact_manifest_is_taken() {
    let body = json!({
        "mediaType": OCI_ARTIFACT, "artifactType": "x/y",
        "blobs": [descriptor("a/b", "payload")], "subject": descriptor(OCI_MANIFEST, "subject"),
    });
    let parsed = read(Some(OCI_ARTIFACT), &body).unwrap();
    assert_eq!((parsed.kind, digests(&parsed.blobs)), (ManifestKind::Image, vec![digest("payload")]));
    assert_eq!(read(Some(OCI_ARTIFACT), &without(body, "blobs")).unwrap().blobs, []);
}

#[test]
fn a_build_cache_lists_blobs_in_an_index() {
    let manifests = json!([
        descriptor(OCI_LAYER_GZIP, "cached"),
        descriptor("application/vnd.buildkit.cacheconfig.v0", "cacheconfig"),
        descriptor("application/vnd.example.manifest+json", "unknown"),
    ]);
    let parsed = read(None, &with(index(OCI_INDEX), "manifests", manifests)).unwrap();
    assert_eq!(digests(&parsed.blobs), [digest("cached"), digest("cacheconfig")]);
    assert_eq!(digests(&parsed.manifests), [digest("unknown")]);
}

proptest! {
    #[test]
    fn a_mangled_manifest_is_answered_without_a_panic(at in 0usize..400, byte: u8, cut in 0usize..400) {
        let mut body = image(OCI_MANIFEST).to_string().into_bytes();
        let length = body.len();
        body[at % length] = byte;
        body.truncate(length.saturating_sub(cut));
        if let Ok(parsed) = parse(Some(OCI_MANIFEST), &body) {
            prop_assert!(parsed.media_type == OCI_MANIFEST && parsed.kind == ManifestKind::Image);
        }
    }
}
