//! The only home of RocksDB and of the disk: Raft log, state, snapshots, blob files, upload files.
//!
//! Everything below one data folder, which one process locks:
//!
//! ```text
//! identity.json                       who this folder belongs to
//! raft/                               Raft log and vote (RocksDB)                     -> raft_log
//! state/CURRENT-STATE                 names the live state folder                     -> state
//! state/db-<ulid>/                    the applied state (RocksDB)
//! state/checkpoints/<ulid>/           the newest snapshot: hard links
//! state/incoming/<ulid>/              a snapshot that is being received
//! blobs/<alg>/<2 hex>/<hex>.<file id> a blob, beside it `.sum`: a checksum per chunk  -> blobs
//! uploads/<id>/ fetches/<id>/         files that still grow, with what resumes them
//! quarantine/                         files whose bytes went bad
//! ```
//!
//! What may not be here: decisions. This crate knows no command, no placement and no protocol; it keeps what it is
//! given, says when that is durable, and never shows a file before it is whole. The APIs block; the two async fronts
//! ([`PartWriter`], [`BlobStream`]) feed them from tasks.
//!
//! Reading order: [`Config`], [`StoreError`], [`DataDir`], [`Identity`], [`RaftLog`], [`State`], [`Blobs`].

mod blobs;
mod config;
mod data_dir;
mod engine;
mod error;
mod files;
mod gauges;
mod identity;
mod raft_log;
mod state;
mod telemetry;
mod wal;

pub use blobs::{
    BlobReader, BlobStream, Blobs, CHUNK_BYTES, Chunk, ChunkReader, ChunkedPart, Part, PartInfo, PartKind, PartReader,
    PartWriter, Parts, SealFailure, StoredFile, WholeBlob, table_digest,
};
pub use config::{Config, VerifyReads};
pub use data_dir::DataDir;
pub use error::StoreError;
pub use identity::Identity;
pub use raft_log::{Done, FsyncFailure, RaftLog};
pub use state::{Checkpoint, CheckpointFile, Incoming, IncomingFile, Latest, State, StateHash};
