//! Use cases of the registry, without HTTP: pull, push, upload, list, delete.
//!
//! Each walk goes down once: a use case asks the state through a view of the right freshness, moves bytes through
//! replication and store, and changes the state with one proposal. No status codes, headers or JSON here; no raft, no
//! gRPC, no files.
//!
//! In reading order:
//!
//! - [`config`], [`error`]: the limits, and what can go wrong for whom.
//! - `registry`: the handle that the API floor holds, and the owner of every task below; `life`: its beginning and end.
//! - `clock`, `fresh`: how a read gets the freshness it promises, and what it gets without a leader.
//! - `propose`: how a command gets its outcome before a deadline. `disk`: what blocks, off the async threads; `readings`:
//!   what reads the state for long, likewise.
//! - `pull`: manifests and blobs by tag and digest.
//! - `list`: tags, repositories, referrers, page by page.
//! - `session`, `sessions`: one upload, and all of this node; `pour`: a body into its part; `upload`: what a client
//!   does with them; `forward`: those of other nodes, with `replay`; `owner`: what others forward here; `sweep`: what restarts and
//!   time do with them.
//! - `push`: puts a manifest once its blobs are durable enough. `delete`: takes away.
//! - `image_ref`, `image_state`, `image`, `image_transfers`, `image_wait`: where an image is with everything that belongs
//!   to it, and waiting until it is where somebody needs it. `rpo_report`, `rpo`: what would be lost with a region.
//! - `history`: where a tag pointed.
//! - `repos_check`, `repos`, `bandwidth`: what operators want for repositories, and of the links between regions.
//! - `report`: the cluster as an operator sees it. `leader`: having another node lead. `readiness`: whether this node can
//!   serve pulls and take pushes.
//! - `traffic`: what clients asked of this node; `load`: that and what it has to do, for the other nodes.
//! - `testing` (a feature): nodes in one process, for the tests of this floor and of those above.

pub mod config;
pub mod error;

mod bandwidth;
mod clock;
mod delete;
mod disk;
mod forward;
mod fresh;
mod history;
mod image;
mod image_ref;
mod image_state;
mod image_transfers;
mod image_wait;
mod leader;
mod life;
mod list;
mod load;
mod owner;
mod pour;
mod propose;
mod pull;
mod push;
mod readiness;
mod readings;
mod registry;
mod replay;
mod report;
mod repos;
mod repos_check;
mod rpo;
mod rpo_report;
mod session;
mod sessions;
mod sweep;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod traffic;
mod upload;

pub use bandwidth::{Bandwidth, RateLimit};
pub use clock::Stale;
pub use config::Config;
pub use delete::Deleted;
pub use error::{BodyError, LeaderError, PendingBlob, RegistryError};
pub use history::{TagHistory, TagHistoryAnswer, TagMove};
pub use image::{ImageAnswer, ImageRegion, ImageReport};
pub use image_ref::ImageRef;
pub use leader::{LeaderChange, LeaderReport, LeaderWanted};
pub use list::{Listing, Referrer};
pub use portolan_meta::policy::Prefix;
pub use pour::{Chunk, UploadBody};
pub use pull::{BlobAnswer, BlobStat, ManifestAnswer};
pub use push::{ManifestPush, PutAnswer};
pub use readiness::Readiness;
pub use registry::{Floors, Registry};
pub use report::{
    ClusterReport, HealthReport, HealthState, LagReport, LinkReport, LoadReport, NodeReport, OrderReport,
    RegionLinkReport,
};
pub use repos::{
    Ack, PrefixReport, RepoReport, RepoSettings, ReposAnswer, ReposReport, SettingsChange, SettingsFrom, TagReads,
};
pub use repos_check::PolicyError;
pub use rpo_report::{DamagedImage, RegionRpo, RpoReport};
pub use session::{NotAnUploadId, UploadId, UploadProgress};
pub use traffic::Traffic;
pub use upload::Mounted;
