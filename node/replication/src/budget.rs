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
        let wait = self.reserve(from, class, bytes, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    fn reserve(&self, from: NodeId, class: Traffic, bytes: u64, now: Instant) -> Duration {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.read_at.is_none_or(|at| at + REFRESH <= now) {
            match self.read() {
                Ok(known) => inner.known = known,
                Err(error) => error!(%error, "the limits of bandwidth cannot be read; the last known ones hold"),
            }
            inner.read_at = Some(now);
        }
        let Inner { known, buckets, .. } = &mut *inner;
        let Some(region) = known.regions.get(&from) else { return Duration::ZERO };
        let limit = known.limits.limit(region, &self.region, class).map(|limit| (limit / known.sharers.max(1)).max(1));
        // Within a region there is no link to spare.
        let yields = *region != self.region;
        buckets.reserve(region, class, bytes, Rates { limit, yields }, now)
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

#[derive(Debug)]
struct Bucket {
    /// Bytes that may be taken at once; negative while somebody waits.
    tokens: f64,
    at: Instant,
    moved_at: Instant,
}

impl Buckets {
    /// Takes bytes; tells how long to wait for them.
    fn reserve(&mut self, from: &str, class: Traffic, bytes: u64, rates: Rates, now: Instant) -> Duration {
        if !self.pairs.contains_key(from) {
            self.pairs.insert(from.to_owned(), HashMap::new());
        }
        let Some(pair) = self.pairs.get_mut(from) else { return Duration::ZERO };
        let higher = pair.iter().any(|(other, bucket)| *other < class && bucket.moved_at + MOVING > now);
        let rate = match (rates.limit, rates.yields && higher) {
            (limit, true) => Some(limit.map_or(self.yields, |limit| limit.min(self.yields))),
            (limit, false) => limit,
        };
        let bucket = pair.entry(class).or_insert(Bucket { tokens: 0.0, at: now, moved_at: now });
        bucket.moved_at = now;
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.at = now;
        let Some(rate) = rate else {
            bucket.tokens = 0.0;
            return Duration::ZERO;
        };
        let rate = rate as f64;
        bucket.tokens = (bucket.tokens + passed * rate).min(rate * BURST.as_secs_f64()) - bytes as f64;
        Duration::try_from_secs_f64((-bucket.tokens / rate).max(0.0)).unwrap_or(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Duration, HashMap, Instant, Rates, Traffic};

    const MB: u64 = 1_000_000;

    fn buckets() -> Buckets {
        Buckets { yields: MB, pairs: HashMap::new() }
    }

    /// How many bytes come in ten seconds, taken 100 kB at a time, each as soon as the last may go.
    fn moved(buckets: &mut Buckets, from: &str, class: Traffic, rates: Rates, beside: Option<Traffic>) -> u64 {
        let (start, mut now, mut bytes) = (Instant::now(), Instant::now(), 0);
        while now < start + Duration::from_secs(10) {
            if let Some(other) = beside {
                buckets.reserve(from, other, 1, Rates { limit: None, yields: true }, now);
            }
            let wait = buckets.reserve(from, class, 100_000, rates, now);
            now += wait.max(Duration::from_millis(1));
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
        buckets.reserve("eu", Traffic::Pull, 1, free, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(buckets.reserve("eu", Traffic::Repair, 100 * MB, free, later), Duration::ZERO);
    }

    #[test]
    fn a_limit_that_is_lifted_forgets_the_debt() {
        let (mut buckets, now) = (buckets(), Instant::now());
        let slow = Rates { limit: Some(1), yields: true };
        assert!(buckets.reserve("eu", Traffic::Pull, MB, slow, now) > Duration::from_secs(1_000));
        let free = Rates { limit: None, yields: true };
        assert_eq!(buckets.reserve("eu", Traffic::Pull, MB, free, now), Duration::ZERO);
    }
}
