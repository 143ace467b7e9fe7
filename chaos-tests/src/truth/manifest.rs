//! Manifests of a run. Each is made for one push and says which, so that no two pushes have the same digest.

use super::bytes::Blob;
use crate::image::{CONFIG, INDEX, LAYER, MANIFEST};
use portolan_oci::Digest;
use serde_json::{Value, json};

/// The annotation that holds the push's name.
const PUSH: &str = "dev.portolan.chaos.push";

/// The type of the artifacts that refer to images.
const ARTIFACT: &str = "application/vnd.portolan.chaos.note";

/// A manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it consists of.
    pub parts: Parts,
    push: String,
}

/// What a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    /// An image for one platform.
    Image {
        /// Its configuration.
        config: Blob,
        /// Its layers, lowest first.
        layers: Vec<Blob>,
    },
    /// Images for several platforms.
    Index {
        /// Their manifests.
        manifests: Vec<Child>,
    },
    /// A note about another manifest.
    Artifact {
        /// What it refers to.
        subject: Child,
        /// What it says.
        note: Blob,
    },
}

/// A manifest as another one names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its media type.
    pub media_type: &'static str,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Manifest {
    /// The manifest of one push, whose name no other has.
    #[must_use]
    pub fn new(push: String, parts: Parts) -> Self {
        let bytes = render(&push, &parts);
        Self { digest: Digest::sha256_of(&bytes), size: bytes.len() as u64, parts, push }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        render(&self.push, &self.parts)
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self.parts {
            Parts::Image { .. } | Parts::Artifact { .. } => MANIFEST,
            Parts::Index { .. } => INDEX,
        }
    }

    /// It, as another manifest names it.
    #[must_use]
    pub fn child(&self) -> Child {
        Child { media_type: self.media_type(), digest: self.digest, size: self.size }
    }

    /// The blobs that it names.
    #[must_use]
    pub fn blobs(&self) -> Vec<Blob> {
        match &self.parts {
            Parts::Image { config, layers } => std::iter::once(*config).chain(layers.iter().copied()).collect(),
            Parts::Index { .. } => Vec::new(),
            Parts::Artifact { note, .. } => vec![*note],
        }
    }

    /// The digests of all that it names and that must be there; the subject of an artifact need not.
    #[must_use]
    pub fn names(&self) -> Vec<Digest> {
        match &self.parts {
            Parts::Index { manifests } => manifests.iter().map(|child| child.digest).collect(),
            Parts::Image { .. } | Parts::Artifact { .. } => self.blobs().iter().map(|blob| blob.digest).collect(),
        }
    }
}

fn render(push: &str, parts: &Parts) -> Vec<u8> {
    let blob = |media_type: &str, blob: &Blob| descriptor(media_type, blob.digest, blob.size);
    let child = |child: &Child| descriptor(child.media_type, child.digest, child.size);
    let mut value = match parts {
        Parts::Image { config, layers } => json!({
            "mediaType": MANIFEST,
            "config": blob(CONFIG, config),
            "layers": layers.iter().map(|layer| blob(LAYER, layer)).collect::<Vec<_>>(),
        }),
        Parts::Index { manifests } => {
            json!({"mediaType": INDEX, "manifests": manifests.iter().map(child).collect::<Vec<_>>()})
        }
        Parts::Artifact { subject, note } => json!({
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT,
            "config": blob(ARTIFACT, note),
            "layers": [blob(ARTIFACT, note)],
            "subject": child(subject),
        }),
    };
    value["schemaVersion"] = json!(2);
    value["annotations"] = json!({PUSH: push});
    value.to_string().into_bytes()
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

#[cfg(test)]
mod tests {
    use super::super::bytes::Blob;
    use super::{Manifest, Parts};

    #[test]
    fn the_same_layers_pushed_again_are_another_manifest_and_each_is_made_again_alike() {
        let parts = Parts::Image { config: Blob::new(1, 10), layers: vec![Blob::new(2, 20)] };
        let (first, second) = (Manifest::new("1-1".to_owned(), parts.clone()), Manifest::new("1-2".to_owned(), parts));
        assert_ne!(first.digest, second.digest);
        assert_eq!(portolan_oci::Digest::sha256_of(&first.bytes()), first.digest);
        assert_eq!(first.bytes().len() as u64, first.size);
    }

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
    fn every_kind_is_read_by_the_registrys_own_parser() {
        let image = Manifest::new(
            "1".to_owned(),
            Parts::Image { config: Blob::new(1, 10), layers: vec![Blob::new(2, 20), Blob::new(3, 30)] },
        );
        let index = Manifest::new("2".to_owned(), Parts::Index { manifests: vec![image.child()] });
        let note = Parts::Artifact { subject: image.child(), note: Blob::new(4, 40) };
        let note = Manifest::new("3".to_owned(), note);
        for (manifest, names) in [(&image, 3), (&index, 1), (&note, 1)] {
            let parsed = portolan_oci::manifest::parse(Some(manifest.media_type()), &manifest.bytes());
            assert!(parsed.is_ok(), "{parsed:?}");
            assert_eq!(manifest.names().len(), names);
        }
    }
}
