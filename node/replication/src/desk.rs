//! What the worker knows of the whole cluster's copies, and shares with those who ask for its status.

use crate::config::Config;
use crate::exposure::Exposed;
use crate::lag::lags;
use crate::me::Me;
use crate::plan::{Missing, Plan, Sizes};
use crate::status::{Exposure, RegionLag, RegionMissing};
use crate::surplus::Surplus;
use portolan_meta::id::StoreId;
use portolan_meta::placement::{Standing, Topology};
use portolan_oci::Digest;
use portolan_peer::MANY_BLOB_BYTES;
use portolan_sabotage::Sabotage;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Everything that scans and changes have told so far.
pub(crate) struct Desk {
    plan: Mutex<Plan>,
    exposed: Mutex<Exposed>,
    surplus: Mutex<Surplus>,
    scanning: Mutex<bool>,
}

impl Desk {
    pub(crate) fn new(config: &Config, me: &Me) -> Arc<Self> {
        let own = StoreId::from(me.node);
        let sizes = Sizes { tiny: config.batch_blob_bytes.min(MANY_BLOB_BYTES), large: config.large_bytes };
        let plan = Plan::new(own, sizes, config.max_planned);
        let surplus = Surplus::new(own, me.region.clone(), config.surplus_keep(), config.max_planned);
        Arc::new(Self {
            plan: Mutex::new(plan),
            exposed: Mutex::new(Exposed::new(config.max_planned)),
            surplus: Mutex::new(surplus),
            scanning: Mutex::new(true),
        })
    }

    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exposed(&self) -> MutexGuard<'_, Exposed> {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn surplus(&self) -> MutexGuard<'_, Surplus> {
        self.surplus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how blobs stand.
    pub(crate) fn note(&self, facts: Vec<(Digest, Option<Standing>)>) {
        let now = Instant::now();
        let (mut plan, mut exposed, mut surplus) = (self.plan(), self.exposed(), self.surplus());
        // Sabotaged: of one blob in four nobody hears, neither by a change nor by a scan.
        let is_missed =
            |digest: &Digest| portolan_sabotage::is(Sabotage::DropWakeUps) && digest.raw()[0].is_multiple_of(4);
        for (digest, standing) in facts.into_iter().filter(|(digest, _)| !is_missed(digest)) {
            exposed.note(digest, standing.as_ref());
            surplus.note(digest, standing.as_ref(), now);
            plan.note(digest, standing.as_ref().and_then(Missing::of));
        }
    }

    /// Every blob that it knows anything of.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        let mut known: HashSet<Digest> = self.plan().digests().into_iter().collect();
        known.extend(self.exposed().digests());
        known.extend(self.surplus().digests());
        known.into_iter().collect()
    }

    /// A whole scan begins.
    pub(crate) fn begin_scan(&self) {
        *self.scanning.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.plan().begin_scan();
        self.exposed().begin_scan();
    }

    /// A whole scan is over.
    pub(crate) fn end_scan(&self) {
        *self.scanning.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn is_scanning(&self) -> bool {
        *self.scanning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is known to be missing may be less than what is missing.
    pub(crate) fn incomplete(&self) -> bool {
        self.is_scanning() || self.plan().overflowed()
    }

    /// What would be lost with each region, and what nobody can read.
    pub(crate) fn exposure(&self, topology: &Topology) -> Exposure {
        self.exposed().report(topology.all_regions(), self.is_scanning())
    }

    /// What each region lacks.
    pub(crate) fn regions(&self, topology: &Topology) -> Vec<RegionMissing> {
        let mut regions: BTreeMap<&str, (u64, u64)> = topology.regions().map(|region| (region, (0, 0))).collect();
        let plan = self.plan();
        for missing in plan.missing() {
            for store in &missing.stores {
                if let Some(node) = topology.owner(*store) {
                    let (copies, bytes) = regions.entry(&node.region).or_default();
                    *copies += 1;
                    *bytes += missing.size;
                }
            }
        }
        let row =
            |(region, (copies, bytes)): (&str, (u64, u64))| RegionMissing { region: region.to_owned(), copies, bytes };
        regions.into_iter().map(row).collect()
    }

    /// How far each region is behind each other one. Ages are by this node's clock: the state's own stands still while
    /// nothing is proposed.
    pub(crate) fn lags(&self, topology: &Topology) -> Vec<RegionLag> {
        lags(self.plan().missing(), topology, wall_ms())
    }
}

/// This node's clock, in milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
