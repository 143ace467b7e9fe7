//! The tables that belong to this binary, as they are written. Those of lower floors are their own `Config` structs.

use portolan_meta::row::Role;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `[node]`: who this node is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeTable {
    /// Its name; one of `cluster.members`.
    pub(crate) name: Option<String>,
    /// Its region; as in `cluster.members`.
    pub(crate) region: Option<String>,
    /// Its zone inside the region.
    pub(crate) zone: Option<String>,
    /// What it does; `full` unless written.
    pub(crate) role: Option<Role>,
    /// The folder that holds everything it keeps.
    pub(crate) data_dir: Option<PathBuf>,
}

/// Keys of `[cluster]` that belong to this binary: the static list of members. The others are the consensus floor's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClusterTable {
    /// A name for people.
    pub(crate) name: Option<String>,
    /// Every node. The order is identity: the first has the id 1, so that entries are appended and never moved.
    pub(crate) members: Vec<MemberTable>,
}

/// One node of `cluster.members`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberTable {
    /// Its name.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// Where its peers reach it, `host:port`.
    pub(crate) peer: String,
}

/// `[public]`: where clients come in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PublicTable {
    /// Where to listen; port 5000 on loopback unless written (on every address when `auth.mode` is written).
    pub(crate) listen: Option<SocketAddr>,
    /// The certificate chain, PEM.
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub(crate) tls_key: Option<PathBuf>,
    /// How often the two files are looked at for a renewed certificate, in milliseconds; 10 s unless written.
    pub(crate) tls_reload_ms: Option<u64>,
    /// Says that there is to be no TLS.
    pub(crate) plain_http: bool,
}

/// `[peer]`: how nodes reach each other, always by mutual TLS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PeerTable {
    /// Where to listen; `0.0.0.0:7000` unless written.
    pub(crate) listen: Option<SocketAddr>,
    /// Where others reach it, when that is not its address in `cluster.members`.
    pub(crate) advertise: Option<String>,
    /// The certificate of the authority that signs all nodes' certificates, PEM.
    pub(crate) ca: Option<PathBuf>,
    /// This node's certificate, PEM.
    pub(crate) cert: Option<PathBuf>,
    /// Its key, PEM.
    pub(crate) key: Option<PathBuf>,
}

/// `[ops]`: health and metrics.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpsTable {
    /// Where to listen; `127.0.0.1:9100` unless written.
    pub(crate) listen: Option<SocketAddr>,
}

/// Keys of `[limits]` that belong to this binary; the others are the registry's and the API's.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProcessLimits {
    /// How long a stop waits for requests in flight and for the flush, in milliseconds.
    pub(crate) shutdown_ms: u64,
    /// How long a start waits for its peers before it reports whom it still waits for, in milliseconds.
    pub(crate) bootstrap_report_ms: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { shutdown_ms: 20_000, bootstrap_report_ms: 5_000 }
    }
}
