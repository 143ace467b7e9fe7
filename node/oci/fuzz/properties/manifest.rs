//! What holds for manifests. What the registry understood is compared with what a second reader finds in the same bytes.

use super::json::{Json, Unread, read};
use super::refusal::check_message;
use portolan_oci::manifest::parse;
use portolan_oci::{Descriptor, Digest, ErrorCode, ManifestKind, ParsedManifest, media_type};
use std::collections::BTreeMap;

/// The `Content-Type` on the first line (none when that is empty), then the body.
pub(crate) fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let content_type = std::str::from_utf8(&input[..end]).ok().filter(|line| !line.is_empty());
    let body = input.get(end + 1..).unwrap_or_default();
    match parse(content_type, body) {
        Ok(manifest) => accepted(content_type, body, &manifest),
        Err(error) => {
            assert!(matches!(error.code(), ErrorCode::ManifestInvalid | ErrorCode::Unsupported), "{error}");
            check_message(&error.to_string());
        }
    }
}

fn accepted(content_type: Option<&str>, body: &[u8], manifest: &ParsedManifest) {
    let is_json = std::str::from_utf8(body).is_ok();
    assert!(is_json, "JSON is UTF-8 (RFC 8259, section 8.1), and this is kept: {:?}", String::from_utf8_lossy(body));
    well_formed(manifest);
    agrees_with_itself(manifest);
    // Whoever pulls it has the stored type to go by, and reads the same.
    same(parse(Some(&manifest.media_type), body), manifest, "under its stored type");
    same(parse(content_type, &[b" \r\n\t", body, b"\n"].concat()), manifest, "with space around it");
    let json = match read(body) {
        Ok(json) => json,
        Err(Unread::TooDeep) => return,
        Err(Unread::Malformed) => panic!("no JSON, and taken: {}", String::from_utf8_lossy(body)),
    };
    let Json::Object(fields) = json else { panic!("taken, and no object: {json:?}") };
    second_reading(&Fields(&fields), content_type, manifest);
    let mut text = String::new();
    Json::Object(fields.iter().rev().cloned().collect()).write(&mut text);
    same(parse(content_type, text.as_bytes()), manifest, "with its fields in another order");
}

fn same(found: Result<ParsedManifest, portolan_oci::ManifestError>, manifest: &ParsedManifest, how: &str) {
    match found {
        Ok(found) => assert_eq!(&found, manifest, "{how}"),
        Err(error) => panic!("{how}: {error}; {manifest:?}"),
    }
}

fn well_formed(manifest: &ParsedManifest) {
    let name = &manifest.media_type;
    assert!(media_type::is_well_formed(name) && name.len() <= media_type::MAX_BYTES, "{name:?}");
    assert!(name.is_ascii() && !name.contains([' ', '\r', '\n', ';', ',']), "{name:?} goes into a header");
    assert!(manifest.kind == ManifestKind::Index || manifest.manifests.is_empty(), "{manifest:?}");
    assert!(manifest.kind != ManifestKind::Unknown || manifest.blobs.is_empty(), "{manifest:?}");
}

/// Each digest once, with one size, as one kind of thing.
fn agrees_with_itself(manifest: &ParsedManifest) {
    let mut sizes = BTreeMap::new();
    for child in manifest.blobs.iter().chain(&manifest.manifests) {
        assert!(sizes.insert(child.digest, child.size).is_none(), "{} is listed twice: {manifest:?}", child.digest);
    }
}

/// An object's fields, in order.
struct Fields<'a>(&'a [(String, Json)]);

impl<'a> Fields<'a> {
    /// A field that decides: it is there at most once, or two readers of the same bytes see two manifests.
    fn one(&self, name: &str) -> Option<&'a Json> {
        let mut found = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
        let first = found.next();
        assert!(found.next().is_none(), "{name} is there twice");
        first.filter(|value| **value != Json::Null)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.one(name).map(|value| value.text().unwrap_or_else(|| panic!("{name} is {value:?}")))
    }

    fn is_there(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// The descriptors of a list that may be missing or `null`.
    fn listed(&self, name: &str) -> Vec<Fields<'a>> {
        match self.one(name) {
            None => Vec::new(),
            Some(Json::List(entries)) => entries.iter().map(object).collect(),
            Some(other) => panic!("{name} is {other:?}"),
        }
    }

    /// The annotations; of two with one name the last counts, for every reader.
    fn annotations(&self) -> BTreeMap<String, String> {
        let Some(value) = self.one("annotations") else { return BTreeMap::new() };
        object(value)
            .0
            .iter()
            .map(|(key, value)| (key.clone(), value.text().unwrap_or_else(|| panic!("{key} is {value:?}")).to_owned()))
            .collect()
    }
}

