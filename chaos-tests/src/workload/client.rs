//! One client: its choices, what it remembers, and how it asks.

use super::door::{Answer, Ask, Door};
use super::memory::Memory;
use super::plan::Plan;
use super::recorder::{Begun, Desk};
use super::study::{Popularity, Sizes};
use crate::history::{Call, Micros, Seen};
use crate::truth::{Blob, Truth, scatter};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How many layers all clients know: what images are built on.
const BASES: usize = 64;

/// How many calls of a hundred go to a node of another region.
const ELSEWHERE: u32 = 15;

/// How much longer a client rests after a node was of no use.
const TROUBLE: u32 = 10;

/// What all clients of a run share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) truth: Arc<Truth>,
    pub(super) repos: Vec<String>,
    /// The region of each node.
    pub(super) regions: Vec<Arc<str>>,
    by_repo: Popularity,
    by_tag: Popularity,
    by_base: Popularity,
    sizes: Sizes,
}

impl Shared {
    pub(super) fn new(plan: Plan, truth: Arc<Truth>, regions: Vec<Arc<str>>) -> crate::Result<Self> {
        let repos = plan.repo_names();
        let (by_repo, by_tag) = (Popularity::among(repos.len())?, Popularity::among(plan.tags_per_repo)?);
        let (by_base, sizes) = (Popularity::among(BASES)?, Sizes::new(plan.scale)?);
        Ok(Self { plan, truth, repos, regions, by_repo, by_tag, by_base, sizes })
    }
}

/// A client. It makes one call at a time, and chooses by nothing but its seed and the answers that it got.
pub(super) struct Client<D> {
    pub(super) id: u32,
    region: Arc<str>,
    pub(super) shared: Arc<Shared>,
    /// The nodes of its region, and all others.
    near: Vec<usize>,
    far: Vec<usize>,
    pub(super) dice: StdRng,
    pub(super) memory: Memory,
    door: D,
    desk: Desk,
    stop: watch::Receiver<bool>,
    pushes: u64,
    /// Whether a node was of no use since the client asked for it last.
    trouble: Cell<bool>,
}

impl<D: Door> Client<D> {
    /// The client with this number in a region. It takes two ids: the second is that of a twin, who races with it.
    pub(super) fn new(
        number: u32,
        region: Arc<str>,
        shared: Arc<Shared>,
        door: D,
        desk: Desk,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (near, far) = (0..shared.regions.len()).partition(|node| shared.regions[*node] == region);
        let dice = StdRng::seed_from_u64(scatter(shared.plan.seed ^ scatter(u64::from(number))));
        let (id, memory) = (number * 2, Memory::default());
        Self { id, region, shared, near, far, dice, memory, door, desk, stop, pushes: 0, trouble: Cell::default() }
    }

    /// The id of the twin.
    pub(super) fn twin(&self) -> u32 {
        self.id + 1
    }

    /// Whether the run is over.
    pub(super) fn is_over(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// True so many times of a hundred.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    /// A repository: few are asked for most.
    pub(super) fn repo(&mut self) -> String {
        let place = self.shared.by_repo.draw(&mut self.dice);
        self.shared.repos[place].clone()
    }

    /// A tag: few are asked for most.
    pub(super) fn tag(&mut self) -> String {
        format!("t{}", self.shared.by_tag.draw(&mut self.dice))
    }

    /// A node, most often of the own region.
    pub(super) fn node(&mut self) -> usize {
        let away = self.chance(ELSEWHERE);
        let nodes = if self.near.is_empty() || (away && !self.far.is_empty()) { &self.far } else { &self.near };
        nodes[self.dice.random_range(0..nodes.len())]
    }

    /// Any node, the same one only when there is no other.
    pub(super) fn other(&mut self, than: usize) -> usize {
        let count = self.shared.regions.len();
        if count < 2 { than } else { (than + self.dice.random_range(1..count)) % count }
    }

    /// A name that no other push has.
    pub(super) fn push_name(&mut self) -> String {
        self.pushes += 1;
        format!("{:x}-{}-{}", self.shared.plan.seed, self.id, self.pushes)
    }

    /// A layer that nobody has pushed yet.
    pub(super) fn fresh_layer(&mut self) -> Blob {
        let size = self.shared.sizes.layer(&mut self.dice);
        self.shared.truth.blob(self.dice.random(), size)
    }

    /// A configuration that nobody has pushed yet.
    pub(super) fn fresh_config(&mut self) -> Blob {
        let size = Sizes::config(&mut self.dice);
        self.shared.truth.blob(self.dice.random(), size)
    }

    /// A layer that all clients know, few of them most often.
    pub(super) fn base_layer(&mut self) -> Blob {
        let number = self.shared.by_base.draw(&mut self.dice) as u64;
        let seed = scatter(self.shared.plan.seed).wrapping_add(number);
        self.shared.truth.blob(seed, self.shared.sizes.numbered(seed))
    }

    /// Rests for a moment, which ends with the run: a short one, or a longer one when a node was of no use since the last.
    pub(super) async fn rest(&mut self) {
        let mean = self.shared.plan.pause * if self.trouble.take() { TROUBLE } else { 1 };
        let pause = mean.mul_f64(self.dice.random_range(0.0..2.0));
        if pause > Duration::ZERO {
            let _ = tokio::time::timeout(pause, self.stop.wait_for(|stop| *stop)).await;
        }
    }

    /// Asks without making a record: a step of something larger.
    pub(super) async fn step(&self, ask: Ask) -> Answer {
        self.door.ask(ask).await
    }

    pub(super) fn now(&self) -> Micros {
        self.desk.now()
    }

    /// Makes a record of what began at `start` and ended now.
    pub(super) async fn note(&self, id: u32, node: usize, start: Micros, call: Call, seen: Seen) {
        if seen.status.is_none_or(|status| status >= 500 || status == 429) {
            self.trouble.set(true);
        }
        self.desk.note(Begun { client: id, region: Arc::clone(&self.region), node, start }, call, seen).await;
    }

    /// Some range within a length that is not 0.
    pub(super) fn part(&mut self, length: u64) -> Range<u64> {
        let start = self.dice.random_range(0..length);
        start..self.dice.random_range(start + 1..=length)
    }
}
