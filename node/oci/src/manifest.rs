//! Manifests: what they are and what they need.

use crate::descriptor::{Descriptor, null_as_default};
use crate::digest::Digest;
use crate::error::ErrorCode;
use crate::invalid::shown;
use crate::media_type;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashMap};

/// Which shape a manifest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// A configuration and layers.
    Image,
    /// A list of manifests.
    Index,
    /// Neither: a media type that this registry does not know, and nothing that it could need.
    Unknown,
}

/// What a registry reads in a manifest. Its bytes are stored verbatim beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedManifest {
    /// Its media type: the body's, else the request's, else the shape's OCI type.
    pub media_type: String,
    /// Its shape.
    pub kind: ManifestKind,
    /// The blobs that must exist: configuration first, then layers in order, each digest once, without those that lie
    /// elsewhere. An index has some only where it is a build cache.
    pub blobs: Vec<Descriptor>,
    /// The manifests that must exist, in order, each digest once.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about; need not exist.
    pub subject: Option<Descriptor>,
    /// What lists of referrers call it: its artifact type, else its configuration's media type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Why a manifest was refused. The message is for the client.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a field has another type or form than it should.
    #[error("the manifest does not parse: {}", briefly(.0))]
    Json(#[source] serde_json::Error),
    /// Not UTF-8, which JSON is (RFC 8259, section 8.1); fields that are passed over count too.
    #[error("the manifest is not UTF-8 from byte {valid} on")]
    NotText {
        /// How many bytes are.
        valid: usize,
    },
    /// JSON perhaps, but no object.
    #[error("a manifest is a JSON object")]
    NotAnObject,
    /// A media type that is none.
    #[error("{value} is not a media type")]
    MediaType {
        /// What it says, quoted and cut short.
        value: String,
    },
    /// Request and body disagree.
    #[error("Content-Type says {header} and the manifest says {body}")]
    MediaTypesDiffer {
        /// The request's.
        header: String,
        /// The body's.
        body: String,
    },
    /// The format that Docker gave up in 2017.
    #[error(
        "docker image manifests of schema 1 are not supported; push the image again with docker 1.10 or newer, or \
         convert it on the way: skopeo copy --format v2s2 docker://OLD docker://NEW"
    )]
    Schema1,
    /// A schema version other than 2, or none where the media type demands it.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// Both shapes at once: clients would disagree about what it is.
    #[error("the manifest has both a list of manifests and a configuration or layers")]
    Ambiguous,
    /// Not the shape that its media type promises.
    #[error("a manifest of type {media_type} must have {field}")]
    Missing {
        /// Its media type.
        media_type: String,
        /// What it lacks.
        field: &'static str,
    },
    /// Neither shape, and no media type of its own that would say what else it is.
    #[error(
        "the manifest has neither a list of manifests nor a configuration or layers, and neither its mediaType nor \
         Content-Type names another kind of manifest"
    )]
    Shapeless,
    /// One digest, two lengths.
    #[error("{digest} is named with two sizes")]
    SizesDiffer {
        /// The digest.
        digest: Digest,
    },
    /// One digest, a blob in one place and a manifest in another: nobody could say which of the two must exist.
    #[error("{digest} is named as a blob and as a manifest")]
    TwoKinds {
        /// The digest.
        digest: Digest,
    },
}

impl ManifestError {
    /// The OCI code that tells a client of it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Schema1 => ErrorCode::Unsupported,
            Self::Json(_)
            | Self::NotText { .. }
            | Self::NotAnObject
            | Self::MediaType { .. }
            | Self::MediaTypesDiffer { .. }
            | Self::SchemaVersion
            | Self::Ambiguous
            | Self::Missing { .. }
            | Self::Shapeless
            | Self::SizesDiffer { .. }
            | Self::TwoKinds { .. } => ErrorCode::ManifestInvalid,
        }
    }
}

