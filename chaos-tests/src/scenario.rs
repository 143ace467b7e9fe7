//! A run that has a name: what stands where, what clients do to it, what is broken meanwhile, and what it is held to.

use crate::fault::{Fault, WordsError};
use crate::faults::sides::Place;
use crate::invariants::Bounds;
use crate::schedule::{Planned, Pool, Schedule};
use crate::workload::{Mix, Plan};
use std::time::Duration;

/// How soon writes are acknowledged again on loopback: an election, and a node that reads its log, on a busy machine.
const RESUME_NEAR: Duration = Duration::from_secs(10);

/// How long an abandoned upload stays.
const SESSION_TTL_MS: u64 = 15_000;

/// What the nodes stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// This machine's loopback, in three regions: nothing between them can be broken.
    Loopback,
    /// The emulated WAN of a topology in TOML. Wants root.
    Wan(&'static str),
}

/// What kind of disk the nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The machine's own.
    Plain,
    /// One that forgets at a kill what was not synced, and can be slow or fail.
    Forgetting,
    /// A small one of its own for each node, of so many MiB, which can be filled. Wants root.
    Small(usize),
}

/// What is broken.
#[derive(Clone, Debug, PartialEq)]
pub enum Faults {
    /// What the seed draws from a pool.
    Drawn(Pool),
    /// These.
    Listed(Schedule),
}

impl Faults {
    /// Faults in words, with the seconds from when to when.
    ///
    /// # Errors
    /// When words are no fault.
    pub fn listed(faults: &[(u64, u64, &str)]) -> crate::Result<Self> {
        let planned = faults.iter().map(|(begin, end, words)| {
            let fault: Fault = words.parse().map_err(|error: WordsError| error.to_string())?;
            Ok(Planned { fault, begin: Duration::from_secs(*begin), end: Duration::from_secs(*end) })
        });
        Ok(Self::Listed(Schedule(planned.collect::<crate::Result<_>>()?)))
    }

    /// What happens when in a run of some length.
    #[must_use]
    pub fn schedule(&self, seed: u64, length: Duration, places: &[Place]) -> Schedule {
        match self {
            Self::Drawn(pool) => Schedule::draw(seed, length, pool, places),
            Self::Listed(schedule) => schedule.clone(),
        }
    }
}

/// A run that has a name.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    pub ground: Ground,
    pub nodes_per_region: usize,
    pub disk: Disk,
    /// Whether clocks can jump. Wants libfaketime.
    pub clocks: bool,
    /// Settings of every node, by environment.
    pub settings: Vec<(&'static str, String)>,
    /// Settings of repository prefixes, as the admin API takes them, beside those of the plan.
    pub policies: Vec<(&'static str, serde_json::Value)>,
    /// What clients do. Its seed, clock, length and file are the run's.
    pub plan: Plan,
    pub faults: Faults,
    /// How long it is under load where nobody says another length.
    pub length: Duration,
    /// How long after the load copies may be under way and sessions may stay, before they count as left over.
    pub patience: Duration,
    /// What it is held to, beside what the plan allows and demands.
    pub bounds: Bounds,
}

impl Scenario {
    /// Three regions of one node each, on loopback, with small logs, so that snapshots are made and sent.
    #[must_use]
    pub fn near(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            ground: Ground::Loopback,
            nodes_per_region: 1,
            disk: Disk::Plain,
            clocks: false,
            settings: vec![
                ("PORTOLAN_CLUSTER_SNAPSHOT_LOG_BYTES", (512 << 10).to_string()),
                ("PORTOLAN_UPLOADS_SESSION_TTL_MS", SESSION_TTL_MS.to_string()),
                ("PORTOLAN_UPLOADS_SWEEP_INTERVAL_MS", "2000".to_owned()),
            ],
            policies: Vec::new(),
            plan: Plan {
                mix: Mix::writes(),
                stale_repos: 1,
                ack_repos: 2,
                pause: Duration::from_millis(40),
                ..Plan::default()
            },
            faults: Faults::Listed(Schedule::default()),
            length: Duration::from_secs(40),
            patience: Duration::from_secs(90),
            bounds: bounds(RESUME_NEAR),
        }
    }

    /// Whether it wants what only root has: namespaces and mounts.
    #[must_use]
    pub fn wants_root(&self) -> bool {
        self.ground != Ground::Loopback || matches!(self.disk, Disk::Small(_))
    }

    /// The topology's name, for the report.
    #[must_use]
    pub fn topology(&self) -> String {
        let of = match self.ground {
            Ground::Loopback => "loopback".to_owned(),
            Ground::Wan(text) => {
                crate::wan::Topology::parse(text).map_or_else(|_| "a WAN".to_owned(), |topology| topology.name)
            }
        };
        match self.nodes_per_region {
            1 => format!("{of}, one node a region"),
            nodes => format!("{of}, {nodes} nodes a region"),
        }
    }
}

/// What every scenario is held to if it says nothing else.
#[must_use]
pub fn bounds(writes_resume: Duration) -> Bounds {
    let micros = u64::try_from(writes_resume.as_micros()).unwrap_or(u64::MAX);
    Bounds {
        writes_resume: micros,
        resident_bytes: 512 << 20,
        // What was pushed, once, and half of it on its way or put aside.
        disk_factor: 1.5,
        disk_slack_bytes: 128 << 20,
        open_files: 8192,
        tag_history: TAG_HISTORY,
        unnamed_kept: UNNAMED_KEPT_MICROS,
        ..Bounds::default()
    }
}

/// How many moves of a tag the registry remembers.
const TAG_HISTORY: usize = 100;

/// How long an upload stays that no manifest names: a day, and less by what clocks may be off.
const UNNAMED_KEPT_MICROS: u64 = 23 * 3600 * 1_000_000;
