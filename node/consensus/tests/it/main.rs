//! A whole group in one process: real stores, real gRPC, in-memory pipes instead of a network.

mod cluster;
mod leadership;
mod membership;
mod partition;
mod reads;
mod snapshots;
mod writes;
