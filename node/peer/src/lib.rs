//! Calls between nodes: the only home of tonic.
//!
//! Below it: any byte stream (mutual TLS over TCP, or a simulated network). Above it: consensus, replication and the
//! registry, which call [`Peers`] and implement the traits in [`handlers`]. What may not be here: decisions about the
//! cluster's state; payloads of Raft and proposals cross as opaque bytes.
//!
//! Every call and every answer carries the identity of the node that speaks, and a [`Guard`] at both ends checks it;
//! only `hello` needs none. In reading order: [`message`], [`upload`] and [`handlers`] are what others see of it, [`identity`],
//! [`rejection`] and [`guard`] say who may talk, [`peers`] is the client, [`server`] the server, [`io`], [`tls`] and
//! [`memory`] are what they run over.

mod admit;
mod append;
mod blob;
pub mod config;
mod convert;
pub mod error;
pub mod guard;
pub mod handlers;
mod header;
pub mod health;
pub mod identity;
pub mod io;
mod link;
mod many;
pub mod memory;
pub mod message;
pub mod peers;
mod refusals;
pub mod rejection;
pub mod server;
mod service;
mod snapshot;
mod span;
mod status;
mod stub;
mod telemetry;
pub mod tls;
pub mod upload;

pub use config::Config;
pub use error::PeerError;
pub use guard::{Guard, IdentityTable};
pub use handlers::{Answer, BlobHandler, ClusterHandler, Handlers, HelloHandler, RaftHandler, UploadHandler};
pub use health::{Health, Pulse, Standing};
pub use identity::{Expected, LocalIdentity, PROTOCOL_VERSION, PeerIdentity};
pub use io::{Connector, Io, PeerIo};
pub use memory::MemoryNetwork;
pub use message::{
    Append, HelloCall, HelloReply, Lane, MANY_BLOB_BYTES, MANY_BLOBS, ManyBlobs, Member, NodeLoad, PingReply,
    ProposeCall, ProposeReply, ReadBlob, RemoteBlob, SnapshotData, SnapshotFile, SnapshotFrame, SnapshotHeader,
    TransferState,
};
pub use peers::Peers;
pub use rejection::{Rejection, RejectionKind, Side};
pub use server::PeerServer;
pub use tls::{TlsAcceptor, TlsConnector, TlsMaterial};
pub use upload::{
    BrokenOff, Chunk, Forwarded, ForwardedBody, UploadAction, UploadCall, UploadFault, UploadReply, UploadSending,
    WaitingBody,
};
