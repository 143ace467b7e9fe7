//! Writes over a view: how a batch of entries reads what its earlier entries wrote, before anything reaches the store.

use crate::command::{Command, Proposal};
use crate::family::Family;
use crate::key;
use crate::view::{Row, View, ViewError, Write, Writes};
use bytes::Bytes;
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// Changes of one family: `None` is a removed row.
type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// A view with changes on top.
pub struct Overlay<'a> {
    base: &'a dyn View,
    changes: BTreeMap<Family, Changes>,
    prefetched: HashMap<(Family, Vec<u8>), Option<Bytes>>,
    changed_blobs: Vec<Digest>,
    changed_set: BTreeSet<Digest>,
    topology_changed: bool,
}

impl<'a> Overlay<'a> {
    /// No changes yet.
    #[must_use]
    pub fn new(base: &'a dyn View) -> Self {
        Self {
            base,
            changes: BTreeMap::new(),
            prefetched: HashMap::new(),
            changed_blobs: Vec::new(),
            changed_set: BTreeSet::new(),
            topology_changed: false,
        }
    }

    /// Reads the rows that these proposals are certain to ask for, one batched read per family. Only speed depends on
    /// it. The base must not change while the overlay lives.
    ///
    /// # Errors
    /// What the base fails with.
    pub fn prefetch<'p>(&mut self, proposals: impl IntoIterator<Item = &'p Proposal>) -> Result<(), ViewError> {
        let mut wanted: BTreeMap<Family, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (family, key) in proposals.into_iter().flat_map(prefetch_keys) {
            wanted.entry(family).or_default().insert(key);
        }
        for (family, keys) in wanted {
            let keys: Vec<Vec<u8>> = keys.into_iter().collect();
            let values = self.base.multi_get(family, &keys)?;
            self.prefetched.extend(keys.into_iter().map(|key| (family, key)).zip(values));
        }
        Ok(())
    }

    /// Sets a row.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.changes.entry(family).or_default().insert(key, Some(value.into()));
    }

    /// Removes a row; a missing one is no error.
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.changes.entry(family).or_default().insert(key, None);
    }

    /// Notes that a blob's row, locations or repositories changed.
    pub fn blob_changed(&mut self, digest: Digest) {
        if self.changed_set.insert(digest) {
            self.changed_blobs.push(digest);
        }
    }

    /// Notes that a node's row or a policy changed.
    pub fn topology_changed(&mut self) {
        self.topology_changed = true;
    }

    /// Takes over what one apply wrote.
    pub fn absorb(&mut self, writes: Writes) {
        for write in writes.rows {
            match write {
                Write::Put(family, key, value) => self.put(family, key, value),
                Write::Delete(family, key) => self.delete(family, key),
            }
        }
        for digest in writes.changed_blobs {
            self.blob_changed(digest);
        }
        self.topology_changed |= writes.topology_changed;
    }

    /// All changes as one batch: each row once, in key order.
    #[must_use]
    pub fn into_writes(self) -> Writes {
        let rows = self.changes.into_iter().flat_map(|(family, rows)| {
            rows.into_iter().map(move |(key, value)| match value {
                Some(value) => Write::Put(family, key, value.into()),
                None => Write::Delete(family, key),
            })
        });
        Writes { rows: rows.collect(), changed_blobs: self.changed_blobs, topology_changed: self.topology_changed }
    }
}

impl View for Overlay<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if let Some(changed) = self.changes.get(&family).and_then(|rows| rows.get(key)) {
            return Ok(changed.clone());
        }
        // Building the owned key costs less than a read of the store, but only where something was prefetched.
        if !self.prefetched.is_empty()
            && let Some(known) = self.prefetched.get(&(family, key.to_vec()))
        {
            return Ok(known.clone());
        }
        self.base.get(family, key)
    }

    fn scan(&self, family: Family, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, ViewError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let rows = self.changes.get(&family);
        let changes: Vec<(&[u8], Option<&Bytes>)> = rows
            .into_iter()
            .flat_map(|rows| rows.range::<[u8], _>((from, Bound::Unbounded)))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.as_slice(), value.as_ref()))
            .collect();
        if changes.is_empty() {
            return self.base.scan(family, prefix, after, limit);
        }
        self.merge(family, prefix, after, limit, &changes)
    }
}

