//! Three nodes in one process, over in-memory connections, each with its own disk: what replication promises.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batching;
mod behind;
mod cluster;
mod crossing;
mod lying;
mod policies;
mod pulling;
mod ranges;
mod replicating;
mod resuming;
mod sweeping;
mod tamper;
