//! One apply under way: its own writes over the view, and the small steps that several commands share.

use crate::codec::{encode, read};
use crate::family::Family;
use crate::id::{FileId, NodeId, RepoId, StoreId};
use crate::key;
use crate::outcome::{Outcome, Refusal};
use crate::overlay::Overlay;
use crate::query;
use crate::row::{LocationRow, PinRow, RepoRow, StoreRow};
use crate::view::{View, ViewError, Writes};
use portolan_oci::{Digest, RepoName};
use serde::Serialize;

/// Shorthand for the outcome of a refusal.
pub(super) fn refused(refusal: Refusal) -> Result<Outcome, ViewError> {
    Ok(Outcome::Refused(refusal))
}

/// See the module.
pub(super) struct Tx<'a> {
    overlay: Overlay<'a>,
    /// The log index of the entry: the source of ids and generations.
    pub(super) index: u64,
    /// The state's clock as of this entry.
    pub(super) now_ms: u64,
    /// Who proposed.
    pub(super) proposer: NodeId,
}

impl<'a> Tx<'a> {
    /// Begins with the clock, so that pins are judged by the time of this entry.
    pub(super) fn begin(view: &'a dyn View, index: u64, now_ms: u64, proposer: NodeId) -> Result<Self, ViewError> {
        let mut overlay = Overlay::new(view);
        if query::clock_ms(view)? < now_ms {
            overlay.put(Family::Sys, key::CLOCK.to_vec(), now_ms.to_be_bytes().to_vec());
        }
        Ok(Self { overlay, index, now_ms, proposer })
    }

    /// The state as this apply has changed it so far.
    pub(super) fn view(&self) -> &dyn View {
        &self.overlay
    }

    pub(super) fn into_writes(self) -> Writes {
        self.overlay.into_writes()
    }

    pub(super) fn put<T: Serialize>(&mut self, family: Family, key: Vec<u8>, row: &T) {
        self.overlay.put(family, key, encode(row));
    }

    pub(super) fn put_raw(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.overlay.put(family, key, value);
    }

    pub(super) fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.overlay.delete(family, key);
    }

    pub(super) fn blob_changed(&mut self, digest: &Digest) {
        self.overlay.blob_changed(*digest);
    }

    /// Notes that other repositories may show a blob from now on, so that its targets may have moved.
    pub(super) fn shown_elsewhere(&mut self, digest: &Digest) {
        self.blob_changed(digest);
    }

    pub(super) fn topology_changed(&mut self) {
        self.overlay.topology_changed();
    }

    /// The repository, made if nobody has named it before. Its id is the log index, which is never reused; so no
    /// command may make two.
    pub(super) fn repo_or_new(&mut self, name: &RepoName) -> Result<RepoRow, ViewError> {
        if let Some(repo) = query::repo(self.view(), name)? {
            return Ok(repo);
        }
        let repo = RepoRow { id: RepoId(self.index), ever_held: false };
        self.put(Family::Repos, key::repo(name), &repo);
        self.put_raw(Family::Repos, key::repo_by_id(repo.id), name.as_str().as_bytes().to_vec());
        Ok(repo)
    }

    /// Keeps a blob visible in a repository for so long from now; never shortens a pin.
    pub(super) fn pin(&mut self, digest: &Digest, repo: RepoId, for_ms: u64) -> Result<(), ViewError> {
        let key = key::pin(digest, repo);
        let until_ms = self.now_ms.saturating_add(for_ms);
        let kept: Option<PinRow> = read(self.view(), Family::Pins, &key)?;
        if kept.as_ref().is_none_or(|kept| kept.until_ms < until_ms) {
            self.put(Family::Pins, key, &PinRow { until_ms });
            if kept.is_none() {
                self.shown_elsewhere(digest);
            }
        }
        Ok(())
    }

    pub(super) fn add_location(&mut self, digest: &Digest, store: StoreId, file: FileId, generation: u64) {
        let row = LocationRow { generation };
        self.put(Family::Loc, key::location(digest, store, file), &row);
        self.put(Family::LocByStore, key::location_by_store(store, digest, file), &row);
        self.blob_changed(digest);
    }

    pub(super) fn remove_location(&mut self, digest: &Digest, store: StoreId, file: FileId) {
        self.delete(Family::Loc, key::location(digest, store, file));
        self.delete(Family::LocByStore, key::location_by_store(store, digest, file));
        self.blob_changed(digest);
    }

    /// Whether a file waits to be unlinked. It may be gone at any moment, so it must not count again; file ids are
    /// never reused, so only a message that comes late, under another name, can ask.
    pub(super) fn given_up(&self, store: StoreId, file: FileId) -> Result<bool, ViewError> {
        query::is_given_up(self.view(), store, file)
    }

    /// Whether the proposer may speak of the files of a store; the refusal when not. Only a disk's own node may: a
    /// late message of its earlier start must be told from a current one, and only its own incarnation tells.
    pub(super) fn foreign(&self, store: StoreId) -> Result<Option<Outcome>, ViewError> {
        let row: Option<StoreRow> = read(self.view(), Family::Stores, &key::store(store))?;
        Ok(match row {
            Some(StoreRow::Disk { node, .. }) if node == self.proposer => None,
            _ => Some(Outcome::Refused(Refusal::ForeignStore)),
        })
    }
}
