//! A whole group in one process: real stores, real gRPC, in-memory pipes instead of a network.

mod cluster;
mod hard_of_hearing;
mod leadership;
mod membership;
mod partition;
mod reads;
mod snapshots;
mod writes;