fn object(value: &Json) -> Fields<'_> {
    let Json::Object(fields) = value else { panic!("{value:?} is taken for a descriptor") };
    Fields(fields)
}

fn second_reading(fields: &Fields<'_>, content_type: Option<&str>, manifest: &ParsedManifest) {
    let config = fields.one("config").map(object);
    let mut blobs: Vec<Fields<'_>> = config.iter().map(|config| Fields(config.0)).collect();
    for name in ["layers", "blobs"] {
        blobs.extend(fields.listed(name).into_iter().filter(|layer| !lies_elsewhere(layer)));
    }
    let mut manifests = Vec::new();
    for child in fields.listed("manifests").into_iter().filter(|child| !lies_elsewhere(child)) {
        let is_blob = child.text("mediaType").is_some_and(media_type::is_blob_in_index);
        if is_blob { blobs.push(child) } else { manifests.push(child) }
    }
    lists_agree("blobs", &blobs, &manifest.blobs);
    lists_agree("manifests", &manifests, &manifest.manifests);
    match (fields.one("subject"), &manifest.subject) {
        (None, None) => {}
        (Some(subject), Some(found)) => described(&object(subject), found),
        (raw, found) => panic!("the subject is {raw:?}, and was read as {found:?}"),
    }
    assert_eq!(fields.annotations(), manifest.annotations);
    let said = fields.text("artifactType").filter(|value| !value.is_empty());
    let fallback = config.and_then(|config| config.text("mediaType"));
    assert_eq!(manifest.artifact_type.as_deref(), said.or(fallback));
    let is_index = fields.is_there("manifests");
    assert_eq!(manifest.kind == ManifestKind::Index, is_index, "{manifest:?}");
    if let Some(own) = fields.text("mediaType").filter(|value| !value.is_empty()) {
        assert_eq!(manifest.media_type, own);
        let header = content_type.map(media_type::essence).filter(|value| !value.is_empty());
        assert!(header.is_none_or(|header| header == own), "{header:?} and {own:?}");
    }
    assert!(!fields.is_there("fsLayers") || fields.one("fsLayers").is_none(), "schema 1 is taken");
}

fn lies_elsewhere(descriptor: &Fields<'_>) -> bool {
    descriptor.text("mediaType").is_some_and(|value| {
        value.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || value == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    })
}

/// What the body lists is what was read, each digest at its first mention.
fn lists_agree(what: &str, raw: &[Fields<'_>], found: &[Descriptor]) {
    let mut seen = Vec::new();
    let mut left = found.iter();
    for descriptor in raw {
        let digest = descriptor.text("digest").unwrap_or_else(|| panic!("{what} without a digest"));
        if seen.contains(&digest) {
            let before = found.iter().find(|found| found.digest.to_string() == digest);
            assert_eq!(before.map(|found| found.size), Some(size(descriptor)), "{digest} has two sizes");
            continue;
        }
        seen.push(digest);
        described(descriptor, left.next().unwrap_or_else(|| panic!("{what}: {digest} was not read")));
    }
    assert!(left.next().is_none(), "{what}: more was read than is there: {found:?}");
}

fn described(raw: &Fields<'_>, found: &Descriptor) {
    assert_eq!(raw.text("digest"), Some(found.digest.to_string().as_str()));
    assert_eq!(found.digest.to_string().parse::<Digest>(), Ok(found.digest));
    assert_eq!(raw.text("mediaType"), Some(found.media_type.as_str()));
    assert_eq!(size(raw), found.size);
    assert_eq!(raw.text("artifactType"), found.artifact_type.as_deref());
    assert_eq!(raw.annotations(), found.annotations);
}

fn size(descriptor: &Fields<'_>) -> u64 {
    match descriptor.one("size") {
        Some(Json::Number(digits)) => digits.parse().unwrap_or_else(|_| panic!("a size of {digits}")),
        other => panic!("a size of {other:?}"),
    }
}
