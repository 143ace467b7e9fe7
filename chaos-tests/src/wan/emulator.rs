//! The emulated WAN itself: namespaces, devices and the router, up until it is dropped.

use super::board::Board;
use super::link::{Link, LinkChange};
use super::namespace::{self, NamespaceError};
use super::router::Router;
use super::status::{LinkStatus, Status};
use super::topology::{Topology, TopologyError};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// This host's address on the WAN: it reaches every node, without delay.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A WAN that cannot be brought up or steered.
#[derive(Debug, thiserror::Error)]
pub enum WanError {
    /// There is one WAN on a machine, and another process has it.
    #[error("a WAN is up already, in process {0}: take it down first (portolan-wan down)")]
    Busy(String),
    /// The lock of the one WAN.
    #[error("{}: {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Namespaces or devices.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A region that is not there.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The router's thread cannot be started.
    #[error("the router cannot start: {0}")]
    Start(io::Error),
    /// The router's thread has ended in an error.
    #[error("the router has failed: {0}")]
    Router(io::Error),
}

/// Where the WAN of this machine keeps its lock and its socket.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new("/run/portolan-wan")
}

/// Whoever holds the lock has the WAN of this machine.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at once or not at all.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
    pub fn take() -> Result<Self, WanError> {
        let path = folder().join("lock");
        let wrong = |source: io::Error| WanError::Lock { path: path.clone(), source };
        std::fs::create_dir_all(folder()).map_err(wrong)?;
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(wrong)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(wrong)?;
            return Err(WanError::Busy(holder.trim().to_owned()));
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(wrong)?;
        Ok(Self { _file: file })
    }
}

/// A running WAN. Dropping it takes it down.
pub struct Wan {
    topology: Topology,
    board: Arc<Board>,
    router: Option<JoinHandle<rustix::io::Result<()>>>,
    started: Instant,
    // Last: nobody else may begin before everything is swept away.
    _lock: Lock,
}

impl Wan {
    /// Brings a topology up, sweeping away what a crashed one has left.
    ///
    /// # Errors
    /// When a WAN is up already, or without root or TUN devices. Nothing is left behind then.
    pub fn up(topology: &Topology) -> Result<Self, WanError> {
        let lock = Lock::take()?;
        namespace::sweep()?;
        let board = Arc::new(Board::new(wires(topology)));
        let mut wan = Self { topology: topology.clone(), board, router: None, started: Instant::now(), _lock: lock };
        let mut devices = vec![namespace::create_host(HOST, topology.mtu)?];
        for (place, region) in topology.regions.iter().enumerate() {
            let addresses: Vec<_> = (1..=region.nodes).map(|node| Topology::address(place, node)).collect();
            devices.push(namespace::create(&region.name, &addresses, topology.mtu)?);
        }
        let router = Router::new(devices, Arc::clone(&wan.board), topology.seed);
        let thread = std::thread::Builder::new().name("wan-router".to_owned()).spawn(|| router.run());
        wan.router = Some(thread.map_err(WanError::Start)?);
        Ok(wan)
    }

