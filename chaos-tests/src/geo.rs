//! A cluster on the emulated WAN: regions that can be cut off, links that count their bytes, clients inside a region.

use crate::big::{Big, Pulled};
use crate::client::Registry;
use crate::cluster::{Cluster, Node, Options, binary};
use crate::forget::Forgetting;
use crate::wan::{LinkChange, Topology, Wan, WanError, namespace};
use crate::{Error, Result, tool, wait};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// There is one WAN on a machine; the tests of this process take turns.
pub static ONE: Mutex<()> = Mutex::const_new(());

/// How long another process may keep the machine's WAN.
const WAN_WITHIN: Duration = Duration::from_secs(300);

/// How long a node may take to tell its metrics.
const METRICS_WITHIN: Duration = Duration::from_secs(5);

/// How long a command of `portolan` may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(90);

/// Three regions, 80 to 100 ms from each other.
pub const THREE: &str = r#"
    name = "three"
    seed = 1
    defaults = { rtt = "100ms", rate = "1gbit" }
    regions = [{ name = "eu-west", nodes = 4 }, { name = "us-east", nodes = 4 }, { name = "ap-south", nodes = 4 }]
    [[links]]
    between = ["eu-west", "us-east"]
    rtt = "80ms"
"#;

/// Two regions, 80 ms from each other.
pub const TWO: &str = r#"
    name = "two"
    seed = 1
    defaults = { rtt = "80ms", rate = "1gbit" }
    regions = [{ name = "eu-west", nodes = 4 }, { name = "ap-south", nodes = 4 }]
"#;

/// A running WAN with a cluster on it. Dropping it takes everything down.
pub struct Geo {
    // The cluster goes before the network that it stands on, and both before anybody else may begin.
    /// The cluster.
    pub cluster: Cluster,
    /// The network.
    pub wan: Wan,
    topology: Topology,
    _one: MutexGuard<'static, ()>,
}

/// How it is started.
#[derive(Default)]
pub struct Plan {
    /// How many nodes each region has.
    pub nodes_per_region: usize,
    /// Settings by environment, for every node.
    pub environment: Vec<(&'static str, String)>,
    /// A folder to keep the data in; a temporary one when there is none.
    pub folder: Option<PathBuf>,
    /// A disk that forgets what was not synced when a node is killed; not with a folder of one's own.
    pub forgetting: Option<Forgetting>,
}

impl Geo {
    /// Brings a topology up, starts a cluster on it with the timing for long links, and waits until all regions know
    /// each other.
    ///
    /// # Errors
    /// When another process keeps the WAN, or the cluster does not become ready.
    pub async fn start(topology: &str, plan: Plan) -> Result<Self> {
        let one = ONE.lock().await;
        let topology = Topology::parse(topology)?;
        let wan = wait::until("the machine's WAN", WAN_WITHIN, async || match Wan::up(&topology) {
            Err(busy @ WanError::Busy(_)) => Err(busy.to_string()),
            other => Ok(other),
        })
        .await??;
        let names: Vec<_> = topology.regions.iter().map(|region| region.name.as_str()).collect();
        let mut arguments: Vec<String> =
            ["--launcher", "ip netns exec wan-{region}", "--address", "10.77.{r}.{i}"].map(str::to_owned).into();
        arguments.extend(["--regions".to_owned(), names.join(",")]);
        let mut environment = vec![("PORTOLAN_CLUSTER_PROFILE", "wan".to_owned())];
        environment.extend(plan.environment);
        let options = Options {
            arguments,
            environment,
            nodes_per_region: plan.nodes_per_region,
            folder: plan.folder,
            forgetting: plan.forgetting,
            ..Options::default()
        };
        let cluster = Cluster::start(options).await?;
        for node in 0..cluster.nodes().len() {
            cluster.wait_ready(node).await?;
        }
        cluster.leader().await?;
        Ok(Self { cluster, wan, topology, _one: one })
    }

    /// A node.
    #[must_use]
    pub fn node(&self, at: usize) -> &Node {
        &self.cluster.nodes()[at]
    }

    /// All nodes' places.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.cluster.nodes().len()
    }

