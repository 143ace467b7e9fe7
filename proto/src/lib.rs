//! The wire between nodes: messages and gRPC stubs, generated from `portolan/v1/*.proto`.
//!
//! Nothing is written by hand here, and only `node/peer` converts these types to those that the floors above know.

/// Version 1 of the protocol. Fields are only ever added; what cannot be said that way is another version.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("portolan.v1");
}
