//! Limits and deadlines of the traffic between nodes.

use serde::Deserialize;
use std::time::Duration;

/// Limits and deadlines. Durations are in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long one attempt to connect may take, TLS included.
    pub connect_timeout_ms: u64,
    /// After a failed attempt, how long calls fail at once before the next attempt; doubles up to
    /// [`Self::reconnect_max_ms`].
    pub reconnect_min_ms: u64,
    /// The longest such pause.
    pub reconnect_max_ms: u64,
    /// How long a stream may take until its first answer.
    pub open_timeout_ms: u64,
    /// How long a stream that owes us something may stay silent.
    pub progress_timeout_ms: u64,
    /// How long the receiver of a snapshot may take after its last byte.
    pub snapshot_install_timeout_ms: u64,
    /// How long the owner of an upload session may take until it wants a forwarded request's body: an earlier request
    /// may have to put its bytes on the disk first.
    pub upload_turn_timeout_ms: u64,
    /// How long it may take to answer after the body's last byte: it syncs, and may have to hash a large blob again.
    pub upload_finish_timeout_ms: u64,
    /// HTTP/2 pings: how often.
    pub keepalive_interval_ms: u64,
    /// How long the answer to such a ping may take before the connection counts as dead.
    pub keepalive_timeout_ms: u64,
    /// The same on connections for blobs and on the answering side, where the ping may queue behind data.
    pub bulk_keepalive_timeout_ms: u64,
    /// How long a TLS handshake may take on the accepting side.
    pub handshake_timeout_ms: u64,
    /// How many handshakes may be under way on the accepting side.
    pub max_handshakes: usize,
    /// How many accepted connections may be open.
    pub max_connections: usize,
    /// How many calls one accepted connection may have under way.
    pub max_streams_per_connection: u32,
    /// How many bytes a sender may have under way on one stream.
    pub stream_window_bytes: u32,
    /// How many bytes a sender may have under way on one connection.
    pub connection_window_bytes: u32,
    /// The size of a message that carries a piece of a blob.
    pub chunk_bytes: usize,
    /// The largest message that is decoded.
    pub max_message_bytes: usize,
    /// How many connections per peer carry blobs.
    pub bulk_connections: usize,
    /// A refusal of the same kind and node is logged once in this time.
    pub refusal_log_interval_ms: u64,
    /// How long calls under way may go on after the server was told to stop.
    pub shutdown_grace_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 2_000,
            reconnect_min_ms: 50,
            reconnect_max_ms: 500,
            open_timeout_ms: 5_000,
            progress_timeout_ms: 10_000,
            snapshot_install_timeout_ms: 600_000,
            upload_turn_timeout_ms: 60_000,
            upload_finish_timeout_ms: 600_000,
            keepalive_interval_ms: 2_000,
            keepalive_timeout_ms: 4_000,
            bulk_keepalive_timeout_ms: 20_000,
            handshake_timeout_ms: 5_000,
            max_handshakes: 64,
            max_connections: 1_024,
            max_streams_per_connection: 1_024,
            stream_window_bytes: 16 << 20,
            connection_window_bytes: 64 << 20,
            chunk_bytes: 256 << 10,
            max_message_bytes: 16 << 20,
            bulk_connections: 4,
            refusal_log_interval_ms: 10_000,
            shutdown_grace_ms: 5_000,
        }
    }
}

impl Config {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn open_timeout(&self) -> Duration {
        Duration::from_millis(self.open_timeout_ms)
    }

    pub(crate) fn progress_timeout(&self) -> Duration {
        Duration::from_millis(self.progress_timeout_ms)
    }

    pub(crate) fn keepalive_interval(&self) -> Duration {
        Duration::from_millis(self.keepalive_interval_ms)
    }
}
