//! What faults act on, and what of it is broken at the moment.

use super::effect::Effect;
use super::keeper::Keeper;
use super::links::{Links, Pair};
use super::sides::{Place, Sides, sides};
use crate::cluster::Cluster;
use crate::wan::{LinkChange, Wan, link::Link};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A running cluster that is to be broken. It is kept for a whole run, since it knows what is in force.
pub struct World<'a> {
    /// The cluster.
    pub cluster: &'a mut Cluster,
    /// The network below it; nothing between regions can be broken without.
    pub wan: Option<&'a Wan>,
    /// Where bits turn and bytes change is drawn from this.
    pub rng: StdRng,
    places: Vec<Place>,
    links: Keeper,
    stopped: BTreeMap<u64, Vec<usize>>,
    harmed: BTreeMap<u64, Vec<usize>>,
    next: u64,
}

impl<'a> World<'a> {
    /// Asks the cluster who votes, and takes the links as they are now for those without faults.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn new(cluster: &'a mut Cluster, wan: Option<&'a Wan>, seed: u64) -> crate::Result<Self> {
        let places = places(cluster).await?;
        let base = wan.map(base).unwrap_or_default();
        let links = Keeper::new(Links::new(base), wan.map(Wan::steering));
        let rng = StdRng::seed_from_u64(seed);
        Ok(Self { cluster, wan, rng, places, links, stopped: BTreeMap::new(), harmed: BTreeMap::new(), next: 0 })
    }

    /// The nodes, in the cluster's order.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// A node's place in the cluster.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn node(&self, name: &str) -> crate::Result<usize> {
        let at = self.places.iter().position(|place| place.name == name);
        Ok(at.ok_or_else(|| format!("no node is named {name:?}"))?)
    }

    /// The links between two groups of regions, from the one to the other.
    ///
    /// # Errors
    /// When there is no such link.
    pub(super) fn pairs(&self, wanted: impl Fn(&str, &str) -> bool, what: &str) -> crate::Result<Vec<Pair>> {
        let pairs: Vec<_> = self.links.now().pairs().filter(|(from, to)| wanted(from, to)).cloned().collect();
        if pairs.is_empty() { Err(format!("no link of {what}").into()) } else { Ok(pairs) }
    }

    /// Whether there is a link that leaves a region.
    #[must_use]
    pub(super) fn is_linked(&self, region: &str) -> bool {
        self.links.now().pairs().any(|(from, _)| from == region)
    }

    /// A number for what is going to be in force.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes down which nodes do not answer, and whose files are damaged, until it is lifted.
    pub(super) fn hit(&mut self, id: u64, effect: &Effect) {
        self.stopped.insert(id, effect.nodes.clone());
        self.harmed.insert(id, effect.harmed.clone());
    }

    /// Whether a node runs, and nothing in force stops it or damages its files.
    #[must_use]
    pub(super) fn is_sound(&self, node: usize) -> bool {
        let mut hit = self.stopped.values().chain(self.harmed.values()).flatten();
        self.cluster.is_running(node) && !hit.any(|at| *at == node)
    }

    /// Changes links until it is lifted.
    pub(super) fn change_links(&mut self, id: u64, pairs: Vec<Pair>, change: LinkChange) -> crate::Result<()> {
        self.links.change(|links| links.lay(id, pairs, change))
    }

    /// Cuts links for the first half of each period until it is lifted.
    pub(super) fn flap_links(&mut self, id: u64, pairs: Vec<Pair>, period: Duration) -> crate::Result<()> {
        let change = LinkChange { cut: Some(true), ..LinkChange::default() };
        self.links.change(|links| links.flap(id, pairs, change, period))
    }

    /// Ends what was in force under a number.
    pub(super) async fn lift(&mut self, id: u64) -> crate::Result<()> {
        self.stopped.remove(&id);
        self.harmed.remove(&id);
        self.links.lift(id).await
    }

    /// What everything that is in force makes of the cluster.
    #[must_use]
    pub fn sides(&self) -> Sides {
        self.sides_without(&[])
    }

    /// The same if further nodes stopped.
    #[must_use]
    pub fn sides_without(&self, nodes: &[usize]) -> Sides {
        let stopped: BTreeSet<usize> = self.stopped.values().flatten().chain(nodes).copied().collect();
        sides(&self.places, &stopped, &self.links.now().cut())
    }
}

/// The links as they are asked for now.
fn base(wan: &Wan) -> BTreeMap<Pair, Link> {
    let of_ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
    let links = wan.status().links.into_iter().map(|link| {
        let status = Link {
            delay: of_ms(link.delay_ms),
            jitter: of_ms(link.jitter_ms),
            loss: link.loss,
            reorder: link.reorder,
            rate: link.rate,
            queue: link.queue_bytes,
            cut: link.cut,
        };
        ((link.from, link.to), status)
    });
    links.collect()
}

async fn places(cluster: &Cluster) -> crate::Result<Vec<Place>> {
    // Whoever leads answers, and knows who votes.
    let leader = cluster.leader().await?;
    let status: serde_json::Value = cluster.registry(leader).get("/api/v1/cluster").await?.json().await?;
    let rows = status["nodes"].as_array().ok_or("a cluster without nodes")?;
    let votes = |id: u64| rows.iter().any(|row| row["id"] == id && row["voter"] == true);
    let place = |node: &crate::cluster::Node| Place {
        name: node.name.clone(),
        region: node.region.clone(),
        voter: votes(node.id),
    };
    Ok(cluster.nodes().iter().map(place).collect())
}
