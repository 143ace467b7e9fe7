//! Blobs between nodes: open one wherever it is, fetch what this node lacks.
//!
//! Nothing here is remembered that the replicated state can tell: what to fetch is recomputed from placement and
//! locations, events only say when to look. No HTTP, no gRPC types, no decision about who may read what.
//!
//! In reading order:
//!
//! - [`config`], [`error`], [`status`]: the limits, what can go wrong for whom, what it looks like from outside.
//! - `holders`, `balance`: who has a blob, and in which order to ask; `reads`, `suspects`: what reads of a node told.
//! - `source`: one blob read from whoever has it.
//! - `table`, `segments`, `rate`: what its chunks are checked by, what is left to read of it, and how fast it comes.
//! - `landing`, `transfer`, `fill`, `fetch`, `follow`: one transfer of one blob into a growing file, and the readers that
//!   follow it.
//! - `through`, `ranged`: a transfer that is not stored, for a node without room; a range, for whoever wants no more.
//! - `batch`: many small blobs in one stream, made durable together.
//! - `local`: a file of this node's own disk; what happens when it is found damaged.
//! - [`open`]: the one entry for pulls, which puts these together.
//! - `confirm`: turns finished files into committed locations.
//! - `plan`, `exposure`, `surplus`, `desk`: what is missing, what hangs on one region, what is too much.
//! - `worker`, `reclaim`: the loops that bring what policy wants here, and let go of what it does not.
//! - `adopt`, `unlisted`, `sweep`: files that an earlier start finished and did not announce.
//! - `budget`: how fast bytes come from other regions.
//! - `lag`: how far each region is behind each other one.
//! - `settle`: waits until blobs are as durable as an ack policy demands.
//! - `serve`: answers the reads of peers.
//! - [`replication`]: the handle that owns all this.

mod adopt;
mod balance;
mod batch;
mod budget;
pub mod config;
mod confirm;
mod desk;
pub mod error;
mod exposure;
mod fetch;
mod fill;
mod follow;
mod holders;
mod lag;
mod landing;
mod local;
mod me;
pub mod open;
mod plan;
mod ranged;
mod rate;
mod reads;
mod reclaim;
pub mod replication;
#[cfg(test)]
mod rows;
mod scan;
mod segments;
mod serve;
mod settle;
mod source;
pub mod status;
mod surplus;
mod suspects;
mod sweep;
mod table;
mod telemetry;
mod through;
mod transfer;
mod unlisted;
mod worker;

pub use config::Config;
pub use error::{OpenError, ReadError, SettleError};
pub use me::Me;
pub use open::{BlobBody, Source};
pub use replication::Replication;
pub use status::{
    Exposure, FetchStatus, Losses, PeerHealth, RegionExposure, RegionLag, RegionMissing, ReplicationStatus,
};
