//! The only home of openraft: one handle to read and to change the metadata.
//!
//! Nothing of openraft is visible above this crate, and no HTTP, no blob bytes and no use case is known in it.

mod change;
mod config;
mod error;
mod handle;
mod members;
mod reading;
mod status;

pub use change::Change;
pub use config::{Config, Profile, Timing};
pub use error::{ConsensusError, MembersError, ProposeError, ReadError};
pub use handle::Consensus;
pub use members::{LocalNode, StaticMember};
pub use reading::{Freshness, StateView};
pub use status::{NodeProgress, Status};