/// What the parser says, without the middle of it: it may quote a value of megabytes, and ends with the place.
fn briefly(error: &serde_json::Error) -> String {
    const HEAD: usize = 160;
    const TAIL: usize = 80;
    let words = error.to_string();
    let length = words.chars().count();
    if length <= HEAD + TAIL {
        return words;
    }
    let head: String = words.chars().take(HEAD).collect();
    let tail: String = words.chars().skip(length - TAIL).collect();
    format!("{head} … {tail}")
}

/// The fields that decide. A field that stands there twice is an error of the parser: clients would differ in which of
/// the two they read. (Those that ignore the case of names may still read another manifest; image-spec forbids to refuse
/// fields that are not known.)
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "list")]
    layers: Option<Vec<Descriptor>>,
    /// The withdrawn artifact manifest's layers.
    #[serde(default, deserialize_with = "list")]
    blobs: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "list")]
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    annotations: BTreeMap<String, String>,
    /// Schema 1's layers.
    fs_layers: Option<IgnoredAny>,
}

/// A list that is there but `null` is an empty one.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Descriptor>>, D::Error> {
    null_as_default(deserializer).map(Some)
}

/// Reads a manifest. `content_type` is the request's header, parameters and all.
///
/// Known media types must have their shape. An unknown one that is well-formed is taken by the shape it has, and when it
/// has none, as a manifest that needs nothing: the specification is agnostic of content types, and what a registry does
/// not know it can keep and give back all the same. The fields that name blobs and manifests mean the same in every type.
///
/// # Errors
/// [`ManifestError`]; nothing of the body is believed then.
pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<ParsedManifest, ManifestError> {
    let header = content_type.map(media_type::essence).filter(|essence| !essence.is_empty());
    if header.is_some_and(is_schema1) {
        return Err(ManifestError::Schema1);
    }
    // The derived code below would take an array of the fields as well, which no client reads as a manifest.
    if body.trim_ascii_start().first().is_some_and(|&byte| byte != b'{') {
        return Err(ManifestError::NotAnObject);
    }
    // The parser would look only at what it keeps, and strict clients read nothing that is not UTF-8 as a whole.
    let body = std::str::from_utf8(body).map_err(|error| ManifestError::NotText { valid: error.valid_up_to() })?;
    let fields: Fields = serde_json::from_str(body).map_err(ManifestError::Json)?;
    let said = header.or(fields.media_type.as_deref().filter(|value| !value.is_empty()));
    // The first version of somebody's own format is no business of Docker's.
    let first_of_docker = fields.schema_version == Some(1) && !said.is_some_and(media_type::is_unknown_manifest);
    if fields.fs_layers.is_some() || first_of_docker || fields.media_type.as_deref().is_some_and(is_schema1) {
        return Err(ManifestError::Schema1);
    }
    let kind = shape(&fields)?;
    let media_type = agreed_media_type(header, fields.media_type.as_deref(), kind)?;
    let kind = check_shape(&media_type, &fields, kind)?;
    for value in fields.artifact_type.iter().filter(|value| !value.is_empty()) {
        check_media_type(value)?;
    }
    collect(media_type, kind, fields)
}

fn is_schema1(media_type: &str) -> bool {
    matches!(media_type, media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED)
}

fn shape(fields: &Fields) -> Result<Option<ManifestKind>, ManifestError> {
    let image = fields.config.is_some() || fields.layers.is_some() || fields.blobs.is_some();
    match (fields.manifests.is_some(), image) {
        (true, true) => Err(ManifestError::Ambiguous),
        (true, false) => Ok(Some(ManifestKind::Index)),
        (false, true) => Ok(Some(ManifestKind::Image)),
        (false, false) => Ok(None),
    }
}

