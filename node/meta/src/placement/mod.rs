//! Where blobs shall lie: a pure function of topology, policies and digest, so that no two nodes disagree.
//!
//! - [`Topology`]: what placement is computed from;
//! - [`wanted()`]: the targets of a blob; rendezvous hashing chooses among the stores of a region;
//! - [`standing()`]: targets against facts: deficit and surplus;
//! - [`ack_policy`], [`durable`]: what a push waits for;
//! - [`voters`]: which members of a new cluster vote.

mod ack;
mod rendezvous;
mod standing;
#[cfg(test)]
mod tests;
mod topology;
mod union;
mod voters;
mod wanted;

pub use ack::{ack_policy, default_ack, durability, durable};
pub use standing::{Standing, is_surplus, standing};
pub use topology::{DISK_WEIGHT, Topology};
pub use voters::voters;
pub use wanted::{Wanted, may_store, targets, wanted};
