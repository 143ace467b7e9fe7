//! The servers that are compared, and what the kernel knows of them.

use super::metrics;
use crate::peer::Peer;
use crate::process;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::{Result, wait};
use std::time::Duration;

/// Portolan with one node.
pub const PORTOLAN_1: &str = "Portolan, 1 node";
/// Portolan with three nodes in three regions; the load meets the first.
pub const PORTOLAN_3: &str = "Portolan, 3 nodes";
/// Debian's docker-registry on the file system.
pub const DOCKER_REGISTRY: &str = "docker-registry";
/// nginx with the same bytes as plain files.
pub const NGINX: &str = "nginx, static";

/// How long copies between nodes may take to settle before the next measurement begins all the same.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Which servers beside us are installed.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// Debian's docker-registry.
    pub docker_registry: bool,
    /// nginx.
    pub nginx: bool,
}

/// A server under load.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// How it is called in the report.
    pub name: &'static str,
    /// Where the load goes, `host:port`.
    pub address: String,
    /// Its processes.
    pub pids: Vec<i32>,
    /// Where each node tells its metrics, `host:port`; empty for servers that are not ours.
    pub ops: Vec<String>,
}

/// What a server used: CPU seconds and writes since its start or an account's opening.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU seconds of all processes.
    pub cpu_seconds: f64,
    /// Peak memory of the largest process, in MiB.
    pub peak_mib: f64,
    /// What was sent to the disk, in MiB.
    pub written_mib: f64,
}

/// Everything that runs, and the targets to send load to.
pub struct Targets {
    clusters: Vec<Cluster>,
    _docker_registry: Option<Peer>,
    nginx: Option<Peer>,
    all: Vec<Target>,
}

impl Targets {
    /// Starts all of them with empty folders, those aside whose program is not installed.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(programs: Programs) -> Result<Self> {
        // No server here writes an access log.
        let environment = vec![("RUST_LOG", "warn".to_owned())];
        let regions = vec!["solo"];
        let one = Cluster::start(Options { regions, environment: environment.clone(), ..Options::default() }).await?;
        let three = Cluster::start(Options { environment, ..Options::default() }).await?;
        let docker_registry = if programs.docker_registry { Some(Peer::docker_registry().await?) } else { None };
        let nginx = if programs.nginx { Some(Peer::nginx().await?) } else { None };
        let mut all = vec![of_cluster(PORTOLAN_1, &one, 0), of_cluster(PORTOLAN_3, &three, 0)];
        for (name, peer) in [(DOCKER_REGISTRY, &docker_registry), (NGINX, &nginx)] {
            if let Some(peer) = peer {
                let (address, pids) = (peer.address.clone(), process::with_children(peer.pid()?));
                all.push(Target { name, address, pids, ops: Vec::new() });
            }
        }
        Ok(Self { clusters: vec![one, three], nginx, _docker_registry: docker_registry, all })
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Target> {
        self.all.clone()
    }

    /// Those that take pushes.
    #[must_use]
    pub fn registries(&self) -> Vec<Target> {
        self.all.iter().filter(|target| target.name != NGINX).cloned().collect()
    }

    /// Lays a file under nginx's root, where there is one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_static(&self, path: &str, chunks: &[bytes::Bytes]) -> Result<()> {
        self.nginx.as_ref().map_or(Ok(()), |nginx| nginx.put(path, chunks))
    }

    /// Stops the clusters; the servers beside us end when this is dropped.
    ///
    /// # Errors
    /// When one does not stop.
    pub async fn stop(mut self) -> Result<()> {
        for cluster in &mut self.clusters {
            cluster.stop().await?;
        }
        Ok(())
    }
}

/// A cluster as a target whose load meets one of its nodes.
#[must_use]
pub fn of_cluster(name: &'static str, cluster: &Cluster, node: usize) -> Target {
    Target {
        name,
        address: cluster.nodes()[node].registry.clone(),
        pids: cluster.nodes().iter().map(|node| node.pid).collect(),
        ops: cluster.nodes().iter().map(|node| node.ops.clone()).collect(),
    }
}

/// The targets, beginning with another one each repetition, so that what the machine does meanwhile hits all alike.
pub fn in_turn(targets: &[Target], repetition: usize) -> impl Iterator<Item = &Target> {
    targets.iter().cycle().skip(repetition % targets.len().max(1)).take(targets.len())
}

impl Target {
    /// Opens an account: peaks begin anew.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn open_account(&self) -> Result<Usage> {
        for pid in &self.pids {
            process::forget_peak(*pid)?;
        }
        self.usage()
    }

    /// What was used since.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn close_account(&self, opened: &Usage) -> Result<Usage> {
        let now = self.usage()?;
        Ok(Usage {
            cpu_seconds: now.cpu_seconds - opened.cpu_seconds,
            peak_mib: now.peak_mib,
            written_mib: now.written_mib - opened.written_mib,
        })
    }

    fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for pid in &self.pids {
            usage.cpu_seconds += process::cpu_seconds(*pid)?;
            usage.written_mib += process::written_mib(*pid)?;
            usage.peak_mib = usage.peak_mib.max(process::peak_mib(*pid)?);
        }
        Ok(usage)
    }

    /// Waits until no node copies anything any more.
    ///
    /// # Errors
    /// When that takes too long, or a node is gone.
    pub async fn settle(&self) -> Result<()> {
        // A change that was just committed may not have woken a worker yet: three looks must find nothing.
        for _ in 0..3 {
            wait::until("the copies between nodes", SETTLED_WITHIN, || async {
                match self.busy_copies().await {
                    Ok(0) => Ok(()),
                    Ok(busy) => Err(format!("{busy} are under way")),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await?;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Ok(())
    }

    async fn busy_copies(&self) -> Result<u64> {
        let mut busy = 0.0;
        for ops in &self.ops {
            let text = metrics::read(ops).await?;
            for name in ["queue", "in_flight", "unconfirmed"] {
                busy += metrics::sum(&text, &format!("portolan_replication_{name}"), "");
            }
        }
        Ok(busy as u64)
    }
}
