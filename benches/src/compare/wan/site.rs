//! The emulated WAN and a cluster on it.

use super::super::target::{Target, of_cluster};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::wan::probe::Place;
use portolan_chaos_tests::wan::{Topology, Wan, namespace};
use portolan_chaos_tests::{Error, Result};
use std::future::Future;

/// How the target is called where there is but one.
pub const PORTOLAN: &str = "Portolan, 3 regions";

/// A cluster with a node in each region of a topology. Dropping it takes everything down.
pub struct Site {
    // The cluster goes before the network that it stands on.
    cluster: Cluster,
    wan: Wan,
    topology: Topology,
    killed: Vec<usize>,
    /// The node that leads, by its place.
    pub leader: usize,
    /// The node in the region that is farthest from the leader's.
    pub far: usize,
}

impl Site {
    /// Brings a WAN up and starts a cluster on it, with the timing for long links.
    ///
    /// # Errors
    /// When there is another WAN, or the cluster does not become ready.
    pub async fn up(topology: &Topology) -> Result<Self> {
        let wan = Wan::up(topology)?;
        let names: Vec<_> = topology.regions.iter().map(|region| region.name.as_str()).collect();
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut arguments = words(&["--launcher", "ip netns exec wan-{region}", "--address", "10.77.{r}.{i}"]);
        arguments.extend(["--regions".to_owned(), names.join(",")]);
        let environment = vec![("PORTOLAN_CLUSTER_PROFILE", "global".to_owned()), ("RUST_LOG", "warn".to_owned())];
        let cluster = Cluster::start(Options { arguments, environment, ..Options::default() }).await?;
        let leader = cluster.leader().await?;
        let others = (0..names.len()).filter(|node| *node != leader);
        let far = others.max_by_key(|node| round_trip(topology, leader, *node)).ok_or("a WAN of one region")?;
        Ok(Self { cluster, wan, topology: topology.clone(), killed: Vec::new(), leader, far })
    }

    /// The cluster as a target whose load meets one of its nodes.
    #[must_use]
    pub fn target(&self, node: usize) -> Target {
        let pids = self.cluster.nodes().iter().enumerate().filter(|(node, _)| !self.killed.contains(node));
        let pids = pids.map(|(_, node)| node.pid).collect();
        Target { pids, ..of_cluster(PORTOLAN, &self.cluster, node) }
    }

    /// Kills every node but the leader and the far one, which are a majority of three.
    ///
    /// # Errors
    /// When one does not go.
    pub async fn kill_all_but_two(&mut self) -> Result<()> {
        for node in (0..self.nodes()).filter(|node| ![self.leader, self.far].contains(node)) {
            self.cluster.kill(node).await?;
            self.killed.push(node);
        }
        Ok(())
    }

    /// All nodes' places.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.topology.regions.len()
    }

    /// The region of a node.
    #[must_use]
    pub fn region(&self, node: usize) -> &str {
        &self.topology.regions[node].name
    }

    /// A node's place on the WAN.
    #[must_use]
    pub fn place(&self, node: usize) -> Place {
        Place { region: self.region(node).to_owned(), address: Topology::address(node, 1) }
    }

    /// The round trip between the leader's region and a far one, as asked for, in milliseconds.
    #[must_use]
    pub fn round_trip_ms(&self) -> f64 {
        round_trip(&self.topology, self.leader, self.far).as_secs_f64() * 1e3
    }

    /// What the link from the leader's region to the far one carries, in bits per second; 0 for no limit.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.topology.link(self.leader, self.far).rate
    }

    /// The round trip that the router measures meanwhile, and its CPU seconds so far.
    #[must_use]
    pub fn measured(&self) -> (Option<f64>, f64) {
        let status = self.wan.status();
        let link = status.link(self.region(self.leader), self.region(self.far));
        (link.and_then(|link| link.measured_rtt_ms), status.cpu_seconds)
    }

    /// Whether the same node still leads.
    ///
    /// # Errors
    /// When another one does: what was measured near the leader was not.
    pub async fn check_leader(&self) -> Result<()> {
        if self.cluster.leader().await? == self.leader { Ok(()) } else { Err("the leader has changed".into()) }
    }

    /// Runs a client inside a node's region: on a thread in its namespace, where every socket belongs to it.
    ///
    /// # Errors
    /// Those of the client, or when the namespace cannot be entered.
    pub async fn inside<T, F, Fut>(&self, node: usize, client: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T>>,
    {
        let region = self.region(node).to_owned();
        let joined = tokio::task::spawn_blocking(move || {
            namespace::within(&region, move || -> Result<T> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(client())
            })
        });
        joined.await?.map_err(Error::from)?
    }

    /// Stops the cluster and takes the WAN down.
    ///
    /// # Errors
    /// When one of them does not stop.
    pub async fn down(mut self) -> Result<()> {
        self.cluster.stop().await?;
        drop(self.cluster);
        Ok(self.wan.down()?)
    }
}

fn round_trip(topology: &Topology, a: usize, b: usize) -> std::time::Duration {
    topology.link(a, b).delay + topology.link(b, a).delay
}
