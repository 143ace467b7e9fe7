//! The router: one thread that reads every device, lets each packet pass its link, and writes it when it is due.
//!
//! One thread is enough: a packet stands for up to 64 KiB (see `packet`), so that a gigabit is two thousand packets a
//! second, and most of the time goes into the kernel's copies. It sleeps in one `ppoll` until a device has something
//! or a packet is due.

use super::board::{Board, Measured};
use super::packet::{self, LARGEST, ROUTER_NODE};
use super::round_trips::RoundTrips;
use super::shaper::Shaper;
use super::topology::Topology;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tun_rs::SyncDevice;

/// How much too early a packet may be written, so that several due at almost the same time share one wake-up.
const EARLY_NS: u64 = 50_000;

/// Packets read from one device before the others and what is due have their turn.
const BATCH: usize = 32;

/// Packets shorter than this are copied into a buffer of their own size, longer ones keep the large one.
const COPIED: usize = 24 * 1024;

/// Large buffers that are kept for later.
const POOL: usize = 256;

/// Packets under way at most; more are dropped as if a queue were full. At 64 KiB each that is 2 GiB, which nothing
/// reaches but links without a rate.
const MOST_FLIGHTS: usize = 1 << 20;

/// The thread's nice level.
const PRIORITY: i32 = -15;

/// How often round trips are measured and figures published, and the longest sleep.
const TICK_NS: u64 = 100_000_000;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    due: u64,
    // Packets that are due at the same time keep their order.
    order: u64,
    from: usize,
    to: usize,
    packet: Vec<u8>,
}

/// The router and all its state.
pub struct Router {
    devices: Vec<SyncDevice>,
    shapers: Vec<Shaper>,
    flights: BinaryHeap<Reverse<Flight>>,
    order: u64,
    pool: Vec<Vec<u8>>,
    random: SmallRng,
    board: Arc<Board>,
    generation: u64,
    round_trips: RoundTrips,
    started: Instant,
    bytes: Vec<u64>,
    rates: Vec<u64>,
    ticks: u64,
}

impl Router {
    /// A router between devices; the first is the host's, the others the regions' in their order.
    #[must_use]
    pub fn new(devices: Vec<SyncDevice>, board: Arc<Board>, seed: u64) -> Self {
        let links = board.links();
        Self {
            round_trips: RoundTrips::new(devices.len()),
            devices,
            shapers: links.iter().copied().map(Shaper::new).collect(),
            flights: BinaryHeap::new(),
            order: 0,
            pool: Vec::new(),
            random: SmallRng::seed_from_u64(seed),
            generation: board.generation(),
            board,
            started: Instant::now(),
            bytes: vec![0; links.len()],
            rates: vec![0; links.len()],
            ticks: 0,
        }
    }

