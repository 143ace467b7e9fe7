//! The only home of openraft: one handle to read and to change the metadata.
//!
//! Nothing of openraft is visible above this crate, and no HTTP, no blob bytes and no use case is known in it.

mod change;
mod clock;
mod config;
mod disk;
mod error;
mod group;
mod handle;
mod liveness;
mod log_store;
mod markers;
mod members;
mod metrics;
mod network;
mod pipeline;
mod propose;
mod read_index;
mod reading;
mod sequencer;
mod server;
mod settings;
mod snapshot;
mod state_machine;
mod status;
#[cfg(test)]
mod storage_suite;
mod types;
mod work;

pub use change::Change;
pub use config::{Config, Profile, Timing};
pub use error::{ConsensusError, MembersError, ProposeError, ReadError};
pub use handle::Consensus;
pub use liveness::Condition;
pub use members::{LocalNode, StaticMember};
pub use reading::{Freshness, StateView};
pub use status::{NodeProgress, Status};
