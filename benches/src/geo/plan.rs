//! How much is run.

/// The scenarios, in the order of their running, and what each is.
pub const SCENARIOS: [(&str, &str); 5] = [
    ("wan-crowd", "many clients pull one cold image in a remote region at once, then the same image warm"),
    ("wan-acks", "a push that waits for one region or for two, and from its 201 until it is durable in all"),
    ("wan-fill", "background copies of one large blob and of many small ones to a remote region: how full the link is"),
    ("wan-kill", "a node hangs, then dies, while clients pull through the others"),
    ("wan-repair", "a node is lost: until all its copies are made again, and pulls meanwhile"),
];

/// How much is run.
#[derive(Clone, Debug)]
pub struct GeoPlan {
    /// Scenarios by name; all when none is named.
    pub only: Vec<String>,
    /// Repetitions of every measurement.
    pub repetitions: usize,
    /// Nodes of each region.
    pub nodes_per_region: usize,
    /// Clients of the crowd.
    pub clients: usize,
    /// The image that the crowd pulls, in MiB.
    pub crowd_mib: u64,
    /// The large blob that is copied, in MiB.
    pub large_mib: u64,
    /// How many small blobs are copied.
    pub small_blobs: usize,
    /// The image whose push is acknowledged, in MiB.
    pub push_mib: u64,
    /// What the lost node held, in MiB.
    pub repair_mib: u64,
    /// Blobs that are pulled while a node dies; no node pulls one twice.
    pub kill_blobs: usize,
    /// How long pulls go on before and after the death, in seconds.
    pub kill_seconds: u64,
    /// The bound of it all, in seconds.
    pub seconds: u64,
}

impl GeoPlan {
    /// Everything.
    #[must_use]
    pub fn full() -> Self {
        Self {
            only: Vec::new(),
            repetitions: 3,
            nodes_per_region: 3,
            clients: 200,
            crowd_mib: 500,
            large_mib: 1_024,
            small_blobs: 10_000,
            push_mib: 100,
            repair_mib: 4_096,
            kill_blobs: 1_000,
            kill_seconds: 25,
            seconds: 75 * 60,
        }
    }

    /// Everything small and once: whether it works, not how fast it is.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            repetitions: 1,
            clients: 20,
            crowd_mib: 40,
            large_mib: 128,
            small_blobs: 1_000,
            push_mib: 20,
            repair_mib: 128,
            kill_blobs: 200,
            kill_seconds: 8,
            seconds: 10 * 60,
            ..Self::full()
        }
    }

    /// Whether a scenario is to be run; `crowd` stands for `wan-crowd`.
    #[must_use]
    pub fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| names(only, scenario))
    }

    /// The first of the named scenarios that there is not.
    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        let known = |only: &&str| SCENARIOS.iter().any(|(scenario, _)| names(only, scenario));
        self.only.iter().map(String::as_str).find(|only| !known(only))
    }
}

fn names(only: &str, scenario: &str) -> bool {
    only == scenario || scenario.strip_prefix("wan-") == Some(only)
}

#[cfg(test)]
mod tests {
    use super::GeoPlan;

    #[test]
    fn scenarios_are_named_with_or_without_the_wan() {
        let only =
            |names: &[&str]| GeoPlan { only: names.iter().map(ToString::to_string).collect(), ..GeoPlan::quick() };
        assert!(only(&[]).wants("wan-kill"));
        assert!(only(&["kill"]).wants("wan-kill") && only(&["wan-kill"]).wants("wan-kill"));
        assert!(!only(&["kill"]).wants("wan-fill"));
        assert_eq!(only(&["kill", "crowds"]).unknown(), Some("crowds"));
        assert_eq!(only(&["crowd", "wan-fill"]).unknown(), None);
    }
}
