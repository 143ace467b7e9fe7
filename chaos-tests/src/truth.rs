//! What was ever made, from seeds alone: whether bytes are right can be said of each digest without anybody holding them.

mod bytes;
mod manifest;

pub use bytes::{Blob, Comparison, scatter};
pub use manifest::{Child, Manifest, Parts};

use portolan_oci::Digest;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// Something with a digest.
#[derive(Clone, Debug)]
pub enum Thing {
    /// A layer, a configuration or a note.
    Blob(Blob),
    /// An image, an index, or an artifact that refers to one.
    Manifest(Arc<Manifest>),
}

/// All things of a run. Those who push add what they make before they push it.
#[derive(Debug, Default)]
pub struct Truth(Mutex<Things>);

#[derive(Debug, Default)]
struct Things {
    by_digest: HashMap<Digest, Thing>,
    /// Blobs by seed and size, so that none is hashed twice.
    blobs: HashMap<(u64, u64), Blob>,
}

impl Truth {
    /// The blob of a seed and a size; whoever asks first hashes it.
    pub fn blob(&self, seed: u64, size: u64) -> Blob {
        if let Some(blob) = self.things().blobs.get(&(seed, size)) {
            return *blob;
        }
        // Not under the lock: a large one takes a while.
        let blob = Blob::new(seed, size);
        let mut things = self.things();
        things.blobs.insert((seed, size), blob);
        things.by_digest.insert(blob.digest, Thing::Blob(blob));
        blob
    }

    /// The manifest of one push, whose name no other has.
    pub fn manifest(&self, push: String, parts: Parts) -> Arc<Manifest> {
        let manifest = Arc::new(Manifest::new(push, parts));
        self.things().by_digest.insert(manifest.digest, Thing::Manifest(Arc::clone(&manifest)));
        manifest
    }

    /// What was made with a digest.
    #[must_use]
    pub fn get(&self, digest: &str) -> Option<Thing> {
        let digest: Digest = digest.parse().ok()?;
        self.things().by_digest.get(&digest).cloned()
    }

    /// The manifest that was made with a digest.
    #[must_use]
    pub fn get_manifest(&self, digest: &str) -> Option<Arc<Manifest>> {
        match self.get(digest)? {
            Thing::Manifest(manifest) => Some(manifest),
            Thing::Blob(_) => None,
        }
    }

    /// What each manifest names and needs, by its digest.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<String>> {
        let manifests = self.things().by_digest.values().filter_map(manifest).collect::<Vec<_>>();
        let names = |manifest: &Manifest| manifest.names().iter().map(ToString::to_string).collect();
        manifests.iter().map(|manifest| (manifest.digest.to_string(), names(manifest))).collect()
    }

    /// What each manifest that has a subject refers to, by its digest.
    #[must_use]
    pub fn subjects(&self) -> BTreeMap<String, String> {
        let manifests = self.things().by_digest.values().filter_map(manifest).collect::<Vec<_>>();
        let subject = |manifest: &Manifest| match &manifest.parts {
            Parts::Artifact { subject, .. } => Some((manifest.digest.to_string(), subject.digest.to_string())),
            Parts::Image { .. } | Parts::Index { .. } => None,
        };
        manifests.iter().filter_map(|manifest| subject(manifest)).collect()
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        self.0.lock().expect("no holder panics")
    }
}

fn manifest(thing: &Thing) -> Option<Arc<Manifest>> {
    match thing {
        Thing::Manifest(manifest) => Some(Arc::clone(manifest)),
        Thing::Blob(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Parts, Thing, Truth};

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
    fn whatever_was_made_is_found_by_its_digest_and_nothing_else_is() {
        let truth = Truth::default();
        let (config, layer) = (truth.blob(1, 100), truth.blob(2, 200));
        let image = truth.manifest("1".to_owned(), Parts::Image { config, layers: vec![layer] });
        assert!(matches!(truth.get(&layer.digest.to_string()), Some(Thing::Blob(found)) if found == layer));
        assert_eq!(truth.get_manifest(&image.digest.to_string()).unwrap(), image);
        assert!(truth.get_manifest(&layer.digest.to_string()).is_none());
        assert!(truth.get(&super::Blob::new(3, 1).digest.to_string()).is_none());
        assert!(truth.get("sha256:1").is_none());
        let contents = truth.contents();
        assert_eq!(contents.len(), 1);
        assert_eq!(contents[&image.digest.to_string()], [config.digest.to_string(), layer.digest.to_string()]);
    }
}
