//! What is asked for.

use portolan_oci::{Digest, Reference, RepoName, Tag};

/// Every request of `/v2/` and `/api/v1/`, with what its path and query name. HEAD and GET are the same action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `GET /v2/`: does this registry speak the protocol?
    Base,
    /// `GET /v2/_catalog`.
    ListRepositories,
    /// `GET /v2/NAME/tags/list`.
    ListTags {
        /// The repository.
        repo: RepoName,
    },
    /// `GET /v2/NAME/referrers/DIGEST`.
    ListReferrers {
        /// The repository.
        repo: RepoName,
        /// The manifest that is referred to; need not exist.
        subject: Digest,
    },
    /// `GET /v2/NAME/manifests/REFERENCE`.
    ReadManifest {
        /// The repository.
        repo: RepoName,
        /// The manifest.
        reference: Reference,
    },
    /// `PUT /v2/NAME/manifests/REFERENCE`.
    PutManifest {
        /// The repository.
        repo: RepoName,
        /// What the manifest shall be called.
        reference: Reference,
    },
    /// `DELETE /v2/NAME/manifests/TAG`.
    DeleteTag {
        /// The repository.
        repo: RepoName,
        /// The tag.
        tag: Tag,
    },
    /// `DELETE /v2/NAME/manifests/DIGEST`.
    DeleteManifest {
        /// The repository.
        repo: RepoName,
        /// The manifest.
        digest: Digest,
    },
    /// `GET /v2/NAME/blobs/DIGEST`.
    ReadBlob {
        /// The repository.
        repo: RepoName,
        /// The blob.
        digest: Digest,
    },
    /// `DELETE /v2/NAME/blobs/DIGEST`.
    DeleteBlob {
        /// The repository.
        repo: RepoName,
        /// The blob.
        digest: Digest,
    },
    /// `POST /v2/NAME/blobs/uploads/`, with or without the whole blob.
    StartUpload {
        /// The repository.
        repo: RepoName,
    },
    /// `POST /v2/NAME/blobs/uploads/?mount=DIGEST&from=NAME`: reads from one repository and writes to another. Without
    /// `from` the blob may come from any repository that the caller may read blobs of.
    MountBlob {
        /// Where the blob shall be visible.
        repo: RepoName,
        /// Where it is visible, if the caller says so.
        from: Option<RepoName>,
        /// The blob.
        digest: Digest,
    },
    /// `GET /v2/NAME/blobs/uploads/SESSION`.
    ReadUpload {
        /// The repository.
        repo: RepoName,
        /// The session, as the client names it.
        session: String,
    },
    /// `PATCH /v2/NAME/blobs/uploads/SESSION`.
    AppendUpload {
        /// The repository.
        repo: RepoName,
        /// The session, as the client names it.
        session: String,
    },
    /// `PUT /v2/NAME/blobs/uploads/SESSION`.
    FinishUpload {
        /// The repository.
        repo: RepoName,
        /// The session, as the client names it.
        session: String,
    },
    /// `DELETE /v2/NAME/blobs/uploads/SESSION`.
    CancelUpload {
        /// The repository.
        repo: RepoName,
        /// The session, as the client names it.
        session: String,
    },
    /// `GET /api/v1/RESOURCE`.
    ReadAdmin {
        /// What is looked at.
        resource: AdminResource,
    },
    /// Any other method on `/api/v1/RESOURCE`.
    ChangeAdmin {
        /// What is changed.
        resource: AdminResource,
    },
}

/// What the admin API shows and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminResource {
    /// `cluster`: members, voters, the leader, who lags.
    Cluster,
    /// `cluster/leader`: who leads, and who shall.
    Leader,
    /// `repos`: what is wanted for repositories, by prefix.
    Repos,
    /// `replication`: where an image lies, and what is missing where.
    Replication,
    /// `wait`: answers once an image is durable where it is asked for.
    Wait,
    /// `history`: where a tag pointed, move by move.
    History,
    /// `rpo`: what would be lost with each region now.
    Rpo,
    /// `bandwidth`: how fast bytes may move between regions.
    Bandwidth,
    /// `openapi.json`: what the admin API has.
    OpenApi,
}

