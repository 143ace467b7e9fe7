//! `identity.json`: whose data this folder holds.

use crate::error::StoreError;
use crate::files;
use portolan_meta::id::NodeId;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "identity.json";

/// Whose data a folder holds. It is written once the cluster has accepted the node, and carried in every message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: String,
    /// The node's id in it, never reused.
    pub node_id: NodeId,
    /// Names this folder: a copy that was lost and begun anew has another.
    pub storage_uuid: String,
    /// Counts the starts of the node on this folder, from 1.
    pub incarnation: u64,
}

impl Identity {
    /// A fresh storage uuid (a ULID: unique, and sorts by time).
    #[must_use]
    pub fn fresh_storage_uuid() -> String {
        ulid::Ulid::new().to_string()
    }

    /// Reads the identity of a data folder; `None` when it has none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there is a file that does not read as an identity.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = data_dir.join(FILE);
        let Some(contents) = files::read_optional(&path)? else { return Ok(None) };
        serde_json::from_slice(&contents)
            .map(Some)
            .map_err(|source| StoreError::Corrupt { what: path.display().to_string(), reason: source.to_string() })
    }

    /// Writes it; durable on return, and a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, data_dir: &Path) -> Result<(), StoreError> {
        files::create_dir(data_dir)?;
        let mut text = serde_json::to_string_pretty(self).expect("strings and numbers always serialize");
        text.push('\n');
        files::replace(&data_dir.join(FILE), text.as_bytes())
    }

    /// Counts a start: the same identity with the next incarnation, durable before it is returned, so that no two
    /// starts ever use the same number.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn next_incarnation(mut self, data_dir: &Path) -> Result<Self, StoreError> {
        self.incarnation += 1;
        self.save(data_dir)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{FILE, Identity};
    use crate::error::StoreError;
    use portolan_meta::id::NodeId;

    fn identity() -> Identity {
        Identity {
            cluster_id: "c".into(),
            node_id: NodeId(3),
            storage_uuid: Identity::fresh_storage_uuid(),
            incarnation: 0,
        }
    }

    #[test]
    fn an_identity_reads_back_and_counts_its_starts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        let first = identity().next_incarnation(dir.path()).unwrap();
        assert_eq!(first.incarnation, 1);
        let second = Identity::load(dir.path()).unwrap().unwrap().next_incarnation(dir.path()).unwrap();
        assert_eq!(second, Identity { incarnation: 2, ..first });
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(second));
    }

    #[test]
    fn a_damaged_identity_is_corrupt_and_not_missing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{\"cluster_id\":").unwrap();
        assert!(matches!(Identity::load(dir.path()), Err(StoreError::Corrupt { .. })));
    }
}
