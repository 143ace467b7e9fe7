//! A network inside one process, for tests of this floor and of those above.

use crate::io::{Connector, Io, PeerIo};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// How many bytes a pipe holds.
const PIPE_BYTES: usize = 256 << 10;
/// How many connections wait to be accepted.
const BACKLOG: usize = 64;

/// Named endpoints joined by in-memory pipes; any pair can be cut.
#[derive(Default)]
pub struct MemoryNetwork(Mutex<Wiring>);

#[derive(Default)]
struct Wiring {
    listeners: HashMap<String, mpsc::Sender<PeerIo>>,
    severed: HashSet<(String, String)>,
    pipes: Vec<Pipe>,
}

struct Pipe {
    ends: (String, String),
    cut: CancellationToken,
    // Gone with the last of the pipe's two ends.
    alive: Weak<()>,
}

/// A pair in either order.
fn pair(a: &str, b: &str) -> (String, String) {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    (low.to_owned(), high.to_owned())
}

impl MemoryNetwork {
    /// An empty network.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn wiring(&self) -> std::sync::MutexGuard<'_, Wiring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens at an address. A second listener at the same address replaces the first, as a restarted process does.
    pub fn listen(self: &Arc<Self>, address: &str) -> BoxStream<'static, io::Result<PeerIo>> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.wiring().listeners.insert(address.to_owned(), sender);
        ReceiverStream::new(receiver).map(Ok).boxed()
    }

    /// Connects from an address.
    #[must_use]
    pub fn connector(self: &Arc<Self>, from: &str) -> Arc<dyn Connector> {
        Arc::new(MemoryConnector { network: Arc::clone(self), from: from.to_owned() })
    }

    /// Breaks every connection between two addresses and refuses new ones, until [`Self::heal`].
    pub fn cut(&self, a: &str, b: &str) {
        let mut wiring = self.wiring();
        let ends = pair(a, b);
        wiring.break_pipes(|pipe| pipe.ends == ends);
        wiring.severed.insert(ends);
    }

    /// Lets two addresses connect again.
    pub fn heal(&self, a: &str, b: &str) {
        self.wiring().severed.remove(&pair(a, b));
    }

    /// Breaks every connection of an address, as the death of its process does. It may listen again at once.
    pub fn kill(&self, address: &str) {
        let mut wiring = self.wiring();
        wiring.listeners.remove(address);
        wiring.break_pipes(|pipe| pipe.ends.0 == address || pipe.ends.1 == address);
    }

    fn connect(&self, from: &str, to: &str) -> io::Result<PeerIo> {
        let mut wiring = self.wiring();
        let ends = pair(from, to);
        if wiring.severed.contains(&ends) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let listener = wiring.listeners.get(to).ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, far) = duplex(PIPE_BYTES);
        let (cut, life) = (CancellationToken::new(), Arc::new(()));
        let alive = Arc::downgrade(&life);
        let far = PeerIo::new(far, from).cut_by(cut.clone()).kept(Arc::clone(&life));
        listener.try_send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        wiring.pipes.retain(|pipe| pipe.alive.strong_count() > 0);
        wiring.pipes.push(Pipe { ends, cut: cut.clone(), alive });
        Ok(PeerIo::new(near, to).cut_by(cut).kept(life))
    }
}

impl Wiring {
    fn break_pipes(&mut self, which: impl Fn(&Pipe) -> bool) {
        for pipe in self.pipes.extract_if(.., |pipe| which(pipe)) {
            pipe.cut.cancel();
        }
    }
}

struct MemoryConnector {
    network: Arc<MemoryNetwork>,
    from: String,
}

impl Connector for MemoryConnector {
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let result = self.network.connect(&self.from, &address);
        Box::pin(async move { result.map(|io| Box::new(io) as Box<dyn Io>) })
    }
}
