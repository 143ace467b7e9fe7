//! The only home of openraft: one handle to read and to change the metadata.
//!
//! Nothing of openraft is visible above this crate, and no HTTP, no blob bytes and no use case is known in it.
//!
//! ```text
//!        propose(command)               view(freshness)             changes(), applied(), status()
//!              │                              │                              ▲
//!   propose: key, leader, retry     read_index: one question                 │
//!              │                    for all who wait                         │
//!              ▼                              ▼                              │
//!   ┌───────────────────────────── group: openraft ────────────────────┐     │
//!   │ log_store          network ⇄ server            state_machine ────┼─────┘
//!   └─────┼─────────────────┼─────────┼────────────────────┼───────────┘
//!         ▼                 ▼         ▲                    ▼
//!    store::RaftLog      peer::Peers  peer::PeerServer  store::State
//! ```
//!
//! Reading order: [`Consensus`] (the handle), `propose` with `sequencer` and `clock`, `read_index` with `reading`,
//! `group` (what they share), `types`, `log_store` with `traces`, `state_machine` with `markers`, `snapshot` and `state_hash`, `network` with
//! `pipeline`, `server`, `handover`, and `work` with `liveness` (what runs by itself).

mod change;
mod clock;
mod config;
mod disk;
mod error;
mod group;
mod handle;
mod handover;
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
mod state_hash;
mod state_machine;
mod status;
#[cfg(test)]
mod storage_suite;
mod traces;
mod types;
mod unreached;
mod work;

pub use change::Change;
pub use config::{Config, Profile, Timing};
pub use error::{ConsensusError, HandoverError, HashError, MembersError, ProposeError, ReadError, Unfit};
pub use handle::Consensus;
pub use handover::Handover;
pub use liveness::Condition;
pub use members::{LocalNode, StaticMember};
pub use reading::{Freshness, StateView};
pub use state_hash::StateHash;
pub use status::{NodeProgress, Status};
