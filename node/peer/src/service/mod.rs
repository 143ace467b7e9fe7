//! The gRPC services: from the wire to the handlers and back, nothing else.

mod blobs;
mod cluster;
mod entry;
mod raft;
mod uploads;

pub(crate) use blobs::BlobsService;
pub(crate) use cluster::ClusterService;
pub(crate) use raft::RaftService;
pub(crate) use uploads::UploadsService;
