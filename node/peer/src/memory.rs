//! A network inside one process, for tests of this floor and of those above.

use crate::io::{Connector, PeerIo};
use futures::stream::BoxStream;
use std::io;
use std::sync::Arc;

/// Named endpoints joined by in-memory pipes; any pair can be cut.
#[derive(Default)]
pub struct MemoryNetwork {}

impl MemoryNetwork {
    /// An empty network.
    #[must_use]
    pub fn new() -> Arc<Self> {
        todo!()
    }

    /// Listens at an address. A second listener at the same address replaces the first, as a restarted process does.
    pub fn listen(self: &Arc<Self>, address: &str) -> BoxStream<'static, io::Result<PeerIo>> {
        todo!()
    }

    /// Connects from an address.
    #[must_use]
    pub fn connector(self: &Arc<Self>, from: &str) -> Arc<dyn Connector> {
        todo!()
    }

    /// Breaks every connection between two addresses and refuses new ones, until [`Self::heal`].
    pub fn cut(&self, a: &str, b: &str) {
        todo!()
    }

    /// Lets two addresses connect again.
    pub fn heal(&self, a: &str, b: &str) {
        todo!()
    }
}
