//! How peers answered of late.

use std::time::Duration;
use tokio::time::Instant;

/// What answered calls tell about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// When it last answered anything.
    pub last_seen: Instant,
    /// The round trip of pings, an exponentially weighted average; `None` before the first.
    pub rtt: Option<Duration>,
}
