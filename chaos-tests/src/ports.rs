//! Ports for a cluster, which no other cluster of this machine takes meanwhile, also when none of its nodes runs.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::net::TcpListener;

/// The first port of all ranges, and how many ranges there are below 22,000, where the first one's peers listen.
const FIRST: u16 = 20_000;
const RANGES: u16 = 95;
const RANGE: u16 = 20;

/// How many nodes a range has room for.
const NODES: u16 = 10;

/// Where a node's ports lie from its registry's on: its peers' and its operator's.
const OFFSETS: [u16; 3] = [0, 2_000, 4_100];

/// A range of ports, for as long as it is held.
pub(crate) struct Ports {
    base: u16,
    /// Others keep away while it is locked.
    _lock: File,
}

impl Ports {
    /// Takes a range whose ports are free.
    ///
    /// # Errors
    /// When there is none, or its lock cannot be written.
    pub(crate) fn take() -> crate::Result<Self> {
        let folder = std::env::temp_dir().join("portolan-ports");
        std::fs::create_dir_all(&folder)?;
        // Not all begin at the same one.
        let own = u16::try_from(std::process::id() % u32::from(RANGES))?;
        for range in (0..RANGES).map(|after| (own + after) % RANGES) {
            let base = FIRST + range * RANGE;
            let path = folder.join(base.to_string());
            let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && is_free(base) {
                return Ok(Self { base, _lock: lock });
            }
        }
        Err("no free range of ports".into())
    }

    /// The registry's port of the first node.
    pub(crate) const fn base(&self) -> u16 {
        self.base
    }
}

/// Whether nobody listens there, who knows nothing of locks.
fn is_free(base: u16) -> bool {
    let mut ports = (0..NODES).flat_map(|node| OFFSETS.map(|offset| base + offset + node));
    ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::Ports;

    #[test]
    fn a_range_belongs_to_one_holder_though_nobody_listens() {
        let (first, second) = (Ports::take().unwrap(), Ports::take().unwrap());
        assert_ne!(first.base(), second.base());
    }
}