impl Overlay<'_> {
    /// Merges the changes with the base, page by page, since a removed row makes room for another of the base.
    fn merge(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        changes: &[(&[u8], Option<&Bytes>)],
    ) -> Result<Vec<Row>, ViewError> {
        let row = |key: &[u8], value: &Bytes| (Bytes::copy_from_slice(key), value.clone());
        let mut found: Vec<Row> = Vec::new();
        let mut changes = changes.iter().copied().peekable();
        let mut cursor = after.map(<[u8]>::to_vec);
        while found.len() < limit {
            let page = self.base.scan(family, prefix, cursor.as_deref(), limit)?;
            let last_page = page.len() < limit;
            cursor = page.last().map(|(key, _)| key.to_vec());
            for (key, value) in page {
                while let Some((changed, new)) = changes.next_if(|(changed, _)| *changed < key.as_ref()) {
                    found.extend(new.map(|new| row(changed, new)));
                }
                match changes.next_if(|(changed, _)| *changed == key.as_ref()) {
                    Some((_, new)) => found.extend(new.map(|new| (key, new.clone()))),
                    None => found.push((key, value)),
                }
            }
            if last_page {
                found.extend(changes.by_ref().filter_map(|(key, new)| new.map(|new| row(key, new))));
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// Keys that applying a proposal is certain to read; those that depend on other rows (a repository's id) are not
/// among them.
#[must_use]
pub fn prefetch_keys(proposal: &Proposal) -> Vec<(Family, Vec<u8>)> {
    let name = &proposal.key;
    let mut keys = vec![
        (Family::Sys, key::CLOCK.to_vec()),
        (Family::Dedupe, key::dedupe_window(name.node)),
        (Family::Dedupe, key::dedupe_outcome(name.node, name.incarnation, name.sequence)),
    ];
    match &proposal.command {
        Command::InitCluster { .. } => keys.push((Family::Sys, key::CLUSTER.to_vec())),
        Command::NodeBoot(boot) => keys.push((Family::Nodes, key::node(boot.id))),
        Command::SetNodeState { node, .. } => keys.push((Family::Nodes, key::node(*node))),
        Command::CommitBlob { repo, digest, store, .. } => {
            keys.push((Family::Stores, key::store(*store)));
            keys.push((Family::Repos, key::repo(repo)));
            keys.push((Family::Blobs, key::blob(digest)));
        }
        Command::AddLocations { store, found } => {
            keys.push((Family::Stores, key::store(*store)));
            keys.extend(found.iter().map(|copy| (Family::Blobs, key::blob(&copy.digest))));
            keys.extend(found.iter().map(|copy| (Family::Reclaim, key::reclaim(*store, copy.file))));
        }
        Command::DropLocation { digest, store, file, .. } => {
            keys.push((Family::Stores, key::store(*store)));
            keys.push((Family::Loc, key::location(digest, *store, *file)));
        }
        Command::Unlinked { store, .. } => keys.push((Family::Stores, key::store(*store))),
        Command::SetPolicy { prefix, .. } => keys.push((Family::Repos, key::policy(prefix))),
        Command::SetBandwidth(_) => {}
        Command::MountBlob { repo, from, digest, .. } => {
            keys.push((Family::Repos, key::repo(repo)));
            keys.push((Family::Repos, key::repo(from)));
            keys.push((Family::Blobs, key::blob(digest)));
        }
        Command::PutManifest(put) => {
            keys.push((Family::Repos, key::repo(&put.repo)));
            keys.extend(put.children.iter().map(|child| (Family::Blobs, key::blob(&child.digest))));
        }
        Command::DeleteBlob { repo, digest } => {
            keys.push((Family::Repos, key::repo(repo)));
            keys.push((Family::Blobs, key::blob(digest)));
        }
        Command::PutManifestPart { repo, .. }
        | Command::DeleteTag { repo, .. }
        | Command::DeleteManifest { repo, .. } => keys.push((Family::Repos, key::repo(repo))),
    }
    keys
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::Overlay;
    use crate::family::Family;
    use crate::memory::MemoryState;
    use crate::view::{View, Write, Writes};
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::{option, prop_assert_eq, proptest};

    const FAMILY: Family = Family::Tags;

    fn writes(changes: &[(u8, Option<u8>)]) -> Writes {
        let write = |(key, value): &(u8, Option<u8>)| match value {
            Some(value) => Write::Put(FAMILY, row_key(*key), vec![*value]),
            None => Write::Delete(FAMILY, row_key(*key)),
        };
        Writes { rows: changes.iter().map(write).collect(), ..Writes::default() }
    }

    /// Sixteen prefixes of sixteen keys each.
    fn row_key(number: u8) -> Vec<u8> {
        vec![number >> 4, number & 15]
    }

    proptest! {
        #[test]
        fn an_overlay_reads_like_the_state_that_its_writes_make(
            below in vec((any::<u8>(), any::<u8>()), 0..200),
            above in vec((any::<u8>(), option::of(any::<u8>())), 0..200),
            prefix in option::of(0_u8..16),
            after in option::of(any::<u8>()),
            limit in 0_usize..20,
        ) {
            let mut base = MemoryState::new();
            for (key, value) in below {
                base.put(FAMILY, row_key(key), vec![value]);
            }
            let mut overlay = Overlay::new(&base);
            overlay.absorb(writes(&above));
            let mut written = base.clone();
            written.write(&writes(&above));
            let prefix: Vec<u8> = prefix.into_iter().collect();
            let after = after.map(row_key).filter(|after| after.starts_with(&prefix));
            prop_assert_eq!(
                overlay.scan(FAMILY, &prefix, after.as_deref(), limit).unwrap(),
                written.scan(FAMILY, &prefix, after.as_deref(), limit).unwrap()
            );
            for key in 0..=u8::MAX {
                let key = row_key(key);
                prop_assert_eq!(overlay.get(FAMILY, &key).unwrap(), written.get(FAMILY, &key).unwrap());
            }
            let changes = overlay.into_writes();
            base.write(&changes);
            prop_assert_eq!(base, written);
        }
    }
}
