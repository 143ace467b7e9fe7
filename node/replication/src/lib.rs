//! Blobs between nodes: open one wherever it is, fetch what this node lacks.
//!
//! Nothing here is remembered that the replicated state can tell: what to fetch is recomputed from placement and
//! locations, events only say when to look. No HTTP, no gRPC types, no decision about who may read what.
//!
//! In reading order:
//!
//! - [`config`], [`error`]: the limits, and what can go wrong for whom.
//! - `holders`: who has a blob, nearest first; who was caught failing.
//! - `landing`, `fetch`, `follow`: one transfer of one blob into a growing file, and the readers that follow it.
//! - `through`: a transfer that is not stored, for a node without room.
//! - `local`: a file of this node's own disk; what happens when it is found damaged.
//! - [`open`]: the one entry for pulls, which puts these together.
//! - `plan`, `worker`: what policy wants here, and the loop that brings it.
//! - `confirm`: turns finished files into committed locations.
//! - `settle`: waits until blobs are as durable as an ack policy demands.
//! - `serve`: answers the reads of peers.
//! - [`status`], `metrics`: what all that looks like from outside.

pub mod config;
pub mod error;
pub mod open;
pub mod replication;
pub mod status;

pub use config::Config;
pub use error::{OpenError, ReadError, SettleError};
pub use open::{BlobBody, Source};
pub use replication::{Me, Replication};
pub use status::{FetchStatus, RegionMissing, ReplicationStatus};
