//! What is shown: samples in, one picture of the cluster out. Pure.

use super::rates::{Meter, Rates};
use crate::answer::{ClusterAnswer, LagAnswer, LinkAnswer, LoadAnswer, NodeAnswer};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// How many samples a region's curve remembers: more than any terminal is wide.
const REMEMBERED: usize = 256;

/// How long a node may not have answered before that is worth a line.
const SILENT_MS: u64 = 3_000;

/// The cluster at one moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Model {
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The address that was asked.
    pub(crate) server: String,
    /// Which node that is, by id.
    pub(crate) asked: Option<u64>,
    /// The cluster's id.
    pub(crate) cluster_id: Option<String>,
    /// The epoch.
    pub(crate) epoch: u64,
    /// The term.
    pub(crate) term: u64,
    /// Who leads, by id.
    pub(crate) leader: Option<u64>,
    /// The members, by id.
    pub(crate) nodes: Vec<Node>,
    /// Their regions, in the order of their first nodes.
    pub(crate) regions: Vec<Region>,
    /// How far each region is behind each other one.
    pub(crate) lags: Vec<LagAnswer>,
    /// The way between each two nodes.
    pub(crate) links: Vec<LinkAnswer>,
    /// The way between each two regions, and inside of those with several nodes.
    pub(crate) region_links: Vec<RegionLink>,
    /// What an operator should know.
    pub(crate) warnings: Vec<String>,
}

/// A member.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    /// Its id.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// What it does.
    pub(crate) role: String,
    /// Whether it votes.
    pub(crate) voter: bool,
    /// Up, down, out or draining.
    pub(crate) state: String,
    /// The last log index that it has applied.
    pub(crate) applied: Option<u64>,
    /// How many entries it is behind.
    pub(crate) lag: Option<u64>,
    /// How long ago it was heard, in milliseconds.
    pub(crate) last_seen_ms: Option<u64>,
    /// The version of its software.
    pub(crate) version: String,
    /// What it did since its start; `None` while it is silent.
    pub(crate) load: Option<LoadAnswer>,
    /// What it does per second; `None` while that is unknown.
    pub(crate) rates: Option<Rates>,
}

/// A region.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Region {
    /// Its name.
    pub(crate) name: String,
    /// What its nodes do together; `None` while nothing is known of any.
    pub(crate) rates: Option<Rates>,
    /// The same, sample by sample, the newest last.
    #[serde(skip)]
    pub(crate) past: Vec<Option<Rates>>,
}

/// The way from one region to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RegionLink {
    /// Whose nodes ping.
    pub(crate) from: String,
    /// Whose nodes answer.
    pub(crate) to: String,
    /// The median of their round trips in milliseconds; `None` when there is none.
    pub(crate) rtt_ms: Option<f64>,
    /// How many ways from node to node that is.
    pub(crate) links: usize,
    /// How many of them are silent.
    pub(crate) silent: usize,
}

/// What must be remembered from one sample to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    meters: BTreeMap<u64, Meter>,
    past: BTreeMap<String, VecDeque<Option<Rates>>>,
}

impl Memory {
    /// The picture after one more answer.
    pub(crate) fn take(&mut self, server: &str, at_ms: u64, answer: ClusterAnswer) -> Model {
        let leader = answer.leading().map(|node| node.id);
        self.meters.retain(|id, _| answer.nodes.iter().any(|node| node.id == *id));
        let nodes: Vec<Node> = answer.nodes.into_iter().map(|node| self.node(node)).collect();
        let regions = self.regions(&nodes);
        let region_links = region_links(&regions, &nodes, &answer.links);
        let mut warnings = answer.warnings;
        warnings.extend(silent(&nodes));
        Model {
            at_ms,
            server: server.to_owned(),
            asked: answer.asked,
            cluster_id: answer.cluster_id,
            epoch: answer.epoch,
            term: answer.term,
            leader,
            nodes,
            regions,
            lags: answer.lags,
            links: answer.links,
            region_links,
            warnings,
        }
    }

    fn node(&mut self, node: NodeAnswer) -> Node {
        let rates = self.meters.entry(node.id).or_default().take(node.load.as_ref());
        Node {
            id: node.id,
            name: node.name,
            region: node.region,
            role: node.role,
            voter: node.voter,
            state: node.state,
            applied: node.applied,
            lag: node.lag,
            last_seen_ms: node.last_seen_ms,
            version: node.version,
            load: node.load,
            rates,
        }
    }

    fn regions(&mut self, nodes: &[Node]) -> Vec<Region> {
        let mut names: Vec<&str> = Vec::new();
        for node in nodes {
            if !names.contains(&node.region.as_str()) {
                names.push(&node.region);
            }
        }
        self.past.retain(|name, _| names.contains(&name.as_str()));
        let mut regions = Vec::new();
        for name in names {
            let known = nodes.iter().filter(|node| node.region == name).filter_map(|node| node.rates);
            let rates = known.reduce(Rates::plus);
            let past = self.past.entry(name.to_owned()).or_default();
            past.push_back(rates);
            if past.len() > REMEMBERED {
                past.pop_front();
            }
            regions.push(Region { name: name.to_owned(), rates, past: past.iter().copied().collect() });
        }
        regions
    }
}

impl Model {
    /// A member, by id.
    pub(crate) fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Whether the rates of every node that is not silent are known.
    pub(crate) fn is_rated(&self) -> bool {
        self.nodes.iter().all(|node| node.load.is_none() || node.rates.is_some())
    }

    /// How far `to` is behind `from`.
    pub(crate) fn lag(&self, from: &str, to: &str) -> Option<&LagAnswer> {
        self.lags.iter().find(|lag| lag.from == from && lag.to == to)
    }

    /// The way from region to region.
    pub(crate) fn region_link(&self, from: &str, to: &str) -> Option<&RegionLink> {
        self.region_links.iter().find(|link| link.from == from && link.to == to)
    }
}

/// Nodes that nobody has declared down yet and that do not answer.
fn silent(nodes: &[Node]) -> impl Iterator<Item = String> {
    let silent = nodes.iter().filter(|node| node.state == "up").filter_map(|node| match node.last_seen_ms {
        Some(ms) if ms >= SILENT_MS => Some(format!("{} has not answered for {} s", node.name, ms / 1_000)),
        Some(_) => None,
        None => Some(format!("{} has never answered the asked node", node.name)),
    });
    silent.collect::<Vec<_>>().into_iter()
}

fn region_links(regions: &[Region], nodes: &[Node], links: &[LinkAnswer]) -> Vec<RegionLink> {
    let region_of: BTreeMap<u64, &str> = nodes.iter().map(|node| (node.id, node.region.as_str())).collect();
    let mut between: BTreeMap<(&str, &str), Vec<Option<f64>>> = BTreeMap::new();
    for link in links {
        if let (Some(from), Some(to)) = (region_of.get(&link.from), region_of.get(&link.to)) {
            between.entry((from, to)).or_default().push(link.rtt_ms);
        }
    }
    let mut found = Vec::new();
    for from in regions {
        for to in regions {
            let Some(trips) = between.get(&(from.name.as_str(), to.name.as_str())) else { continue };
            let mut measured: Vec<f64> = trips.iter().copied().flatten().collect();
            measured.sort_by(f64::total_cmp);
            found.push(RegionLink {
                from: from.name.clone(),
                to: to.name.clone(),
                rtt_ms: measured.get(measured.len() / 2).copied(),
                links: trips.len(),
                silent: trips.len() - measured.len(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests;
