//! The settings of this crate: the `[storage]` table.

use serde::Deserialize;

/// When the bytes of an own blob file are checked against its chunk sums while they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyReads {
    /// On every read.
    Always,
    /// When the file was last verified longer ago than [`Config::verify_interval_ms`].
    #[default]
    Interval,
    /// Only when someone asks for it ([`crate::Blobs::verify_whole`]).
    Never,
}

/// The settings of this crate. Parsed means valid: every value of every field works.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Uploads and fetches stop when the disk has less free space than this; it belongs to the metadata. Bytes.
    pub reserve_bytes: u64,
    /// When own files are checked while they are read.
    pub verify_reads: VerifyReads,
    /// How long a verification counts with [`VerifyReads::Interval`].
    pub verify_interval_ms: u64,
    /// How many bytes of one incoming transfer may wait for the disk before its sender is held back.
    pub writer_buffer_bytes: u64,
    /// After how many bytes an incoming transfer is synced in the background, so that its last sync is short and a
    /// crash loses no more than this of it.
    pub sync_every_bytes: u64,
    /// How many bytes of a blob are read from the disk at once; a stream holds at most three times this.
    pub read_batch_bytes: u64,
    /// The block cache of the state.
    pub state_cache_bytes: u64,
    /// The block cache of the Raft log, which is mostly read while it is still in its write buffer.
    pub raft_cache_bytes: u64,
    /// How many log writes may wait for one fsync before the writer is held back.
    pub raft_queue: u32,
    /// The Raft log's write buffer; at most two exist at a time.
    pub raft_write_buffer_bytes: u64,
    /// The write buffers of all column families of the state together.
    pub state_write_buffer_bytes: u64,
    /// Write-ahead logs larger than this make the column families that pin them flush. Bytes, per database.
    pub max_wal_bytes: u64,
    /// How many files one database keeps open.
    pub max_open_files: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reserve_bytes: 1 << 30,
            verify_reads: VerifyReads::Interval,
            verify_interval_ms: 24 * 60 * 60 * 1000,
            writer_buffer_bytes: 4 << 20,
            sync_every_bytes: 32 << 20,
            read_batch_bytes: 512 << 10,
            state_cache_bytes: 32 << 20,
            raft_cache_bytes: 4 << 20,
            raft_queue: 4096,
            raft_write_buffer_bytes: 8 << 20,
            state_write_buffer_bytes: 16 << 20,
            max_wal_bytes: 64 << 20,
            max_open_files: 512,
        }
    }
}
