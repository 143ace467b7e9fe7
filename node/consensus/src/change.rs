//! What comes up from below: that something was applied. A lost change costs a delay, never a fact: whoever lags
//! rescans the state.

use portolan_oci::Digest;
use std::sync::Arc;

/// Something was applied on this node.
#[derive(Clone, Debug)]
pub enum Change {
    /// The rows or the locations of these blobs changed.
    Blobs(Arc<[Digest]>),
    /// A node or a policy changed: what is wanted where may be another.
    Topology,
    /// The whole state was replaced by a snapshot.
    Reset,
}
