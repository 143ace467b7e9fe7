//! Blobs between nodes: open one wherever it is, fetch what this node lacks.
//!
//! Nothing here is remembered that the replicated state can tell: what to fetch is recomputed from placement and
//! locations, events only say when to look. No HTTP, no gRPC types, no decision about who may read what.
//!
//! In reading order:
//!
//! - [`config`], [`error`], [`status`]: the limits, what can go wrong for whom, what it looks like from outside.
//! - `holders`, `suspects`: who has a blob, nearest first; who was caught failing.
//! - `source`: one blob read from whoever has it.
//! - `landing`, `fetch`, `follow`: one transfer of one blob into a growing file, and the readers that follow it.
//! - `through`: a transfer that is not stored, for a node without room.
//! - `local`: a file of this node's own disk; what happens when it is found damaged.
//! - [`open`]: the one entry for pulls, which puts these together.
//! - `confirm`: turns finished files into committed locations.
//! - `plan`, `worker`: what policy wants here, and the loop that brings it.
//! - `lag`: how far each region is behind each other one.
//! - `settle`: waits until blobs are as durable as an ack policy demands.
//! - `serve`: answers the reads of peers.
//! - [`replication`]: the handle that owns all this.

pub mod config;
mod confirm;
pub mod error;
mod fetch;
mod follow;
mod holders;
mod lag;
mod landing;
mod local;
mod me;
pub mod open;
mod plan;
pub mod replication;
mod serve;
mod settle;
mod source;
pub mod status;
mod suspects;
mod telemetry;
mod through;
mod worker;

pub use config::Config;
pub use error::{OpenError, ReadError, SettleError};
pub use me::Me;
pub use open::{BlobBody, Source};
pub use replication::Replication;
pub use status::{FetchStatus, RegionLag, RegionMissing, ReplicationStatus};