    /// Routes until the board says stop.
    ///
    /// # Errors
    /// When a device cannot be waited for.
    pub fn run(mut self) -> rustix::io::Result<()> {
        // A delay must not grow because the nodes under test are busy; for this thread alone. Fails without root.
        let _unprivileged = rustix::process::setpriority_process(None, PRIORITY);
        let mut next_tick = 0;
        while !self.board.stopping() {
            self.reload();
            let now = self.now();
            if now >= next_tick {
                self.tick(now);
                next_tick = now + TICK_NS;
            }
            self.deliver_due();
            let ready = self.wait(next_tick)?;
            // Again, for what was changed while it slept: the packet that woke it was sent after that.
            self.reload();
            for port in ready {
                self.read(port);
            }
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// The devices that have something to read, once there are some or a packet is due.
    fn wait(&self, next_tick: u64) -> rustix::io::Result<Vec<usize>> {
        let due = self.flights.peek().map_or(next_tick, |flight| flight.0.due.min(next_tick));
        let wait = due.saturating_sub(self.now());
        let wait = Timespec { tv_sec: (wait / 1_000_000_000) as i64, tv_nsec: (wait % 1_000_000_000) as i64 };
        let mut watched: Vec<_> = self.devices.iter().map(|device| PollFd::new(device, PollFlags::IN)).collect();
        match poll(&mut watched, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let ready = watched.iter().enumerate().filter(|(_, device)| device.revents().contains(PollFlags::IN));
        Ok(ready.map(|(port, _)| port).collect())
    }

    fn read(&mut self, port: usize) {
        for _ in 0..BATCH {
            let mut buffer = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(LARGEST));
            buffer.clear();
            // A device that is empty answers EAGAIN; one that is being taken down answers EIO, and soon is gone.
            match rustix::io::read(&self.devices[port], rustix::buffer::spare_capacity(&mut buffer)) {
                Ok(length) if length >= COPIED => self.route(port, buffer),
                Ok(_) => {
                    let packet = buffer.as_slice().to_vec();
                    self.recycle(buffer);
                    self.route(port, packet);
                }
                Err(_) => return self.recycle(buffer),
            }
        }
    }

    /// Sends a packet on its way; what goes nowhere of ours vanishes.
    fn route(&mut self, from: usize, packet: Vec<u8>) {
        let Some([10, 77, to, _]) = packet::destination(&packet).map(|address| address.octets()) else { return };
        let to = usize::from(to);
        if to < self.devices.len() && to != from {
            self.admit(from, to, packet);
        }
    }

    fn admit(&mut self, from: usize, to: usize, packet: Vec<u8>) {
        let now = self.now();
        let pair = from * self.devices.len() + to;
        if self.flights.len() >= MOST_FLIGHTS {
            self.shapers[pair].counters.overflowed += 1;
            return;
        }
        let (flights, order) = (&mut self.flights, &mut self.order);
        self.shapers[pair].admit(packet, now, &mut self.random, |due, packet| {
            *order += 1;
            flights.push(Reverse(Flight { due, order: *order, from, to, packet }));
        });
        // Between the host and a region nothing waits: such packets need no second turn of the loop.
        if from == 0 || to == 0 {
            self.deliver_due();
        }
    }

    fn deliver_due(&mut self) {
        let until = self.now() + EARLY_NS;
        while self.flights.peek().is_some_and(|flight| flight.0.due <= until) {
            if let Some(Reverse(flight)) = self.flights.pop() {
                self.deliver(flight);
            }
        }
    }

    fn deliver(&mut self, flight: Flight) {
        let Flight { from, to, packet, .. } = flight;
        let pair = from * self.devices.len() + to;
        if self.shapers[pair].link().cut {
            self.shapers[pair].counters.cut += packet::shape(&packet).segments as u64;
        } else if packet::destination(&packet).is_some_and(|address| address.octets()[3] == ROUTER_NODE) {
            if let Some(stamp) = packet::echo_reply(&packet) {
                self.round_trips.answered(to, from, stamp, self.now());
            }
        } else {
            // A write that fails (a device that is going down) is a packet lost, as on any network.
            let _lost = rustix::io::write(&self.devices[to], &packet);
        }
        self.recycle(packet);
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() >= LARGEST && self.pool.len() < POOL {
            self.pool.push(buffer);
        }
    }

    fn reload(&mut self) {
        let generation = self.board.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let now = self.now();
        for (pair, link) in self.board.links().into_iter().enumerate() {
            if self.shapers[pair].change(link) {
                self.bytes[pair] = 0;
                self.round_trips.forget(pair / self.devices.len(), pair % self.devices.len(), now);
            }
        }
    }

    /// Measures every pair's round trip with an echo that travels both its links, and publishes the figures.
    fn tick(&mut self, now: u64) {
        let ports = self.devices.len();
        for (from, to) in (1..ports).flat_map(|from| (from + 1..ports).map(move |to| (from, to))) {
            let echo =
                packet::echo_request(Topology::address(from - 1, ROUTER_NODE), Topology::address(to - 1, 1), now);
            self.admit(from, to, echo);
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(1_000_000_000 / TICK_NS) {
            for (pair, shaper) in self.shapers.iter().enumerate() {
                self.rates[pair] = (shaper.counters.bytes - self.bytes[pair]) * 8;
                self.bytes[pair] = shaper.counters.bytes;
            }
        }
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        self.board.publish(Measured {
            counters: self.shapers.iter().map(|shaper| shaper.counters).collect(),
            carried: self.shapers.iter().map(|shaper| shaper.carried).collect(),
            round: self.ticks,
            rates: self.rates.clone(),
            round_trips: self.round_trips.medians(now),
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
        });
    }
}
