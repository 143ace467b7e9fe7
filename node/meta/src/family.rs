//! The column families of the state database.

/// One column family. The name on disk is [`Family::name`]; key layouts are in [`crate::key`], row types in
/// [`crate::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Cluster id, epoch, membership, last applied, clock, cluster version.
    Sys,
    /// Node id → [`crate::row::NodeRow`].
    Nodes,
    /// Store id → [`crate::row::StoreRow`].
    Stores,
    /// Repository name → [`crate::row::RepoRow`]; the names of those that hold a manifest; repository id → name;
    /// prefix → [`crate::policy::PolicyRow`].
    Repos,
    /// (repository, digest) → [`crate::row::ManifestRow`], (repository, digest, part) → the manifest's bytes, and
    /// (repository, digest) → [`crate::row::StagedRow`] while parts wait for their manifest.
    Manifests,
    /// (repository, tag) → [`crate::row::TagRow`].
    Tags,
    /// (repository, digest, tag) → nothing.
    TagsByManifest,
    /// (repository, tag, revision, newest first) → [`crate::row::TagHistoryRow`]; bounded per tag.
    TagHistory,
    /// (repository, subject, referrer) → [`crate::row::ReferrerRow`].
    Referrers,
    /// Digest → [`crate::row::BlobRow`].
    Blobs,
    /// (kind and digest of the child, repository, parent) → nothing.
    Edges,
    /// (digest, repository) → [`crate::row::PinRow`].
    Pins,
    /// (digest, store, file id) → [`crate::row::LocationRow`].
    Loc,
    /// (store, digest, file id) → [`crate::row::LocationRow`].
    LocByStore,
    /// (store, file id) → [`crate::row::ReclaimRow`].
    Reclaim,
    /// Node id → its window, and (node id, incarnation, sequence) → the outcome.
    Dedupe,
}

impl Family {
    /// Every family, in the order in which they are opened.
    pub const ALL: [Self; 16] = [
        Self::Sys,
        Self::Nodes,
        Self::Stores,
        Self::Repos,
        Self::Manifests,
        Self::Tags,
        Self::TagsByManifest,
        Self::TagHistory,
        Self::Referrers,
        Self::Blobs,
        Self::Edges,
        Self::Pins,
        Self::Loc,
        Self::LocByStore,
        Self::Reclaim,
        Self::Dedupe,
    ];

    /// The column family's name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sys => "sys",
            Self::Nodes => "nodes",
            Self::Stores => "stores",
            Self::Repos => "repos",
            Self::Manifests => "manifests",
            Self::Tags => "tags",
            Self::TagsByManifest => "tags_by_manifest",
            Self::TagHistory => "tag_history",
            Self::Referrers => "referrers",
            Self::Blobs => "blobs",
            Self::Edges => "edges",
            Self::Pins => "pins",
            Self::Loc => "loc",
            Self::LocByStore => "loc_by_store",
            Self::Reclaim => "reclaim",
            Self::Dedupe => "dedupe",
        }
    }
}
