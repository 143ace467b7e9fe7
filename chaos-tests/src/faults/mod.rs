//! How each [`Fault`] is done and undone, and what it did, in words for the report.
//!
//! In reading order: [`sides`] is who still reaches a majority, [`links`] what the links do while several faults are in
//! force, [`keeper`] keeps them so, [`world`] is what faults act on; then one family per file: [`process`], [`network`],
//! [`disk`], [`rot`], [`damage`], [`clock`], [`memory`], [`leader`]. Each family gives an [`Effect`] and whatever it needs to
//! undo it. [`refusal`] tells a node that refuses from one that crashed, [`synced`] what of a log must not be lost.

pub mod clock;
pub mod damage;
pub mod disk;
mod effect;
mod keeper;
pub mod leader;
pub mod links;
pub mod memory;
pub mod network;
pub mod process;
mod refusal;
pub mod rot;
pub mod sides;
mod synced;
pub mod world;

pub use effect::Effect;
pub use world::World;

use crate::Result;
use crate::fault::Fault;
use crate::history::Micros;
use crate::invariants::Event;

/// What undoes a fault.
enum Undo {
    /// Processes that are started if they are not there, and waited for.
    Start(Vec<usize>),
    /// A stopped process that goes on.
    Resume(usize),
    /// Nothing but what the world takes back by itself.
    Lift,
    Ballast(disk::Ballast),
    Orders(usize),
    Rot(rot::Rot),
    Damage(damage::Damage),
    LostDisk(disk::Lost),
    Clock(usize),
    Memory(memory::Limited),
}

/// A fault that is in force, until it is healed.
pub struct Injected {
    fault: Fault,
    id: u64,
    effect: Effect,
    stops_writes: bool,
    minority: Vec<usize>,
    undo: Option<Undo>,
}

impl Fault {
    /// Breaks it.
    ///
    /// # Errors
    /// When the fault cannot be made. It may be half made then: the run is worth nothing any more.
    pub async fn inject(&self, world: &mut World<'_>) -> Result<Injected> {
        let id = world.next_id();
        let (effect, undo) = Box::pin(self.act(world, id)).await.map_err(|error| format!("{self}: {error}"))?;
        world.hit(id, &effect);
        let sides = world.sides();
        let undo = Some(undo);
        Ok(Injected {
            fault: self.clone(),
            id,
            effect,
            stops_writes: sides.stops_writes,
            minority: sides.minority,
            undo,
        })
    }

    async fn act(&self, world: &mut World<'_>, id: u64) -> Result<(Effect, Undo)> {
        let starts = |effect: Effect| {
            let nodes = effect.nodes.clone();
            (effect, Undo::Start(nodes))
        };
        let lifts = |effect| (effect, Undo::Lift);
        let node = || world.node(&self.node().unwrap_or_default());
        Ok(match self {
            Self::Kill { .. } => starts(process::kill(world.cluster, node()?).await?),
            Self::Restart { .. } => starts(process::restart(world.cluster, node()?).await?),
            Self::KillAll => starts(process::kill_all(world.cluster).await?),
            Self::Pause { .. } => {
                let node = node()?;
                (process::pause(world.cluster, node)?, Undo::Resume(node))
            }
            Self::MoveLeader => lifts(leader::hand_over(world.cluster).await?),
            Self::HangLeader => starts(leader::hang(world.cluster).await?),
            Self::FullDisk { .. } => {
                let (effect, ballast) = disk::fill(world.cluster, node()?)?;
                (effect, Undo::Ballast(ballast))
            }
            Self::SlowFsync { by, .. } => {
                let node = node()?;
                (disk::slow(world.cluster, node, *by)?, Undo::Orders(node))
            }
            Self::FailingFsync { pattern, .. } => {
                let node = node()?;
                (disk::fail(world.cluster, node, pattern)?, Undo::Orders(node))
            }
            Self::Forget { .. } => starts(disk::forget(world.cluster, node()?).await?),
            Self::LoseDisk { .. } => {
                let (effect, lost) = disk::lose(world.cluster, node()?).await?;
                (effect, Undo::LostDisk(lost))
            }
            Self::Wipe { region } => (disk::wipe(world.cluster, region).await?, Undo::Lift),
            Self::Rot { .. } => {
                let node = node()?;
                let (effect, rot) = rot::turn(world, node)?;
                (effect, Undo::Rot(rot))
            }
            Self::DamageLog { file, .. } => {
                let part = damage::Part::Log(file.as_deref());
                let (effect, damage) = damage::damage(world.cluster, node()?, part, &mut world.rng).await?;
                (effect, Undo::Damage(damage))
            }
            Self::DamageSnapshot { .. } => {
                let (node, part) = (node()?, damage::Part::Snapshot);
                let (effect, damage) = damage::damage(world.cluster, node, part, &mut world.rng).await?;
                (effect, Undo::Damage(damage))
            }
            Self::Clock { offset_ms, .. } => {
                let node = node()?;
                (clock::jump(world.cluster, node, *offset_ms).await?, Undo::Clock(node))
            }
            Self::Memory { bytes, .. } => {
                let (effect, limited) = memory::limit(world.cluster, node()?, *bytes)?;
                (effect, Undo::Memory(limited))
            }
            _ => lifts(self.act_on_links(world, id).await?),
        })
    }

