//! How much is run, and for how long at most.

use std::future::Future;
use std::time::{Duration, Instant};

/// The scenarios on loopback, in the order of their running, and what each is.
pub const LOOPBACK: [(&str, &str); 6] = [
    ("manifests", "manifest GET and HEAD, by tag and by digest"),
    ("blobs", "blob GET of 4 KiB, 10 MiB and the largest, with 1, 8 and 32 readers"),
    ("images", "push of images of five layers"),
    ("replay", "a registry's day: 95 % reads, few images get most of them"),
    ("tags", "tag PUT, and tags/list of all of them"),
    ("pushes", "push of 1 MiB, 32 MiB and the largest: monolithic, chunked, streamed"),
];

/// The scenarios over the emulated WAN.
pub const WAN: [(&str, &str); 4] = [
    ("wan-commit", "commit latency at the leader's region and at a far one, with 1 and with 256 writers"),
    ("wan-push", "push of a small image by a client in a far region"),
    ("wan-durable", "from a push's 201 until every region holds the image"),
    ("wan-pull", "pull of the largest blob in a far region that has nothing of it"),
];

/// How much is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Scenarios by name; all when none is named.
    pub only: Vec<String>,
    /// Repetitions of every measurement.
    pub repetitions: usize,
    /// How long one closed loop warms up, in milliseconds.
    pub warm_up_ms: u64,
    /// How long one closed loop is measured, in milliseconds.
    pub window_ms: u64,
    /// How long commits over the WAN are measured at a time, in milliseconds.
    pub commit_window_ms: u64,
    /// The largest blob, in MiB.
    pub largest_mib: u64,
    /// How many tags are listed.
    pub tags: usize,
    /// How many images are pushed at a time.
    pub images: usize,
    /// How many images the replay has.
    pub replay_images: usize,
    /// How many requests each client of the replay sends.
    pub replay_requests: usize,
    /// How many small images are pushed over the WAN in one repetition.
    pub wan_images: usize,
    /// The bound of the part on loopback, in seconds.
    pub loopback_seconds: u64,
    /// The bound of the part over the WAN, in seconds.
    pub wan_seconds: u64,
}

impl Plan {
    /// Everything.
    #[must_use]
    pub fn full() -> Self {
        Self {
            only: Vec::new(),
            repetitions: 3,
            warm_up_ms: 300,
            window_ms: 1_000,
            commit_window_ms: 8_000,
            largest_mib: 1_024,
            tags: 10_000,
            images: 8,
            replay_images: 20,
            replay_requests: 100,
            wan_images: 5,
            loopback_seconds: 15 * 60,
            wan_seconds: 8 * 60,
        }
    }

    /// Every scenario once and small: whether it works, not how fast it is.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            repetitions: 1,
            warm_up_ms: 100,
            window_ms: 250,
            commit_window_ms: 2_000,
            largest_mib: 64,
            tags: 1_000,
            images: 4,
            replay_images: 6,
            replay_requests: 25,
            wan_images: 2,
            loopback_seconds: 90,
            wan_seconds: 75,
            ..Self::full()
        }
    }

    /// Whether a scenario is to be run. `wan` stands for all those over the WAN.
    #[must_use]
    pub fn wants(&self, scenario: &str) -> bool {
        let names = |only: &String| only == scenario || (only == "wan" && scenario.starts_with("wan-"));
        self.only.is_empty() || self.only.iter().any(names)
    }

    /// The first of the named scenarios that there is not.
    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        let known = |name: &str| name == "wan" || LOOPBACK.iter().chain(&WAN).any(|(known, _)| *known == name);
        self.only.iter().map(String::as_str).find(|name| !known(name))
    }

    /// The name of the largest blob's size.
    #[must_use]
    pub fn largest(&self) -> String {
        size_name(self.largest_mib)
    }
}

/// `32 MiB`, `1 GiB`.
#[must_use]
pub fn size_name(mib: u64) -> String {
    if mib >= 1_024 && mib.is_multiple_of(1_024) { format!("{} GiB", mib / 1_024) } else { format!("{mib} MiB") }
}

/// The end of a part. What does not fit before it is left out and named.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    began: Instant,
    limit: Duration,
}

/// Kept for a measurement that takes longer than was thought, and for stopping the servers.
const RESERVE: Duration = Duration::from_secs(8);

impl Bound {
    /// From now on so many seconds.
    #[must_use]
    pub fn seconds(seconds: u64) -> Self {
        Self { began: Instant::now(), limit: Duration::from_secs(seconds) }
    }

    /// Whether a measurement of this length still ends in time.
    #[must_use]
    pub fn has(&self, wanted: Duration) -> bool {
        wanted < self.left()
    }

    /// What a measurement that begins now may take.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(RESERVE).saturating_sub(self.began.elapsed())
    }

    /// Seconds since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Does something until the bound is over; none when it was not done by then.
    pub async fn keep<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at((self.began + self.limit).into(), doing).await.ok()
    }

    /// The bound itself, in seconds.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.limit.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Plan, size_name};
    use std::time::Duration;

    fn only(names: &[&str]) -> Plan {
        Plan { only: names.iter().map(ToString::to_string).collect(), ..Plan::quick() }
    }

    #[test]
    fn scenarios_are_named_one_by_one_or_all_of_the_wan_at_once() {
        for (names, scenario, want) in [
            (&[][..], "blobs", true),
            (&["tags"], "blobs", false),
            (&["tags", "blobs"], "blobs", true),
            (&["wan"], "wan-pull", true),
            (&["wan"], "blobs", false),
            (&["wan-push"], "wan-pull", false),
        ] {
            assert_eq!(only(names).wants(scenario), want, "{names:?}: {scenario}");
        }
        assert_eq!(only(&["tags", "blob"]).unknown(), Some("blob"));
        assert_eq!(only(&["wan", "wan-push", "pushes"]).unknown(), None);
    }

    #[test]
    fn a_bound_keeps_a_reserve() {
        let bound = Bound::seconds(100);
        assert!(bound.has(Duration::from_secs(85)));
        assert!(!bound.has(Duration::from_secs(95)), "the servers have to stop in time as well");
        assert!(!Bound::seconds(0).has(Duration::ZERO));
    }

    #[tokio::test]
    async fn what_takes_longer_than_the_bound_is_given_up() {
        assert_eq!(Bound::seconds(0).keep(std::future::pending::<()>()).await, None);
        assert_eq!(Bound::seconds(60).keep(async { 1 }).await, Some(1));
    }

    #[test]
    fn sizes_have_round_names() {
        assert_eq!([size_name(64), size_name(1_024), size_name(1_536)], ["64 MiB", "1 GiB", "1536 MiB"]);
    }
}