impl AdminResource {
    /// Every resource.
    pub const ALL: [Self; 9] = [
        Self::Cluster,
        Self::Leader,
        Self::Repos,
        Self::Replication,
        Self::Wait,
        Self::History,
        Self::Rpo,
        Self::Bandwidth,
        Self::OpenApi,
    ];

    /// Its path below `/api/v1/`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Leader => "cluster/leader",
            Self::Repos => "repos",
            Self::Replication => "replication",
            Self::Wait => "wait",
            Self::History => "history",
            Self::Rpo => "rpo",
            Self::Bandwidth => "bandwidth",
            Self::OpenApi => "openapi.json",
        }
    }

    /// The resource of that path below `/api/v1/`.
    #[must_use]
    pub fn by_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.path() == path)
    }
}

/// What kind of right an action takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// It adds content or moves a tag.
    Write,
    /// It takes content away.
    Delete,
    /// It changes the cluster itself.
    Administer,
}

impl Action {
    /// Which right it takes.
    #[must_use]
    pub const fn access(&self) -> Access {
        match self {
            Self::Base
            | Self::ListRepositories
            | Self::ListTags { .. }
            | Self::ListReferrers { .. }
            | Self::ReadManifest { .. }
            | Self::ReadBlob { .. }
            | Self::ReadAdmin { .. } => Access::Read,
            Self::PutManifest { .. }
            | Self::StartUpload { .. }
            | Self::MountBlob { .. }
            | Self::ReadUpload { .. }
            | Self::AppendUpload { .. }
            | Self::FinishUpload { .. }
            | Self::CancelUpload { .. } => Access::Write,
            Self::DeleteTag { .. } | Self::DeleteManifest { .. } | Self::DeleteBlob { .. } => Access::Delete,
            Self::ChangeAdmin { .. } => Access::Administer,
        }
    }

    /// The repository it is about, if it is about one.
    #[must_use]
    pub const fn repo(&self) -> Option<&RepoName> {
        match self {
            Self::Base | Self::ListRepositories | Self::ReadAdmin { .. } | Self::ChangeAdmin { .. } => None,
            Self::ListTags { repo }
            | Self::ListReferrers { repo, .. }
            | Self::ReadManifest { repo, .. }
            | Self::PutManifest { repo, .. }
            | Self::DeleteTag { repo, .. }
            | Self::DeleteManifest { repo, .. }
            | Self::ReadBlob { repo, .. }
            | Self::DeleteBlob { repo, .. }
            | Self::StartUpload { repo }
            | Self::MountBlob { repo, .. }
            | Self::ReadUpload { repo, .. }
            | Self::AppendUpload { repo, .. }
            | Self::FinishUpload { repo, .. }
            | Self::CancelUpload { repo, .. } => Some(repo),
        }
    }

    /// A second repository that it reads from: a mount's source.
    #[must_use]
    pub const fn reads_from(&self) -> Option<&RepoName> {
        match self {
            Self::MountBlob { from, .. } => from.as_ref(),
            _ => None,
        }
    }

    /// A stable name for logs and audits.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::ListRepositories => "catalog.list",
            Self::ListTags { .. } => "tags.list",
            Self::ListReferrers { .. } => "referrers.list",
            Self::ReadManifest { .. } => "manifest.read",
            Self::PutManifest { .. } => "manifest.put",
            Self::DeleteTag { .. } => "tag.delete",
            Self::DeleteManifest { .. } => "manifest.delete",
            Self::ReadBlob { .. } => "blob.read",
            Self::DeleteBlob { .. } => "blob.delete",
            Self::StartUpload { .. } => "upload.start",
            Self::MountBlob { .. } => "blob.mount",
            Self::ReadUpload { .. } => "upload.read",
            Self::AppendUpload { .. } => "upload.append",
            Self::FinishUpload { .. } => "upload.finish",
            Self::CancelUpload { .. } => "upload.cancel",
            Self::ReadAdmin { .. } => "admin.read",
            Self::ChangeAdmin { .. } => "admin.change",
        }
    }
}
