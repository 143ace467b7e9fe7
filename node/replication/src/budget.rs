//! How fast bytes come from other regions: token buckets per pair of regions and class of traffic.
//!
//! The limits are rows of the replicated state and may change at any moment. Beside them, lower classes yield: while a
//! higher one moves bytes over the same pair, each lower one gets `replication.yield_bytes_per_second` at most. Debts
//! are allowed: whoever takes waits for its own bytes, and nobody waits for a bucket to be full.

use crate::config::Config;
use portolan_consensus::Consensus;
use portolan_meta::id::NodeId;
use portolan_meta::placement::Topology;
use portolan_meta::query;
use portolan_meta::row::{BandwidthRow, Traffic};
use portolan_meta::view::ViewError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::error;

/// How often the limits and the regions of nodes are read anew.
const REFRESH: Duration = Duration::from_secs(1);
/// For how long after its last byte a class counts as moving.
const MOVING: Duration = Duration::from_millis(250);
/// How much a bucket that was not used may give at once: this long of its rate.
const BURST: Duration = Duration::from_millis(100);

/// The buckets of one node.
pub(crate) struct Budget {
    region: String,
    consensus: Arc<Consensus>,
    inner: Mutex<Inner>,
}

struct Inner {
    known: Known,
    read_at: Option<Instant>,
    buckets: Buckets,
}

/// What of the state matters here.
#[derive(Default)]
struct Known {
    limits: BandwidthRow,
    regions: HashMap<NodeId, String>,
    /// How many nodes of this region share a limit.
    sharers: u64,
}

impl Budget {
    pub(crate) fn new(config: &Config, region: String, consensus: Arc<Consensus>) -> Arc<Self> {
        let buckets = Buckets { yields: config.yield_bytes_per_second.max(1), pairs: HashMap::new() };
        let inner = Inner { known: Known::default(), read_at: None, buckets };
        Arc::new(Self { region, consensus, inner: Mutex::new(inner) })
    }

    /// Waits until so many bytes may come from a node. To be called before they are taken from the connection, whose
    /// window then holds the sender back.
    pub(crate) async fn take(&self, from: NodeId, class: Traffic, bytes: u64) {
        let mut debt = self.ask(from, class, Ask::Take(bytes));
        while !debt.wait.is_zero() {
            // A limit that is raised or lifted meanwhile frees those who wait.
            sleep(debt.wait.min(REFRESH)).await;
            debt = self.ask(from, class, Ask::Wait(debt.until));
        }
    }

    fn ask(&self, from: NodeId, class: Traffic, ask: Ask) -> Debt {
        let now = Instant::now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.read_at.is_none_or(|at| at + REFRESH <= now) {
            match self.read() {
                Ok(known) => inner.known = known,
                Err(error) => error!(%error, "the limits of bandwidth cannot be read; the last known ones hold"),
            }
            inner.read_at = Some(now);
        }
        let Inner { known, buckets, .. } = &mut *inner;
        let Some(region) = known.regions.get(&from) else { return Debt::default() };
        let limit = known.limits.limit(region, &self.region, class).map(|limit| (limit / known.sharers.max(1)).max(1));
        // Within a region there is no link to spare.
        let yields = *region != self.region;
        buckets.ask(region, class, ask, Rates { limit, yields }, now)
    }

    fn read(&self) -> Result<Known, ViewError> {
        self.consensus.local().read(|view| {
            let topology = Topology::read(view)?;
            let regions = topology.nodes().map(|node| (node.id, node.region.clone())).collect();
            let sharers = topology.full_nodes_up(&self.region) as u64;
            Ok(Known { limits: query::bandwidth(view)?, regions, sharers })
        })
    }
}

/// What bounds one class at one moment.
#[derive(Clone, Copy, Debug)]
struct Rates {
    /// Bytes per second.
    limit: Option<u64>,
    /// Whether it makes room for higher classes.
    yields: bool,
}

/// One bucket per class and region that sends. Pure.
struct Buckets {
    yields: u64,
    pairs: HashMap<String, HashMap<Traffic, Bucket>>,
}

/// What is asked of a bucket.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// To take so many bytes.
    Take(u64),
    /// How much longer to wait for what was taken, given [`Debt::until`].
    Wait(f64),
}

/// How long to wait for bytes that were taken.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    wait: Duration,
    /// How many bytes the bucket must have let through, since it exists, before these may come.
    until: f64,
}

#[derive(Debug)]
struct Bucket {
    /// Bytes that may be taken at once; negative while somebody waits.
    tokens: f64,
    /// Bytes that were taken so far.
    taken: f64,
    at: Instant,
    moved_at: Instant,
}

