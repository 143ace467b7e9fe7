//! What is on its way: the nodes of a region that lacks something are asked what they fetch of it.

use crate::image_state::ImageState;
use crate::registry::Registry;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use portolan_meta::id::NodeId;
use portolan_meta::query;
use portolan_meta::row::{NodeRow, NodeState, Role};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a node may take to say what it fetches; the report does without those that are slower.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// How many blobs of one region are asked about: as many as a call between nodes may name.
const ASKED: usize = 1_024;

/// What comes into one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arriving {
    /// The bytes that are there, of transfers that are not complete.
    pub(crate) received_bytes: u64,
    pub(crate) bytes_per_second: u64,
    /// The names of the nodes that it comes from.
    pub(crate) sources: BTreeSet<String>,
}

/// One transfer of a node.
struct Coming {
    region: String,
    received: u64,
    bytes_per_second: u64,
    from: Option<NodeId>,
}

impl Registry {
    /// What comes into each region that lacks something of an image. Asks all nodes at once; one that does not answer
    /// tells nothing.
    pub(crate) async fn image_arriving(&self, state: &ImageState) -> BTreeMap<String, Arriving> {
        let lacking: BTreeMap<&str, Vec<Digest>> = state
            .regions
            .iter()
            .filter(|region| region.missing_bytes > 0)
            .map(|region| (region.name.as_str(), state.lacked_in(region, ASKED)))
            .collect();
        if lacking.is_empty() {
            return BTreeMap::new();
        }
        let nodes = self.local().read(query::nodes).unwrap_or_else(|error| {
            tracing::error!(%error, "the nodes cannot be read");
            Vec::new()
        });
        let may_fetch = |node: &&NodeRow| node.role == Role::Full && node.state != NodeState::Out;
        let mut answers: FuturesUnordered<_> = nodes
            .iter()
            .filter(may_fetch)
            .filter_map(|node| Some((node, lacking.get(node.region.as_str())?)))
            .map(|(node, digests)| self.coming_to(node, digests))
            .collect();
        let mut arriving: BTreeMap<String, Arriving> = BTreeMap::new();
        while let Some(transfers) = answers.next().await {
            for transfer in transfers {
                let region = arriving.entry(transfer.region).or_default();
                region.received_bytes += transfer.received;
                region.bytes_per_second += transfer.bytes_per_second;
                let name = |id: NodeId| nodes.iter().find(|node| node.id == id).map(|node| node.name.clone());
                region.sources.extend(transfer.from.and_then(name));
            }
        }
        arriving
    }

    async fn coming_to(&self, node: &NodeRow, digests: &[Digest]) -> Vec<Coming> {
        let region = || node.region.clone();
        if node.id == self.node {
            let transfers = self.floors.replication.transfers(digests).into_iter();
            return transfers
                .map(|transfer| Coming {
                    region: region(),
                    received: transfer.received,
                    bytes_per_second: transfer.bytes_per_second,
                    from: transfer.from,
                })
                .collect();
        }
        match self.floors.peers.transfers(node.id, digests.to_vec(), ASK_WITHIN).await {
            Ok(transfers) => transfers
                .into_iter()
                .map(|transfer| Coming {
                    region: region(),
                    received: transfer.received,
                    bytes_per_second: transfer.bytes_per_second,
                    from: transfer.from,
                })
                .collect(),
            Err(error) => {
                tracing::debug!(node = %node.id, %error, "a node did not say what it fetches");
                Vec::new()
            }
        }
    }
}
