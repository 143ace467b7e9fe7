//! The emulated WAN and a cluster on it, as the scenarios see them: a region to push in, a far one, and what each node
//! tells of itself.

use super::plan::GeoPlan;
use crate::compare::metrics;
use portolan_chaos_tests::cluster::Node;
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::wan::Topology;
use portolan_chaos_tests::wan::probe::{self, Flow, Place};
use portolan_chaos_tests::{Error, Result, wait};
use std::future::Future;
use std::time::Duration;

/// Three regions, each 100 ms from both others, a gigabit between any two, each way.
const TOPOLOGY: &str = r#"
    name = "three regions at 100 ms, 1 Gbit/s"
    seed = 1
    defaults = { rtt = "100ms", rate = "1gbit" }
    regions = [{ name = "eu-west", nodes = 8 }, { name = "us-east", nodes = 8 }, { name = "ap-south", nodes = 8 }]
"#;

/// How long copies may take to settle before the next measurement.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// Looks at which nothing may be under way before it counts as settled: a change that was just committed may not have
/// woken a worker yet.
const LOOKS: usize = 3;

/// A cluster on a WAN. Dropping it takes everything down.
pub struct Site {
    geo: Geo,
    http: reqwest::Client,
    /// The leader's region: pushes go there.
    pub near: String,
    /// The region that is far from it.
    pub far: String,
    /// The third one.
    pub third: String,
    dead: Vec<usize>,
}

impl Site {
    /// Brings both up, with the timing for long links.
    ///
    /// # Errors
    /// When another process keeps the WAN, or the cluster does not become ready.
    pub async fn up(plan: &GeoPlan, settings: &[(&'static str, &str)]) -> Result<Self> {
        let mut environment = vec![("RUST_LOG", "warn".to_owned())];
        environment.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let started = Plan { nodes_per_region: plan.nodes_per_region, environment, ..Plan::default() };
        let geo = Geo::start(TOPOLOGY, started).await?;
        let [near, third, far] = <[String; 3]>::try_from(geo.regions().await?).map_err(|_| "not three regions")?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { geo, http, near, far, third, dead: Vec::new() })
    }

    /// A node.
    #[must_use]
    pub fn node(&self, at: usize) -> &Node {
        self.geo.node(at)
    }

    /// The nodes of a region that run, by their places; the first has the region's vote.
    #[must_use]
    pub fn nodes_of(&self, region: &str) -> Vec<usize> {
        self.geo.nodes_of(region).into_iter().filter(|at| !self.dead.contains(at)).collect()
    }

    /// All nodes that run.
    #[must_use]
    pub fn alive(&self) -> Vec<usize> {
        self.geo.all().filter(|at| !self.dead.contains(at)).collect()
    }

    /// Where clients reach the first node of a region.
    #[must_use]
    pub fn address(&self, region: &str) -> String {
        self.nodes_of(region).first().map_or_else(String::new, |at| self.node(*at).registry.clone())
    }

    /// The processes of the nodes that run.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.alive().into_iter().map(|at| self.node(at).pid).collect()
    }

    /// CPU seconds of the router so far.
    #[must_use]
    pub fn router_seconds(&self) -> f64 {
        self.geo.wan.status().cpu_seconds
    }