    async fn act_on_links(&self, world: &mut World<'_>, id: u64) -> Result<Effect> {
        match self {
            Self::Cut { a, b } => network::cut(world, id, a, b),
            Self::CutOneWay { from, to } => network::cut_one_way(world, id, from, to),
            Self::Isolate { region } => network::isolate(world, id, region),
            Self::IsolateLeader => {
                let leads = world.cluster.leader().await?;
                let region = world.places()[leads].region.clone();
                network::isolate(world, id, &region)
            }
            Self::Flap { a, b, period } => network::flap(world, id, a, b, *period),
            Self::Slow { a, b, rtt } => network::slow(world, id, a, b, *rtt),
            Self::Lossy { a, b, share } => network::lossy(world, id, a, b, *share),
            Self::Reorder { a, b, share } => network::reorder(world, id, a, b, *share),
            Self::Thin { a, b, rate } => network::thin(world, id, a, b, *rate),
            other => Err(format!("{other} is none of the links").into()),
        }
    }

    /// Whether it can be made here and now: whether what it wants is there, and its node is not stopped already.
    #[must_use]
    pub fn is_possible(&self, world: &World<'_>) -> bool {
        let node = match self.node().map(|name| world.node(&name)) {
            Some(Err(_)) => return false,
            Some(Ok(node)) if !world.cluster.is_running(node) => return false,
            Some(Ok(node)) => Some(node),
            None => None,
        };
        let on_node = |test: &dyn Fn(usize) -> bool| node.is_some_and(test);
        let damages = |part| on_node(&|node| damage::is_possible(&world.cluster.nodes()[node].data, part));
        match self {
            Self::Kill { .. }
            | Self::KillAll
            | Self::Pause { .. }
            | Self::Restart { .. }
            | Self::LoseDisk { .. }
            | Self::MoveLeader => true,
            Self::Cut { a, b }
            | Self::CutOneWay { from: a, to: b }
            | Self::Flap { a, b, .. }
            | Self::Slow { a, b, .. }
            | Self::Lossy { a, b, .. }
            | Self::Reorder { a, b, .. }
            | Self::Thin { a, b, .. } => a != b && world.is_linked(a) && world.is_linked(b),
            Self::Isolate { region } => world.is_linked(region),
            Self::Wipe { region } => world.places().iter().any(|place| place.region == *region),
            Self::IsolateLeader => world.wan.is_some(),
            Self::FullDisk { .. } => on_node(&|node| disk::is_small(&world.cluster.nodes()[node].data)),
            Self::SlowFsync { .. } | Self::FailingFsync { .. } | Self::Forget { .. } => world.cluster.forgets(),
            Self::Rot { .. } => on_node(&|node| rot::is_possible(world, node)),
            Self::DamageLog { file, .. } => damages(damage::Part::Log(file.as_deref())),
            Self::DamageSnapshot { .. } => damages(damage::Part::Snapshot),
            Self::Clock { .. } => on_node(&|node| clock::is_possible(world.cluster, node)),
            Self::Memory { .. } => memory::is_possible(),
            // Whoever leads: without any one node there must be a majority.
            Self::HangLeader => (0..world.places().len()).all(|node| !world.sides_without(&[node]).stops_writes),
        }
    }
}

impl Injected {
    /// Mends it, and waits until the nodes that it stopped are ready.
    ///
    /// # Errors
    /// When they do not become ready: that is a finding.
    pub async fn heal(&mut self, world: &mut World<'_>) -> Result<()> {
        let Some(undo) = self.undo.take() else { return Ok(()) };
        let healed = Box::pin(self.undo(undo, world)).await;
        world.lift(self.id).await?;
        Ok(healed.map_err(|error| format!("healing {}: {error}", self.fault))?)
    }

    async fn undo(&mut self, undo: Undo, world: &mut World<'_>) -> Result<()> {
        match undo {
            Undo::Start(nodes) => process::bring_back(world.cluster, &nodes).await,
            Undo::Resume(node) => process::resume(world.cluster, node).await,
            Undo::Lift => Ok(()),
            Undo::Ballast(ballast) => disk::make_room(world.cluster, ballast, &mut self.effect).await,
            Undo::Orders(node) => disk::obey(world.cluster, node, &mut self.effect).await,
            Undo::Rot(rot) => rot::heal(world.cluster, rot, &mut self.effect).await,
            Undo::Damage(damage) => damage::heal(world.cluster, damage).await,
            Undo::LostDisk(lost) => {
                disk::find(world.cluster, lost).await?;
                // With all that was on it.
                self.effect.wiped.clear();
                Ok(())
            }
            Undo::Clock(node) => clock::set_right(world.cluster, node).await,
            Undo::Memory(limited) => memory::lift(world.cluster, limited, &mut self.effect).await,
        }
    }

    /// The fault.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// What it did, in words.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.effect.said
    }

    /// What nodes did that no node may do, as the fault saw it: a node that served from damaged files.
    #[must_use]
    pub fn complaints(&self) -> &[(usize, String)] {
        &self.effect.complaints
    }

    /// What the invariants are told. Whether writes stop, and who is in the minority, counts everything that was in force
    /// when this fault began. An event whose harm stays has no end. It is best taken after the healing, when it is known whether nodes died of it.
    #[must_use]
    pub fn event(&self, begin: Micros, end: Option<Micros>) -> Event {
        let Effect { nodes, wiped, harmed, stays, .. } = self.effect.clone();
        let end = end.filter(|_| !stays);
        let (fault, kind) = (self.fault.to_string(), self.fault.kind().to_owned());
        let (stops_writes, minority) = (self.stops_writes, self.minority.clone());
        Event { fault, kind, begin, end, made: None, mending: None, nodes, stops_writes, minority, wiped, harmed }
    }
}