    /// The places of a region's nodes.
    #[must_use]
    pub fn nodes_of(&self, region: &str) -> Vec<usize> {
        self.all().filter(|at| self.node(*at).region == region).collect()
    }

    /// The regions, the leader's first, and then as the topology has them.
    ///
    /// # Errors
    /// When nobody leads.
    pub async fn regions(&self) -> Result<Vec<String>> {
        let leader = self.node(self.cluster.leader().await?).region.clone();
        let mut names: Vec<_> = self.topology.regions.iter().map(|region| region.name.clone()).collect();
        names.sort_by_key(|name| *name != leader);
        Ok(names)
    }

    /// Changes the links between two regions, both ways.
    ///
    /// # Errors
    /// When the words are no change, or there is no such region.
    pub fn set(&self, a: &str, b: &str, words: &str) -> Result<()> {
        let change = LinkChange::parse(words.split_whitespace())?;
        self.wan.set(a, b, change)?;
        Ok(self.wan.set(b, a, change)?)
    }

    /// Changes every link.
    ///
    /// # Errors
    /// When the words are no change.
    pub fn set_all(&self, words: &str) -> Result<()> {
        let change = LinkChange::parse(words.split_whitespace())?;
        for from in &self.topology.regions {
            for to in self.topology.regions.iter().filter(|to| to.name != from.name) {
                self.wan.set(&from.name, &to.name, change)?;
            }
        }
        Ok(())
    }

    /// How many bytes have come into a region from all others since the WAN is up, headers of packets included: as of
    /// this moment, once the router has counted again.
    ///
    /// # Errors
    /// When the router does not count any more.
    pub async fn bytes_into(&self, region: &str) -> Result<u64> {
        let now = self.wan.status().round;
        wait::until("the router to count", Duration::from_secs(10), async || {
            let status = self.wan.status();
            // The next count may have been under way.
            if status.round < now + 2 {
                return Err(format!("count {} of {}", status.round, now + 2));
            }
            Ok(status.links.iter().filter(|link| link.to == region).map(|link| link.carried_bytes).sum())
        })
        .await
    }

