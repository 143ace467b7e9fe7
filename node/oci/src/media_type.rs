//! Media types, and what a manifest's media type says about its shape.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The artifact manifest that image-spec 1.1 withdrew before its release; some clients still push it.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The empty JSON object `{}`, which artifacts without a configuration use as one.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI layer, tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, tar with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, tar with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, tar with gzip.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer that lies elsewhere and is never pushed.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// Docker image manifest, schema 1: refused.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker image manifest, schema 1 with signatures: refused.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Bytes.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// What tools write over a body when nobody tells them what it is: how it is written, not what it says.
const GENERIC: [&str; 4] = ["application/json", OCTET_STREAM, "text/plain", "application/x-www-form-urlencoded"];
/// The manifests whose shape this registry knows.
const KNOWN_MANIFESTS: [&str; 7] =
    [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_MANIFEST, DOCKER_LIST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED];

const OCI_NONDISTRIBUTABLE_PREFIX: &str = "application/vnd.oci.image.layer.nondistributable.";
/// What precedes every layer's suffix; cache manifests list layers where an index lists manifests.
const BLOB_PREFIXES: [&str; 5] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.buildkit.cacheconfig.",
    OCI_CONFIG,
    DOCKER_CONFIG,
];

/// The longest media type, in bytes (RFC 6838, section 4.2: two names of at most 127 characters).
pub const MAX_BYTES: usize = 255;

/// A `Content-Type` without its parameters.
#[must_use]
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether it is `type/subtype` with the characters of RFC 6838, section 4.2, and at most 127 of them in each.
#[must_use]
pub fn is_well_formed(media_type: &str) -> bool {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        name.len() <= 127
            && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    media_type.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

/// Whether it tells nothing about a manifest.
#[must_use]
pub fn is_generic(media_type: &str) -> bool {
    GENERIC.contains(&media_type)
}

/// Whether it names a kind of manifest that this registry does not know: somebody's own, or one that is yet to come.
#[must_use]
pub fn is_unknown_manifest(media_type: &str) -> bool {
    !is_generic(media_type) && !KNOWN_MANIFESTS.contains(&media_type)
}

/// Whether a layer of that type lies elsewhere: registries must not demand it (image-spec, "Non-Distributable
/// Layers").
#[must_use]
pub fn is_nondistributable(media_type: &str) -> bool {
    media_type == DOCKER_FOREIGN_LAYER || media_type.starts_with(OCI_NONDISTRIBUTABLE_PREFIX)
}

/// Whether an entry of an index is a blob although manifests are listed there: the build cache of BuildKit does that.
#[must_use]
pub fn is_blob_in_index(media_type: &str) -> bool {
    BLOB_PREFIXES.iter().any(|prefix| media_type.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{
        DOCKER_FOREIGN_LAYER, DOCKER_LAYER, DOCKER_SCHEMA1, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, OCTET_STREAM, essence,
        is_blob_in_index, is_generic, is_nondistributable, is_unknown_manifest, is_well_formed,
    };

    #[test]
    fn parameters_and_spaces_are_dropped() {
        let cases = [("a/b", "a/b"), ("a/b; charset=utf-8", "a/b"), (" a/b ;x", "a/b"), ("", "")];
        for (content_type, want) in cases {
            assert_eq!(essence(content_type), want);
        }
    }

    #[test]
    fn a_media_type_is_two_names() {
        let long = format!("a/{}", "b".repeat(127));
        let too_long = format!("a/{}", "b".repeat(128));
        let cases = [
            (OCI_MANIFEST, true),
            ("a/b", true),
            ("application/vnd.example+json", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a", false),
            ("/", false),
            ("a/", false),
            ("/b", false),
            ("a/b/c", false),
            ("a/b c", false),
            ("a/b\r\nX-Header: 1", false),
            (".a/b", false),
        ];
        for (media_type, want) in cases {
            assert_eq!(is_well_formed(media_type), want, "{media_type:?}");
        }
    }

    #[test]
    fn how_a_body_is_written_is_told_from_what_it_is() {
        let cases = [
            ("application/json", true, false),
            (OCTET_STREAM, true, false),
            (OCI_MANIFEST, false, false),
            (DOCKER_SCHEMA1, false, false),
            ("application/vnd.example.manifest+json", false, true),
        ];
        for (media_type, generic, unknown) in cases {
            assert_eq!((is_generic(media_type), is_unknown_manifest(media_type)), (generic, unknown), "{media_type}");
        }
    }

    #[test]
    fn layers_that_lie_elsewhere_and_blobs_in_an_index_are_recognised() {
        let cases = [
            (DOCKER_FOREIGN_LAYER, true, true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true, true),
            (OCI_LAYER, false, true),
            (DOCKER_LAYER, false, true),
            ("application/vnd.buildkit.cacheconfig.v0", false, true),
            (OCI_MANIFEST, false, false),
            (OCI_INDEX, false, false),
            ("application/vnd.example.manifest+json", false, false),
        ];
        for (media_type, elsewhere, blob) in cases {
            assert_eq!(
                (is_nondistributable(media_type), is_blob_in_index(media_type)),
                (elsewhere, blob),
                "{media_type}"
            );
        }
    }
}
