//! What a run leaves behind, and what judging it means.

use crate::history::{History, Micros, Record};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something was broken, or mended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The fault in words, as it can be given again: `cut eu-west us-east`.
    pub fault: String,
    /// Its kind, the first of these words.
    pub kind: String,
    pub begin: Micros,
    /// When it was mended; `None` when the run ended first.
    pub end: Option<Micros>,
    /// When it was certainly in force, where that is known: what it takes to break it may take a while.
    #[serde(default)]
    pub made: Option<Micros>,
    /// When its mending began, where that is known: what it broke may be whole from then on.
    #[serde(default)]
    pub mending: Option<Micros>,
    /// The nodes that it stopped from answering.
    pub nodes: Vec<usize>,
    /// Whether a majority of the voters could not reach each other meanwhile.
    pub stops_writes: bool,
    /// The nodes that were on the smaller side of a cut: those that could not reach a majority of the voters.
    pub minority: Vec<usize>,
    /// The nodes whose disk was lost as a whole. Such an event ends when the cluster says that every copy is restored,
    /// not when the nodes are back.
    #[serde(default)]
    pub wiped: Vec<usize>,
    /// The nodes whose files were damaged, so that they may have to ask others for what they held. It ends when they were
    /// repaired.
    #[serde(default)]
    pub harmed: Vec<usize>,
}

impl Event {
    /// Whether it was in force at some moment between two.
    #[must_use]
    pub fn overlaps(&self, from: Micros, to: Micros) -> bool {
        self.begin <= to && self.end.is_none_or(|end| from <= end)
    }
}

/// A node of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub name: String,
    pub region: String,
}

/// What a pull of one blob or manifest gave at one node when all was quiet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalPull {
    pub node: usize,
    pub repo: String,
    pub digest: String,
    /// `None`: no answer.
    pub status: Option<u16>,
    /// Whether the bytes were whole and right.
    pub right: bool,
}

/// A node's process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Micros,
    pub node: usize,
    pub resident_bytes: u64,
    pub disk_bytes: u64,
    pub open_files: u64,
}

/// What was found after everything had healed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// Every node's applied index and the hash of its state there. The collector asks until all nodes tell the same index,
    /// or a deadline has passed: different indexes mean that one never caught up.
    pub hashes: BTreeMap<usize, (u64, String)>,
    /// Everything acknowledged and not deleted, pulled at every node: the manifests of every `PutTag` and `PutManifest`,
    /// and the blobs that they name. Empty: not judged.
    pub pulls: Vec<FinalPull>,
    /// Regions, and what they have no copy of though placement wants one there: the blobs of what was acknowledged. `None`: nobody
    /// looked.
    #[serde(default)]
    pub missing: Option<Vec<(String, String)>>,
    /// What lies about that nobody needs: files, sessions, pins, by node and in words.
    pub leftovers: Vec<(usize, String)>,
    /// The events of each tag, oldest first, as the registry tells them: the digest, or `None` for a removal.
    #[serde(with = "histories")]
    pub tag_histories: BTreeMap<(String, String), Vec<Option<String>>>,
    /// Log lines that no run may have: panics, and violations of the node's own checks.
    pub complaints: Vec<(usize, String)>,
    /// The nodes that were taken out of the cluster for good, so that nobody asks them any more.
    #[serde(default)]
    pub gone: BTreeSet<usize>,
}

impl Evidence {
    /// A node's name, for people.
    #[must_use]
    pub fn name(&self, node: usize) -> String {
        self.nodes.get(node).map_or_else(|| format!("node {node}"), |node| node.name.clone())
    }

    /// When the last call ended.
    #[must_use]
    pub fn last_end(&self) -> Micros {
        self.history.0.iter().map(|record| record.end).max().unwrap_or_default()
    }
}

/// Everything that a run left behind.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub nodes: Vec<NodeInfo>,
    pub history: History,
    pub events: Vec<Event>,
    pub samples: Vec<Sample>,
    pub after: After,
    pub bounds: Bounds,
    /// What each pushed manifest names: its layers and configuration, or the manifests of an index. From the seeded
    /// truth, by the manifest's digest; of one that names nothing, nothing.
    pub contents: BTreeMap<String, Vec<String>>,
    /// What the manifests that have a subject refer to, by their own digest. From the seeded truth too.
    pub subjects: BTreeMap<String, String>,
}

/// What the scenario allows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// For how long no write may be acknowledged while a majority of the voters is in touch, in microseconds; 0 is not
    /// judged.
    pub writes_resume: u64,
    /// How much memory a node may have, in bytes; 0 is not judged.
    pub resident_bytes: u64,
    /// How much disk a node may have, as a factor of the bytes of all blobs that were pushed; 0 is not judged.
    pub disk_factor: f64,
    /// What it may have beside that, in bytes: the log, the state, and what is on its way.
    #[serde(default)]
    pub disk_slack_bytes: u64,
    /// How many files a node may have open; 0 is not judged.
    #[serde(default)]
    pub open_files: u64,
    /// How many moves of a tag the registry remembers; 0: all.
    #[serde(default)]
    pub tag_history: usize,
    /// How long a blob stays that no manifest names, in microseconds from its upload's end; 0: such blobs are not judged.
    #[serde(default)]
    pub unnamed_kept: u64,
    /// Repositories whose tags and lists may be read stale, up to this bound in seconds; the empty name is for the catalog.
    pub stale_repos: BTreeMap<String, u64>,
    /// Repositories whose pushes are acknowledged by so many regions.
    pub ack_regions: BTreeMap<String, usize>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: String,
    /// What was seen and what should have been, in one sentence.
    pub what: String,
    /// The calls that show it: as few as show it.
    pub records: Vec<Record>,
    /// When it could be seen first.
    pub at: Micros,
}

impl Violation {
    /// A violation that some calls show, in the order of their starts. It could be seen when the last of them ended.
    #[must_use]
    pub fn shown_by<'a>(invariant: &str, what: String, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut records: Vec<Record> = records.into_iter().cloned().collect();
        records.sort_by_key(|record| (record.start, record.end));
        let at = records.iter().map(|record| record.end).max().unwrap_or_default();
        Self { invariant: invariant.to_owned(), what, records, at }
    }
}

/// One invariant.
pub trait Invariant: Sync {
    /// Its name: that of its file.
    fn name(&self) -> &'static str;
    /// The promise of the design that it holds the product to.
    fn promise(&self) -> &'static str;
    /// What breaks it.
    fn check(&self, evidence: &Evidence) -> Vec<Violation>;
    /// How many things of the evidence it looks at: calls, unless it says otherwise. With none it has shown nothing.
    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.history.0.len()
    }
}

/// Histories by tag as a list: JSON has no keys of two parts.
mod histories {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    type Histories = BTreeMap<(String, String), Vec<Option<String>>>;

    pub(super) fn serialize<S: Serializer>(histories: &Histories, serializer: S) -> Result<S::Ok, S::Error> {
        histories.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Histories, D::Error> {
        Ok(Vec::<((String, String), Vec<Option<String>>)>::deserialize(deserializer)?.into_iter().collect())
    }
}
