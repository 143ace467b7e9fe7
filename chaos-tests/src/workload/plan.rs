//! What a workload is like.

use super::mix::Mix;
use super::recorder::Clock;
use crate::invariants::Bounds;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How stale tags may be in repositories that allow it, in seconds.
pub const STALE_SECONDS: u64 = 2;

/// How many regions acknowledge pushes to repositories that ask for more than one.
pub const ACK_REGIONS: usize = 2;

/// A workload. The same plan makes the same choices, as far as the answers allow.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all choices come from.
    pub seed: u64,
    /// What clients do how often.
    pub mix: Mix,
    /// How many clients each region has.
    pub clients_per_region: u32,
    /// How many repositories there are.
    pub repos: usize,
    /// How many tags each has.
    pub tags_per_repo: usize,
    /// Sizes of layers, as a factor of those in production. A layer is hashed on the thread of its region's clients, which
    /// wait meanwhile: far more than a hundredth makes them stutter.
    pub scale: f64,
    /// How many of the repositories allow bounded staleness: those of [`Plan::settings`].
    pub stale_repos: usize,
    /// How many want their pushes acknowledged by [`ACK_REGIONS`] regions.
    pub ack_repos: usize,
    /// How long a client rests between turns, on average; ten times as long after a failure. All records stay in memory,
    /// somewhat less than a kilobyte each: in a run of hours on loopback a client should rest for 100 ms and more.
    pub pause: Duration,
    /// How long a request may take.
    pub within: Duration,
    /// When the workload ends by itself.
    pub length: Option<Duration>,
    /// A file that gets every record as a line of JSON.
    pub file: Option<PathBuf>,
    /// The clock of the run.
    pub clock: Clock,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            mix: Mix::study(),
            clients_per_region: 4,
            repos: 8,
            tags_per_repo: 6,
            scale: 1.0 / 256.0,
            stale_repos: 0,
            ack_repos: 0,
            pause: Duration::from_millis(10),
            within: Duration::from_secs(15),
            length: None,
            file: None,
            clock: Clock::default(),
        }
    }
}

impl Plan {
    /// The repositories, the most popular first. Those of each sort are spread over all ranks.
    #[must_use]
    pub fn repo_names(&self) -> Vec<String> {
        let plain = self.repos.saturating_sub(self.stale_repos + self.ack_repos);
        let mut left = [("plain", plain), ("acked", self.ack_repos), ("stale", self.stale_repos)];
        let mut names = Vec::new();
        while names.len() < self.repos {
            for (prefix, left) in &mut left {
                if *left > 0 && names.len() < self.repos {
                    *left -= 1;
                    names.push(format!("{prefix}/r{}", names.len()));
                }
            }
        }
        names
    }

    /// What has to be set by the admin API before the workload begins: prefixes of repositories, and their settings.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, Value)> {
        let mut settings = Vec::new();
        if self.stale_repos > 0 {
            settings.push(("stale", json!({"tag_reads": {"bounded_ms": STALE_SECONDS * 1000}})));
        }
        if self.ack_repos > 0 {
            settings.push(("acked", json!({"ack": {"regions": ACK_REGIONS, "copies": 1}})));
        }
        settings
    }

    /// Tells the invariants what these settings allow and demand.
    pub fn bound(&self, bounds: &mut Bounds) {
        for name in self.repo_names() {
            if name.starts_with("stale/") {
                bounds.stale_repos.insert(name, STALE_SECONDS);
            } else if name.starts_with("acked/") {
                bounds.ack_regions.insert(name, ACK_REGIONS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use crate::invariants::Bounds;

    #[test]
    fn repositories_of_each_sort_are_as_many_as_planned_and_among_the_popular_ones() {
        let plan = Plan { repos: 7, stale_repos: 2, ack_repos: 1, ..Plan::default() };
        let names = plan.repo_names();
        assert_eq!(names[..3], ["plain/r0", "acked/r1", "stale/r2"]);
        let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
        assert_eq!((names.len(), count("plain/"), count("stale/"), count("acked/")), (7, 4, 2, 1));
        let mut bounds = Bounds::default();
        plan.bound(&mut bounds);
        assert_eq!((bounds.stale_repos.len(), bounds.ack_regions.len(), plan.settings().len()), (2, 1, 2));
        // More of a sort than there are repositories at all.
        assert_eq!(Plan { repos: 2, stale_repos: 5, ..Plan::default() }.repo_names().len(), 2);
    }
}
