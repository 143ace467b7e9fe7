//! What the router and those who steer it share: the links as they are asked for, and what is measured on them.

use super::link::Link;
use super::shaper::Counters;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the router measures. Links of every ordered pair of ports, `from * ports + to`; port 0 is the host.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// What became of the packets since the link's last change.
    pub counters: Vec<Counters>,
    /// Bytes that went on their way since the WAN is up.
    pub carried: Vec<u64>,
    /// How often figures were put up so far, these included.
    pub round: u64,
    /// Bits per second that went on their way during the last second.
    pub rates: Vec<u64>,
    /// The median round trip of the last seconds.
    pub round_trips: Vec<Option<Duration>>,
    /// CPU time of the router, including what the kernel does for its reads and writes.
    pub cpu: Duration,
}

/// The shared board.
pub struct Board {
    links: Mutex<Vec<Link>>,
    generation: AtomicU64,
    measured: Mutex<Measured>,
    stopping: AtomicBool,
}

impl Board {
    /// A board with these links.
    #[must_use]
    pub fn new(links: Vec<Link>) -> Self {
        Self {
            links: Mutex::new(links),
            generation: AtomicU64::new(0),
            measured: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The links as they are asked for.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        lock(&self.links).clone()
    }

    /// Changes links; the router sees it before its next packet.
    pub fn change<T>(&self, act: impl FnOnce(&mut [Link]) -> T) -> T {
        let mut links = lock(&self.links);
        let result = act(&mut links);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }

    /// Rises with every change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What was measured last.
    #[must_use]
    pub fn measured(&self) -> Measured {
        lock(&self.measured).clone()
    }

    /// Puts up what was measured.
    pub fn publish(&self, measured: Measured) {
        *lock(&self.measured) = measured;
    }

    /// Asks the router to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the router shall end.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values are plain numbers, each written whole: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
