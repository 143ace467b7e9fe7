//! The servers that are compared.

use crate::peer::Peer;
use crate::process;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::cluster::{Cluster, Options};

/// Portolan with one node.
pub const PORTOLAN_1: &str = "portolan, 1 node";
/// Portolan with three nodes in three regions; the load meets the first.
pub const PORTOLAN_3: &str = "portolan, 3 nodes";
/// Debian's docker-registry on the file system.
pub const DOCKER_REGISTRY: &str = "docker-registry";
/// nginx with the same bytes as plain files.
pub const NGINX: &str = "nginx, static";

/// A server under load.
pub struct Target {
    /// How it is called in the report.
    pub name: &'static str,
    /// Where the load goes, `host:port`.
    pub address: String,
    pids: Vec<i32>,
}

/// Everything that runs, and the targets to send load to.
pub struct Targets {
    clusters: Vec<Cluster>,
    /// nginx: only it is told what to serve.
    pub nginx: Peer,
    _docker_registry: Peer,
    /// The registries first, then nginx.
    pub all: Vec<Target>,
}

impl Targets {
    /// Starts all of them.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start() -> Result<Self> {
        let one = Cluster::start(Options { regions: vec!["solo"], ..Options::default() }).await?;
        let three = Cluster::start(Options::default()).await?;
        let (docker_registry, nginx) = (Peer::docker_registry().await?, Peer::nginx().await?);
        let of_cluster = |name, cluster: &Cluster| Target {
            name,
            address: cluster.nodes()[0].registry.clone(),
            pids: cluster.nodes().iter().map(|node| node.pid).collect(),
        };
        let of_peer = |name, peer: &Peer| -> Result<Target> {
            Ok(Target { name, address: peer.address.clone(), pids: process::with_children(peer.pid()?) })
        };
        let all = vec![
            of_cluster(PORTOLAN_1, &one),
            of_cluster(PORTOLAN_3, &three),
            of_peer(DOCKER_REGISTRY, &docker_registry)?,
            of_peer(NGINX, &nginx)?,
        ];
        Ok(Self { clusters: vec![one, three], nginx, _docker_registry: docker_registry, all })
    }

    /// The targets that take pushes.
    #[must_use]
    pub fn registries(&self) -> &[Target] {
        &self.all[..3]
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

/// The kernel's account of a target at one moment.
pub struct Account {
    cpu_seconds: f64,
    written_mib: f64,
}

impl Target {
    /// Opens an account.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn open_account(&self) -> Result<Account> {
        for pid in &self.pids {
            process::forget_peak(*pid)?;
        }
        Ok(Account { cpu_seconds: self.sum(process::cpu_seconds)?, written_mib: self.sum(process::written_mib)? })
    }

    /// What was used since: CPU seconds, peak MiB of the largest process, MiB written.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn close_account(&self, account: &Account) -> Result<(f64, f64, f64)> {
        let peaks = self.pids.iter().map(|pid| process::peak_mib(*pid)).collect::<Result<Vec<_>>>()?;
        let cpu = self.sum(process::cpu_seconds)? - account.cpu_seconds;
        let written = self.sum(process::written_mib)? - account.written_mib;
        Ok((cpu, peaks.into_iter().fold(0.0, f64::max), written))
    }

    fn sum(&self, figure: impl Fn(i32) -> Result<f64>) -> Result<f64> {
        self.pids.iter().map(|pid| figure(*pid)).sum()
    }
}