/// The type to store: request and body must agree, and one of them or the shape must say it. A request that only says
/// that this is JSON has not said it: clients would not know what they pull.
fn agreed_media_type(
    header: Option<&str>,
    body: Option<&str>,
    kind: Option<ManifestKind>,
) -> Result<String, ManifestError> {
    let body = body.filter(|value| !value.is_empty());
    for value in header.iter().chain(body.iter()) {
        check_media_type(value)?;
    }
    match (header, body, kind) {
        (Some(header), Some(body), _) if header != body => {
            Err(ManifestError::MediaTypesDiffer { header: shown(header), body: shown(body) })
        }
        (_, Some(said), _) => Ok(said.to_owned()),
        (Some(said), None, _) if !media_type::is_generic(said) => Ok(said.to_owned()),
        (_, None, Some(ManifestKind::Image)) => Ok(media_type::OCI_MANIFEST.to_owned()),
        (_, None, Some(ManifestKind::Index)) => Ok(media_type::OCI_INDEX.to_owned()),
        (_, None, Some(ManifestKind::Unknown) | None) => Err(ManifestError::Shapeless),
    }
}

fn check_media_type(value: &str) -> Result<(), ManifestError> {
    if media_type::is_well_formed(value) { Ok(()) } else { Err(ManifestError::MediaType { value: shown(value) }) }
}

/// A known type must have what it promises, and an image or index of a generic type its version. What an unknown type
/// promises is not known.
fn check_shape(media_type: &str, fields: &Fields, kind: Option<ManifestKind>) -> Result<ManifestKind, ManifestError> {
    let missing = |field| Err(ManifestError::Missing { media_type: media_type.to_owned(), field });
    let versioned = match media_type {
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST if fields.config.is_none() => {
            return missing("a config");
        }
        media_type::OCI_INDEX | media_type::DOCKER_LIST if fields.manifests.is_none() => {
            return missing("a list of manifests");
        }
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST | media_type::OCI_INDEX | media_type::DOCKER_LIST => {
            true
        }
        // The withdrawn format had no version, and need not list a blob.
        media_type::OCI_ARTIFACT if kind != Some(ManifestKind::Index) => return Ok(ManifestKind::Image),
        unknown if media_type::is_unknown_manifest(unknown) => return Ok(kind.unwrap_or(ManifestKind::Unknown)),
        _ => false,
    };
    match fields.schema_version {
        Some(2) => {}
        None if !versioned => {}
        _ => return Err(ManifestError::SchemaVersion),
    }
    kind.ok_or(ManifestError::Shapeless)
}

fn collect(media_type: String, kind: ManifestKind, fields: Fields) -> Result<ParsedManifest, ManifestError> {
    let mut blobs = Distinct::default();
    let mut manifests = Distinct::default();
    let artifact_type = fields.artifact_type.filter(|value| !value.is_empty());
    let config_type = fields.config.as_ref().map(|config| config.media_type.clone());
    if let Some(config) = fields.config {
        blobs.add(config)?;
    }
    for blob in fields.layers.into_iter().chain(fields.blobs).flatten() {
        if !media_type::is_nondistributable(&blob.media_type) {
            blobs.add(blob)?;
        }
    }
    for child in fields.manifests.into_iter().flatten() {
        if media_type::is_nondistributable(&child.media_type) {
            continue;
        }
        if media_type::is_blob_in_index(&child.media_type) { blobs.add(child)? } else { manifests.add(child)? }
    }
    if let Some(both) = manifests.in_order.iter().find(|child| blobs.sizes.contains_key(&child.digest)) {
        return Err(ManifestError::TwoKinds { digest: both.digest });
    }
    Ok(ParsedManifest {
        media_type,
        kind,
        blobs: blobs.in_order,
        manifests: manifests.in_order,
        subject: fields.subject,
        artifact_type: artifact_type.or(config_type),
        annotations: fields.annotations,
    })
}

/// Descriptors by digest, each once, in the order of their first mention.
#[derive(Default)]
struct Distinct {
    in_order: Vec<Descriptor>,
    sizes: HashMap<Digest, u64>,
}

impl Distinct {
    fn add(&mut self, descriptor: Descriptor) -> Result<(), ManifestError> {
        match self.sizes.insert(descriptor.digest, descriptor.size) {
            None => self.in_order.push(descriptor),
            Some(size) if size == descriptor.size => {}
            Some(_) => {
                return Err(ManifestError::SizesDiffer { digest: descriptor.digest });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
