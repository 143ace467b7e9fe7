//! The configuration of a node: one TOML file, one level of tables, every key also as `PORTOLAN_TABLE_KEY`. It is
//! checked whole before any port is bound, and everything that is wrong is reported at once.

mod check;
mod load;
mod nearest;
mod problem;
mod tables;
mod values;

pub(crate) use check::is_name;
pub(crate) use problem::Problems;
pub(crate) use tables::MemberTable;

use load::{NoKeys, Settings};
use portolan_consensus::Profile;
use portolan_meta::row::Role;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tables::{ClusterTable, NodeTable, OpsTable, PeerTable, ProcessLimits, PublicTable};

/// How often the public certificate's files are looked at unless written: two small files of the page cache, against
/// renewals that come days before they are needed.
const TLS_RELOAD: Duration = Duration::from_secs(10);

/// A checked configuration: what it holds is valid.
#[derive(Debug)]
pub(crate) struct Config {
    /// `[node]`.
    pub(crate) node: Node,
    /// The static list of members, in its order, this node included.
    pub(crate) members: Vec<MemberTable>,
    /// Timing and limits of consensus: the other keys of `[cluster]`.
    pub(crate) consensus: portolan_consensus::Config,
    /// `[public]`.
    pub(crate) public: Public,
    /// `[peer]`.
    pub(crate) peer: Peer,
    /// Where `/metrics` and the health checks are.
    pub(crate) ops_listen: SocketAddr,
    /// `[storage]`.
    pub(crate) storage: portolan_store::Config,
    /// `[uploads]`, `[limits]`, `[reads]`, `[deletes]`.
    pub(crate) registry: portolan_registry::Config,
    /// `[replication]`.
    pub(crate) replication: portolan_replication::Config,
    /// How long a stop waits for requests in flight and for the flush.
    pub(crate) shutdown: Duration,
    /// How often a start that waits for its peers says so.
    pub(crate) bootstrap_report: Duration,
    /// `[auth]`.
    pub(crate) auth: portolan_auth::Config,
}

/// `[node]`.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its name, one of the members'.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// Its zone; empty when there is none.
    pub(crate) zone: String,
    /// What it does.
    pub(crate) role: Role,
    /// The folder that holds everything it keeps.
    pub(crate) data_dir: PathBuf,
}

/// `[public]`.
#[derive(Debug)]
pub(crate) struct Public {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Certificate chain and key; `None` is plain HTTP.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// How often these files are looked at for a renewed certificate.
    pub(crate) tls_reload: Duration,
}

/// `[peer]`.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where others reach this node.
    pub(crate) advertise: String,
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// This node's certificate.
    pub(crate) cert: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Limits and windows of the peer floor: the other keys of `[peer]`.
    pub(crate) limits: portolan_peer::Config,
}

impl Config {
    /// Reads and checks a configuration. `variables` is the environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn parse(text: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let mut settings = Settings::read(text, variables);
        if settings.is_unreadable() {
            return Err(settings.problems.in_order());
        }
        let tables = Tables::take(&mut settings);
        check::node(&mut settings, &tables.node);
        check::cluster(&mut settings, &tables.cluster, &tables.node);
        check::public(&mut settings, &tables.public, &tables.auth);
        check::peer(&mut settings, &tables.peer);
        let profile_written = settings.is_written("cluster.profile");
        let config = tables.resolve(profile_written);
        check_listeners(&mut settings, config.as_ref());
        let problems = settings.finish();
        match config {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    /// The member of the list that is this node, and its number from 1, which is its id.
    pub(crate) fn me(&self) -> (u64, &MemberTable) {
        let at = self.members.iter().position(|member| member.name == self.node.name).unwrap_or_default();
        (at as u64 + 1, &self.members[at])
    }
}

/// The tables as they were written.
struct Tables {
    node: NodeTable,
    cluster: ClusterTable,
    consensus: portolan_consensus::Config,
    public: PublicTable,
    peer: PeerTable,
    peer_limits: portolan_peer::Config,
    ops: OpsTable,
    storage: portolan_store::Config,
    registry: portolan_registry::Config,
    process: ProcessLimits,
    replication: portolan_replication::Config,
    auth: portolan_auth::Config,
}

impl Tables {
    fn take(settings: &mut Settings) -> Self {
        let _: NoKeys = settings.take("routing");
        Self {
            node: settings.take("node"),
            cluster: settings.take("cluster"),
            consensus: settings.take("cluster"),
            public: settings.take("public"),
            peer: settings.take("peer"),
            peer_limits: settings.take("peer"),
            ops: settings.take("ops"),
            storage: settings.take("storage"),
            registry: portolan_registry::Config {
                uploads: settings.take("uploads"),
                limits: settings.take("limits"),
                reads: settings.take("reads"),
                deletes: settings.take("deletes"),
            },
            process: settings.take("limits"),
            replication: settings.take("replication"),
            auth: settings.take("auth"),
        }
    }

    /// Fills in defaults; `None` when something is missing that has none, which the checks have reported.
    fn resolve(self, profile_written: bool) -> Option<Config> {
        let name = self.node.name?;
        let advertised = self.cluster.members.iter().find(|member| member.name == name)?.peer.clone();
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let public_address = if self.auth.is_explicit() { anywhere } else { loopback };
        let mut consensus = self.consensus;
        if !profile_written {
            consensus.profile = Profile::Wan;
        }
        Some(Config {
            node: Node {
                name,
                region: self.node.region?,
                zone: self.node.zone.unwrap_or_default(),
                role: self.node.role.unwrap_or(Role::Full),
                data_dir: self.node.data_dir?,
            },
            members: self.cluster.members,
            consensus,
            public: Public {
                listen: self.public.listen.unwrap_or_else(|| SocketAddr::new(public_address, 5000)),
                tls: self.public.tls_cert.zip(self.public.tls_key),
                tls_reload: self.public.tls_reload_ms.map_or(TLS_RELOAD, Duration::from_millis),
            },
            peer: Peer {
                listen: self.peer.listen.unwrap_or_else(|| SocketAddr::new(anywhere, 7000)),
                advertise: self.peer.advertise.unwrap_or(advertised),
                ca: self.peer.ca?,
                cert: self.peer.cert?,
                key: self.peer.key?,
                limits: self.peer_limits,
            },
            ops_listen: self.ops.listen.unwrap_or_else(|| SocketAddr::new(loopback, 9100)),
            storage: self.storage,
            registry: self.registry,
            replication: self.replication,
            shutdown: Duration::from_millis(self.process.shutdown_ms),
            bootstrap_report: Duration::from_millis(self.process.bootstrap_report_ms),
            auth: self.auth,
        })
    }
}

/// No two listeners may want the same port of the same address.
fn check_listeners(settings: &mut Settings, config: Option<&Config>) {
    let Some(config) = config else { return };
    let listeners = [
        ("public.listen", config.public.listen),
        ("peer.listen", config.peer.listen),
        ("ops.listen", config.ops_listen),
    ];
    for (at, (key, address)) in listeners.iter().enumerate() {
        for (other_key, other) in &listeners[..at] {
            let overlaps = address.ip() == other.ip() || address.ip().is_unspecified() || other.ip().is_unspecified();
            if address.port() == other.port() && address.port() != 0 && overlaps {
                settings.wrong(key, format!("must not take the port of {other_key} ({other})"));
            }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod tests;