    /// Changes the link from one region to another, for the next packet on.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn set(&self, from: &str, to: &str, change: LinkChange) -> Result<(), WanError> {
        self.steering().set(from, to, change)
    }

    /// What changes its links without borrowing it.
    #[must_use]
    pub fn steering(&self) -> Steering {
        Steering::new(self.topology.clone(), Arc::clone(&self.board))
    }

    /// Cuts a region off from all others, both ways. This host still reaches it, and its nodes one another.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn cut(&self, region: &str) -> Result<(), WanError> {
        let place = self.topology.region(region)?;
        self.board.change(|links| {
            for other in (0..self.topology.regions.len()).filter(|other| *other != place) {
                links[self.pair(place, other)].cut = true;
                links[self.pair(other, place)].cut = true;
            }
        });
        Ok(())
    }

    /// Makes every link what the topology says.
    pub fn heal(&self) {
        let healed = wires(&self.topology);
        self.board.change(|links| links.copy_from_slice(&healed));
    }

    /// What was asked and what is measured.
    #[must_use]
    pub fn status(&self) -> Status {
        let (links, measured) = (self.board.links(), self.board.measured());
        let count = self.topology.regions.len();
        let name = |place: usize| self.topology.regions[place].name.clone();
        let ordered = (0..count).flat_map(|a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let describe = |(a, b): (usize, usize)| {
            let (pair, back) = (self.pair(a, b), self.pair(b, a));
            let link = links[pair];
            let counters = measured.counters.get(pair).copied().unwrap_or_default();
            LinkStatus {
                from: name(a),
                to: name(b),
                delay_ms: link.delay.as_secs_f64() * 1e3,
                jitter_ms: link.jitter.as_secs_f64() * 1e3,
                loss: link.loss,
                reorder: link.reorder,
                rate: link.rate,
                queue_bytes: link.queue_bytes(),
                cut: link.cut,
                rtt_ms: (link.delay + links[back].delay).as_secs_f64() * 1e3,
                measured_rtt_ms: measured.round_trips.get(pair).copied().flatten().map(|rtt| rtt.as_secs_f64() * 1e3),
                carried_bytes: measured.carried.get(pair).copied().unwrap_or_default(),
                carried: measured.rates.get(pair).copied().unwrap_or_default(),
                offered: counters.offered,
                lost: counters.lost,
                overflowed: counters.overflowed,
                met_cut: counters.cut,
            }
        };
        Status {
            topology: self.topology.name.clone(),
            regions: (0..count).map(|place| (name(place), Topology::address(place, 1).to_string())).collect(),
            links: ordered.map(describe).collect(),
            cpu_seconds: measured.cpu.as_secs_f64(),
            up_seconds: self.started.elapsed().as_secs_f64(),
            round: measured.round,
        }
    }

    /// Takes it down: no namespace, no device, no route is left.
    ///
    /// # Errors
    /// When the router had failed, or a namespace cannot be removed.
    pub fn down(mut self) -> Result<(), WanError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), WanError> {
        self.board.stop();
        // The devices go with the router, the routes and addresses with the devices.
        let routed = self.router.take().map(JoinHandle::join);
        namespace::sweep()?;
        match routed {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(WanError::Router(error.into())),
            Some(Err(_)) => Err(WanError::Router(io::Error::other("it panicked"))),
        }
    }

    fn pair(&self, from: usize, to: usize) -> usize {
        pair(&self.topology, from, to)
    }
}

/// A link's place on the board, where port 0 is the host.
fn pair(topology: &Topology, from: usize, to: usize) -> usize {
    (from + 1) * (topology.regions.len() + 1) + to + 1
}

/// Changes the links of a WAN, which may end meanwhile: then it changes nothing.
#[derive(Clone)]
pub struct Steering {
    topology: Topology,
    board: Arc<Board>,
}

impl Steering {
    /// Of the network with these links on its board.
    #[must_use]
    pub fn new(topology: Topology, board: Arc<Board>) -> Self {
        Self { topology, board }
    }

    /// [`Wan::set`].
    ///
    /// # Errors
    /// When there is no such region.
    pub fn set(&self, from: &str, to: &str, change: LinkChange) -> Result<(), WanError> {
        let (a, b) = (self.topology.region(from)?, self.topology.region(to)?);
        if a == b {
            return Err(TopologyError::Loop(from.to_owned()).into());
        }
        self.board.change(|links| change.apply(&mut links[pair(&self.topology, a, b)]));
        Ok(())
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("taking the WAN down: {error}");
        }
    }
}

/// The links of every ordered pair of ports. Those of the host, port 0, do nothing to a packet.
fn wires(topology: &Topology) -> Vec<Link> {
    let ports = topology.regions.len() + 1;
    let pairs = (0..ports).flat_map(|from| (0..ports).map(move |to| (from, to)));
    let wire = |(from, to): (usize, usize)| match (from, to) {
        (0, _) | (_, 0) => Link::default(),
        (from, to) => topology.link(from - 1, to - 1),
    };
    pairs.map(wire).collect()
}