    /// The nominal rate of a link, in bits per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.geo.wan.status().link(&self.near, &self.far).map_or(0.0, |link| link.rate as f64)
    }

    /// Bytes that came into a region from the others so far, headers of packets included.
    ///
    /// # Errors
    /// When the router does not count any more.
    pub async fn bytes_into(&self, region: &str) -> Result<u64> {
        self.geo.bytes_into(region).await
    }

    /// What one plain TCP stream carries from the near region to the far one, once it is in full flow.
    ///
    /// # Errors
    /// When sockets fail.
    pub async fn plain_stream(&self) -> Result<Flow> {
        let place = |region: &str| -> Result<Place> {
            let at = *self.nodes_of(region).first().ok_or("a region without nodes")?;
            let address = self.node(at).registry.rsplit_once(':').ok_or("an address without a port")?.0.parse()?;
            Ok(Place { region: region.to_owned(), address })
        };
        let (from, to) = (place(&self.near)?, place(&self.far)?);
        let (warm_up, during) = (Duration::from_secs(3), Duration::from_secs(3));
        Ok(tokio::task::spawn_blocking(move || probe::tcp(&from, &to, warm_up, during)).await??)
    }

    /// Runs clients inside a region: on a thread in its namespace, where every socket belongs to it.
    ///
    /// # Errors
    /// Those of the clients, or when the namespace cannot be entered.
    pub async fn inside<T, F, Fut>(&self, region: &str, clients: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T>>,
    {
        geo::inside(region.to_owned(), clients).await
    }

    /// What a node tells of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self, at: usize) -> Result<String> {
        let url = format!("http://{}/metrics", self.node(at).ops);
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// The sum of a metric over nodes, and over those of its labels that contain `label`.
    ///
    /// # Errors
    /// When a node does not answer.
    pub async fn sum(&self, nodes: &[usize], name: &str, label: &str) -> Result<f64> {
        let all = nodes.iter().map(|at| self.metrics(*at));
        let texts = futures::future::try_join_all(all).await?;
        Ok(texts.iter().map(|text| metrics::sum(text, name, label)).sum())
    }

    /// Waits until no node that runs copies anything, or knows of a copy that is missing.
    ///
    /// # Errors
    /// When that takes too long, or a node is gone.
    pub async fn settle(&self) -> Result<()> {
        for _ in 0..LOOKS {
            wait::until("the copies between nodes", SETTLED_WITHIN, || async {
                match self.open_ends().await {
                    Ok(0.0) => Ok(()),
                    Ok(open) => Err(format!("{open} are open")),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn open_ends(&self) -> Result<f64> {
        let mut open = 0.0;
        for at in self.alive() {
            let text = self.metrics(at).await?;
            for name in ["queue", "in_flight", "unconfirmed", "missing_copies", "incomplete"] {
                open += metrics::sum(&text, &format!("portolan_replication_{name}"), "");
            }
        }
        Ok(open)
    }

    /// Sets what is wanted below a prefix of repositories, in the words of `portolan repo set`.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn set(&self, prefix: &str, words: &[&str]) -> Result<()> {
        let at = *self.nodes_of(&self.near).first().ok_or("a region without nodes")?;
        let token = self.node(at).data.join("admin.token");
        let token = token.to_str().ok_or("a path that is not UTF-8")?;
        let all = ["repo", "set", prefix, "--token-file", token].into_iter().chain(words.iter().copied());
        self.geo.command(at, &all.collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// Waits, as `portolan image wait` does at a node of the near region, until an image is durable wherever it is wanted.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn image_wait(&self, reference: &str, within: Duration) -> Result<()> {
        let at = *self.nodes_of(&self.near).first().ok_or("a region without nodes")?;
        let timeout = format!("{}s", within.as_secs());
        self.geo.command(at, &["image", "wait", reference, "--timeout", &timeout]).await?;
        Ok(())
    }

    /// How many of these nodes hold another one for well: they would ask it for a blob as readily as any.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn trusted_by(&self, nodes: &[usize], other: usize) -> Result<usize> {
        let id = self.node(other).id;
        let asked = nodes.iter().map(|at| async {
            let url = format!("http://{}/api/v1/cluster", self.node(*at).registry);
            let report: serde_json::Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
            let of = report["nodes"].as_array().and_then(|all| all.iter().find(|node| node["id"] == id));
            let health = of.and_then(|node| node["health"]["state"].as_str()).ok_or("a report without health")?;
            Ok::<_, Error>(usize::from(health == "ok"))
        });
        Ok(futures::future::try_join_all(asked).await?.into_iter().sum())
    }

    /// Wants what is pushed below a prefix in the near region only.
    ///
    /// # Errors
    /// When that cannot be set.
    pub async fn keep_away(&self, prefix: &str) -> Result<()> {
        self.set(prefix, &["--regions", &self.near]).await
    }

    /// Wants it in the far region as well, from now on.
    ///
    /// # Errors
    /// When that cannot be set.
    pub async fn let_in(&self, prefix: &str) -> Result<()> {
        self.set(prefix, &["--regions", &format!("{},{}", self.near, self.far)]).await
    }

    /// Stops a node in the middle of whatever it does, as a machine that hangs.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pause(&self, at: usize) -> Result<()> {
        self.geo.cluster.pause(at)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resume(&self, at: usize) -> Result<()> {
        self.geo.cluster.resume(at)
    }

    /// Kills a node, for good.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn kill(&mut self, at: usize) -> Result<()> {
        self.dead.push(at);
        self.geo.cluster.kill(at).await
    }

    /// Removes what a killed node had on its disk: the loads here are large.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn lose_disk(&self, at: usize) -> Result<()> {
        self.geo.cluster.lose_disk(at)
    }

    /// Stops the cluster and takes the WAN down.
    ///
    /// # Errors
    /// When one of them does not stop.
    pub async fn down(self) -> Result<()> {
        self.geo.down().await
    }
}

/// What the WAN is called.
///
/// # Errors
/// When the text above is no topology.
pub fn name() -> Result<String> {
    Ok(Topology::parse(TOPOLOGY)?.name)
}
