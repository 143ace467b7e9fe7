//! Which node this is.

use portolan_meta::id::NodeId;

/// Which node this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its id; its disk's store has the same number.
    pub node: NodeId,
    /// Its region.
    pub region: String,
    /// Its zone inside the region; empty when there is none.
    pub zone: String,
}