impl Buckets {
    fn ask(&mut self, from: &str, class: Traffic, ask: Ask, rates: Rates, now: Instant) -> Debt {
        if !self.pairs.contains_key(from) {
            self.pairs.insert(from.to_owned(), HashMap::new());
        }
        let Some(pair) = self.pairs.get_mut(from) else { return Debt::default() };
        let higher = pair.iter().any(|(other, bucket)| *other < class && bucket.moved_at + MOVING > now);
        let rate = match (rates.limit, rates.yields && higher) {
            (limit, true) => Some(limit.map_or(self.yields, |limit| limit.min(self.yields))),
            (limit, false) => limit,
        };
        let bucket = pair.entry(class).or_insert(Bucket { tokens: 0.0, taken: 0.0, at: now, moved_at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.at = now;
        let bytes = match ask {
            Ask::Take(bytes) => {
                bucket.moved_at = now;
                bytes as f64
            }
            Ask::Wait(_) => 0.0,
        };
        bucket.taken += bytes;
        let until = if let Ask::Wait(until) = ask { until } else { bucket.taken };
        let Some(rate) = rate else {
            bucket.tokens = 0.0;
            return Debt { wait: Duration::ZERO, until };
        };
        let rate = rate as f64;
        bucket.tokens = (bucket.tokens + passed * rate).min(rate * BURST.as_secs_f64()) - bytes;
        // Who came later waits behind.
        let ahead = until - (bucket.taken + bucket.tokens);
        Debt { wait: Duration::try_from_secs_f64((ahead / rate).max(0.0)).unwrap_or(BURST), until }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, Buckets, Duration, HashMap, Instant, Rates, Traffic};

    const MB: u64 = 1_000_000;

    fn buckets() -> Buckets {
        Buckets { yields: MB, pairs: HashMap::new() }
    }

    /// How many bytes come in ten seconds, taken 100 kB at a time, each as soon as the last may go.
    fn moved(buckets: &mut Buckets, from: &str, class: Traffic, rates: Rates, beside: Option<Traffic>) -> u64 {
        let (start, mut now, mut bytes) = (Instant::now(), Instant::now(), 0);
        while now < start + Duration::from_secs(10) {
            if let Some(other) = beside {
                buckets.ask(from, other, Ask::Take(1), Rates { limit: None, yields: true }, now);
            }
            let debt = buckets.ask(from, class, Ask::Take(100_000), rates, now);
            now += debt.wait.max(Duration::from_millis(1));
            bytes += 100_000;
        }
        bytes
    }

    #[test]
    fn a_limit_holds_for_its_own_pair_and_class() {
        let limited = Rates { limit: Some(5 * MB), yields: true };
        let free = Rates { limit: None, yields: true };
        let mut buckets = buckets();
        let got = moved(&mut buckets, "eu", Traffic::Repair, limited, None);
        assert!((49 * MB..=52 * MB).contains(&got), "{got}");
        assert_eq!(moved(&mut buckets, "us", Traffic::Repair, free, None), 1_000 * MB, "one step a millisecond");
    }

    #[test]
    fn a_class_yields_to_higher_ones_only_and_only_while_they_move() {
        let free = Rates { limit: None, yields: true };
        let cases = [
            (Traffic::Repair, Traffic::Pull, true),
            (Traffic::Repair, Traffic::Ack, true),
            (Traffic::Ack, Traffic::Pull, true),
            (Traffic::Ack, Traffic::Repair, false),
            (Traffic::Pull, Traffic::Ack, false),
        ];
        for (class, beside, yields) in cases {
            let got = moved(&mut buckets(), "eu", class, free, Some(beside));
            assert_eq!(got < 12 * MB, yields, "{class:?} beside {beside:?}: {got}");
        }
        let stays = Rates { limit: None, yields: false };
        assert!(moved(&mut buckets(), "eu", Traffic::Repair, stays, Some(Traffic::Pull)) > 100 * MB);
        let (mut buckets, now) = (buckets(), Instant::now());
        buckets.ask("eu", Traffic::Pull, Ask::Take(1), free, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(buckets.ask("eu", Traffic::Repair, Ask::Take(100 * MB), free, later).wait, Duration::ZERO);
    }

    #[test]
    fn whoever_waits_is_freed_by_a_limit_that_is_raised_or_lifted() {
        let (mut buckets, now) = (buckets(), Instant::now());
        let limited = |limit| Rates { limit: Some(limit), yields: true };
        let mut ask =
            |ask, rates, seconds| buckets.ask("eu", Traffic::Pull, ask, rates, now + Duration::from_secs(seconds));
        let first = ask(Ask::Take(100 * MB), limited(MB), 0);
        let second = ask(Ask::Take(100 * MB), limited(MB), 0);
        assert_eq!((first.wait.as_secs(), second.wait.as_secs()), (100, 200));
        // Each waits for what is ahead of it only.
        let left = ask(Ask::Wait(first.until), limited(MB), 10).wait;
        assert_eq!((left.as_secs(), ask(Ask::Wait(second.until), limited(MB), 10).wait.as_secs()), (90, 190));
        assert_eq!(ask(Ask::Wait(first.until), limited(9 * MB), 10).wait.as_secs(), 10);
        let free = Rates { limit: None, yields: true };
        assert_eq!(ask(Ask::Wait(second.until), free, 10).wait, Duration::ZERO);
        assert_eq!(ask(Ask::Take(MB), limited(MB), 10).wait.as_secs(), 1, "the debt is forgotten");
    }
}