    /// What a node tells of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self, at: usize) -> Result<Metrics> {
        Metrics::of(&self.node(at).ops, METRICS_WITHIN).await
    }

    /// Waits until these nodes know of no copy that placement wants and nobody made.
    ///
    /// # Errors
    /// When it does not come to that in time.
    pub async fn wait_settled(&self, nodes: impl IntoIterator<Item = usize>, within: Duration) -> Result<()> {
        for at in nodes {
            let what = format!("{} to miss nothing", self.node(at).name);
            wait::until(&what, within, async || {
                let metrics = self.metrics(at).await.map_err(|error| error.to_string())?;
                let open = metrics.open_ends();
                if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
            })
            .await?;
        }
        Ok(())
    }

    /// Pulls until a response is complete.
    ///
    /// # Errors
    /// When none is in time, or one is complete with other bytes: that must never happen.
    pub async fn pull_until_whole(&self, at: usize, blob: &Big, repo: &str, within: Duration) -> Result<()> {
        wait::until(&format!("a complete pull at {}", self.node(at).name), within, async || {
            match blob.pull(self.node(at), repo, async |_| {}).await {
                Ok(Pulled::Whole) => Ok(Ok(())),
                Ok(other) => Err(format!("{other:?}")),
                Err(wrong) => Ok(Err(wrong)),
            }
        })
        .await?
    }

    /// Waits until a node answers HEAD for a blob with 200: it knows of it.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_known(&self, at: usize, blob: &Big, repo: &str, within: Duration) -> Result<()> {
        let http = reqwest::Client::new();
        let url = format!("http://{}/v2/{repo}/blobs/{}", self.node(at).registry, blob.digest);
        wait::until(&format!("{} to know the blob", self.node(at).name), within, async || {
            match http.head(&url).send().await.map(|answer| answer.status().as_u16()) {
                Ok(200) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Waits until a node has one file of a blob, and that is right.
    ///
    /// # Errors
    /// When it has none in time.
    pub async fn wait_copy(&self, at: usize, blob: &Big, within: Duration) -> Result<()> {
        let node = self.node(at);
        wait::until(&format!("a copy at {}", node.name), within, async || blob.check_file(node)).await
    }

    /// Replaces the settings of a repository prefix, as the admin API takes them.
    ///
    /// # Errors
    /// When a node refuses.
    pub async fn set_repos(&self, at: usize, prefix: &str, settings: &serde_json::Value) -> Result<()> {
        self.cluster.set_repos(at, prefix, settings).await
    }

    /// What the admin API tells.
    ///
    /// # Errors
    /// When a node answers anything but 200.
    pub async fn ask(&self, at: usize, path: &str) -> Result<serde_json::Value> {
        let answer = self.cluster.registry(at).get(&format!("/api/v1/{path}")).await?;
        let status = answer.status();
        if status == 200 {
            Ok(answer.json().await?)
        } else {
            Err(format!("{path}: {status}: {}", answer.text().await?).into())
        }
    }

    /// Runs a command of `portolan` on this host, which asks a node and has its admin token.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub async fn command(&self, at: usize, words: &[&str]) -> Result<String> {
        let node = self.node(at);
        let token = format!("PORTOLAN_ADMIN_TOKEN_FILE={}", node.data.join("admin.token").display());
        let program = binary();
        let program = program.to_string_lossy();
        let mut all = vec![token.as_str(), program.as_ref()];
        all.extend(words);
        all.extend(["--server", node.registry.as_str()]);
        tool::run(COMMAND_WITHIN, "env", &all).await
    }

    /// Stops the cluster and takes the WAN down.
    ///
    /// # Errors
    /// When one of them does not stop.
    pub async fn down(mut self) -> Result<()> {
        self.wan.heal();
        self.cluster.stop().await?;
        drop(self.cluster);
        Ok(self.wan.down()?)
    }
}

/// What says that something is still to be copied.
const OPEN_ENDS: [&str; 5] = [
    "portolan_replication_missing_copies",
    "portolan_replication_incomplete",
    "portolan_replication_queue",
    "portolan_replication_in_flight",
    "portolan_replication_unconfirmed",
];

/// What a node told of itself at one moment.
pub struct Metrics(String);

impl Metrics {
    /// Asks the node whose ops port is at `host:port`.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn of(ops: &str, within: Duration) -> Result<Self> {
        Ok(Self(Registry::new(ops, within).get("/metrics").await?.error_for_status()?.text().await?))
    }

    /// What the node has still to copy, as far as it knows.
    #[must_use]
    pub fn open_ends(&self) -> Vec<(&'static str, f64)> {
        OPEN_ENDS.map(|name| (name, self.sum(name))).into_iter().filter(|(_, value)| *value != 0.0).collect()
    }

    /// A metric's value, summed over its labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.values(name).map(|(_, value)| value).sum()
    }

    /// A metric's values with one label's value.
    pub fn by<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.values(name).filter_map(move |(labels, value)| {
            let pairs = labels.strip_prefix('{')?.strip_suffix('}')?.split(',');
            let (_, text) = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == label)?;
            Some((text.trim_matches('"'), value))
        })
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels, value.parse().ok()?))
        })
    }
}

/// Runs a client inside a region: on a thread in its namespace, where every socket belongs to it.
///
/// # Errors
/// Those of the client, or when the namespace cannot be entered.
pub async fn inside<T, F, Fut>(region: String, client: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<T>>,
{
    let joined = tokio::task::spawn_blocking(move || {
        namespace::within(&region, move || -> Result<T> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(client())
        })
    });
    joined.await?.map_err(Error::from)?
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_mistaken_for_a_longer_one() {
        let text = "# HELP a_b x\na_b{peer=\"1\",class=\"pull\"} 2\na_b{peer=\"2\",class=\"pull\"} 3.5\na_b_c 9\nd 4\n";
        let metrics = Metrics(text.to_owned());
        assert!((metrics.sum("a_b") - 5.5).abs() < 1e-9);
        assert!((metrics.sum("d") - 4.0).abs() < 1e-9);
        assert!(metrics.sum("none").abs() < 1e-9);
        let by: Vec<_> = metrics.by("a_b", "peer").map(|(peer, _)| peer).collect();
        assert_eq!(by, ["1", "2"]);
    }
}
