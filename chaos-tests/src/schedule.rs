//! What is broken when: drawn from a seed, and never more at once than a cluster must bear.

use crate::fault::Fault;
use crate::faults::sides::{Place, sides};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// How often other nodes and regions are tried for a fault that does not go with those in force.
const TRIES: usize = 6;

/// Stands for any node or region in the words of a pool's faults.
const ANY: &str = "*";

/// What a schedule is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Faults and how often each is drawn before all come again; `*` is drawn anew each time.
    pub faults: Vec<(Fault, u32)>,
    /// How many may be in force at once; 1 for each alone.
    pub at_once: usize,
    /// Whether so many nodes may be stopped or cut off that no majority is left.
    pub lose_majority: bool,
    /// How long a fault is in force.
    pub lasts: Range<Duration>,
    /// How long after one fault begins the next one does; while as many are in force as may be, after one of them ends.
    pub gaps: Range<Duration>,
    /// How long it is quiet at the end.
    pub quiet: Duration,
}

impl Pool {
    /// A pool of faults in words, all of one weight, each alone; `*` stands for any node or region.
    ///
    /// # Errors
    /// When words are no fault.
    pub fn of(words: &[&str]) -> crate::Result<Self> {
        let faults: Result<Vec<(Fault, u32)>, _> = words.iter().map(|words| Ok((words.parse()?, 1))).collect();
        Ok(Self {
            faults: faults.map_err(|error: crate::fault::WordsError| error.to_string())?,
            at_once: 1,
            lose_majority: false,
            lasts: Duration::from_secs(3)..Duration::from_secs(10),
            gaps: Duration::from_secs(1)..Duration::from_secs(5),
            quiet: Duration::from_secs(10),
        })
    }
}

/// One fault of a schedule. Times count from the begin of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub fault: Fault,
    pub begin: Duration,
    pub end: Duration,
}

impl Planned {
    fn overlaps(&self, other: &Self) -> bool {
        self.begin <= other.end && other.begin <= self.end
    }
}

/// What happens at a moment of a schedule, by the fault's place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It is healed.
    Heal(usize),
    /// It is injected.
    Inject(usize),
}

/// All faults of a run, by when they begin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule(pub Vec<Planned>);

impl Schedule {
    /// Draws one, as from a shuffled deck: every fault of the pool comes before one comes again, as far as it fits. The same
    /// seed, length, pool and nodes give the same schedule.
    #[must_use]
    pub fn draw(seed: u64, length: Duration, pool: &Pool, places: &[Place]) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut planned, mut deck) = (Vec::<Planned>::new(), Deck { pool, left: Vec::new() });
        let last = length.saturating_sub(pool.quiet);
        let mut begin = within(&mut random, &pool.gaps);
        while begin < last {
            let mut ends: Vec<_> = planned.iter().map(|other| other.end).filter(|end| *end >= begin).collect();
            if ends.len() >= pool.at_once.max(1) {
                ends.sort();
                begin = ends[ends.len() - pool.at_once.max(1)] + within(&mut random, &pool.gaps);
                continue;
            }
            let end = begin + within(&mut random, &pool.lasts);
            let fits = |fault: Fault| {
                let new = Planned { fault, begin, end };
                may_join(&new, &planned, pool, places).then_some(new)
            };
            if end <= last {
                planned.extend(deck.draw(&mut random, places, fits));
            }
            // Never by nothing, or this has no end.
            begin += within(&mut random, &pool.gaps).max(Duration::from_millis(1));
        }
        Self(planned)
    }

    /// Its moments in order. What heals at a moment does so before what begins then.
    #[must_use]
    pub fn steps(&self) -> Vec<(Duration, Step)> {
        let both =
            |(at, planned): (usize, &Planned)| [(planned.begin, Step::Inject(at)), (planned.end, Step::Heal(at))];
        let mut steps: Vec<_> = self.0.iter().enumerate().flat_map(both).collect();
        steps.sort();
        steps
    }
}

fn within(random: &mut StdRng, range: &Range<Duration>) -> Duration {
    if range.is_empty() { range.start } else { random.random_range(range.clone()) }
}

/// What is left of a shuffled pool.
struct Deck<'a> {
    pool: &'a Pool,
    left: Vec<&'a Fault>,
}

impl Deck<'_> {
    /// The next fault that fits; none when not one of all does.
    fn draw(
        &mut self,
        random: &mut StdRng,
        places: &[Place],
        fits: impl Fn(Fault) -> Option<Planned>,
    ) -> Option<Planned> {
        self.take(random, places, &fits).or_else(|| {
            let faults = self.pool.faults.iter();
            self.left = faults.flat_map(|(fault, weight)| vec![fault; *weight as usize]).collect();
            self.left.shuffle(random);
            self.take(random, places, &fits)
        })
    }

    fn take(
        &mut self,
        random: &mut StdRng,
        places: &[Place],
        fits: impl Fn(Fault) -> Option<Planned>,
    ) -> Option<Planned> {
        for at in 0..self.left.len() {
            if let Some(planned) = (0..TRIES).find_map(|_| fits(filled(self.left[at], random, places)?)) {
                self.left.remove(at);
                return Some(planned);
            }
        }
        None
    }
}

/// A fault with nodes and regions in the places of `*`; none when there are too few of them.
fn filled(fault: &Fault, random: &mut StdRng, places: &[Place]) -> Option<Fault> {
    let mut fault = fault.clone();
    if let Some(node) = fault.node_mut().filter(|node| *node == ANY) {
        *node = places.choose(random)?.name.clone();
    }
    let mut left: BTreeSet<String> = places.iter().map(|place| place.region.clone()).collect();
    for region in fault.regions() {
        left.remove(&region);
    }
    for region in fault.regions_mut().into_iter().filter(|region| *region == ANY) {
        *region = left.iter().choose(random)?.clone();
        left.remove(region);
    }
    Some(fault)
}

/// Whether a fault may be in force together with those that are.
fn may_join(new: &Planned, planned: &[Planned], pool: &Pool, places: &[Place]) -> bool {
    let others: Vec<&Planned> = planned.iter().filter(|other| other.overlaps(new)).collect();
    if others.len() >= pool.at_once.max(1)
        || others.iter().any(|other| undo_each_other(&new.fault, &other.fault, places))
    {
        return false;
    }
    let together: Vec<&Fault> = others.iter().map(|other| &other.fault).chain([&new.fault]).collect();
    // All at one moment, as when the power fails, come back together.
    let is_power_cut = together == [&Fault::KillAll];
    let may_stop = pool.lose_majority || is_power_cut || keeps_majority(&together, places);
    may_stop && come_back(&together, places)
}

/// Whether one may mend, hide or worsen what the other did.
fn undo_each_other(a: &Fault, b: &Fault, places: &[Place]) -> bool {
    let (one, other) = (touched(a, places), touched(b, places));
    // Copies that rot at two nodes at once may be all there are of a blob.
    let alike = a.kind() == b.kind() && matches!(a, Fault::Rot { .. } | Fault::MoveLeader | Fault::HangLeader);
    alike || !one.nodes.is_disjoint(&other.nodes) || (one.layer == other.layer && !one.pairs.is_disjoint(&other.pairs))
}

/// What a property of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Cut,
    Delay,
    Loss,
    Order,
    Rate,
}

/// What a fault lays its hand on.
struct Touched {
    nodes: BTreeSet<usize>,
    layer: Option<Layer>,
    /// Pairs of regions, the lesser name first.
    pairs: BTreeSet<(String, String)>,
}

fn touched(fault: &Fault, places: &[Place]) -> Touched {
    let all = || (0..places.len()).collect();
    let layer = match fault {
        Fault::Cut { .. }
        | Fault::CutOneWay { .. }
        | Fault::Isolate { .. }
        | Fault::IsolateLeader
        | Fault::Flap { .. } => Some(Layer::Cut),
        Fault::Slow { .. } => Some(Layer::Delay),
        Fault::Lossy { .. } => Some(Layer::Loss),
        Fault::Reorder { .. } => Some(Layer::Order),
        Fault::Thin { .. } => Some(Layer::Rate),
        _ => None,
    };
    let nodes = match fault {
        // Any of them may lead.
        Fault::KillAll | Fault::HangLeader => all(),
        Fault::Wipe { region } => (0..places.len()).filter(|at| places[*at].region == *region).collect(),
        _ => places
            .iter()
            .enumerate()
            .filter(|(_, place)| fault.node().as_ref() == Some(&place.name))
            .map(|at| at.0)
            .collect(),
    };
    let named = fault.regions();
    let touches = |a: &str, b: &str| match named.as_slice() {
        [region] => a == region || b == region,
        [one, other] => (a == one && b == other) || (a == other && b == one),
        _ => *fault == Fault::IsolateLeader,
    };
    let regions: BTreeSet<&String> = places.iter().map(|place| &place.region).collect();
    let pairs = regions.iter().enumerate().flat_map(|(at, a)| regions.iter().skip(at + 1).map(move |b| (*a, *b)));
    let pairs = pairs.filter(|(a, b)| touches(a, b)).map(|(a, b)| (a.clone(), b.clone())).collect();
    Touched { nodes, layer, pairs }
}

/// Whether a majority of the voters goes on and reaches each other, whoever leads.
fn keeps_majority(faults: &[&Fault], places: &[Place]) -> bool {
    voters(places).all(|leader| {
        let (stopped, cut) = stopped_and_cut(faults, leader, places);
        !sides(places, &stopped, &cut).stops_writes
    })
}

/// Whether each node that is stopped meets the leader when it is started again, whoever leads: else it is not ready before
/// the links are healed, which the run would wait for in vain. A majority is not enough: one that has a leader whom the
/// node does not hear keeps that leader.
fn come_back(faults: &[&Fault], places: &[Place]) -> bool {
    voters(places).all(|leader| {
        let (stopped, cut) = stopped_and_cut(faults, leader, places);
        let is_cut_off = |node: &usize| {
            let region = &places[*node].region;
            cut.iter().any(|(a, b)| a == region || b == region)
        };
        !stopped.iter().any(is_cut_off)
    })
}

/// Any of them may lead.
fn voters(places: &[Place]) -> impl Iterator<Item = usize> {
    (0..places.len()).filter(|at| places[*at].voter)
}

/// The nodes that do not answer, and the links that carry nothing, while some faults are in force.
fn stopped_and_cut(
    faults: &[&Fault],
    leader: usize,
    places: &[Place],
) -> (BTreeSet<usize>, BTreeSet<(String, String)>) {
    let (mut stopped, mut cut) = (BTreeSet::new(), BTreeSet::new());
    for fault in faults {
        stopped.extend(stops(fault, leader, places));
        let touched = touched(fault, places);
        let region = &places[leader].region;
        let of_leader = |pair: &(String, String)| pair.0 == *region || pair.1 == *region;
        if touched.layer == Some(Layer::Cut) {
            let isolates = **fault == Fault::IsolateLeader;
            cut.extend(touched.pairs.into_iter().filter(|pair| !isolates || of_leader(pair)));
        }
    }
    (stopped, cut)
}

/// The nodes that a fault stops, or may stop.
fn stops(fault: &Fault, leader: usize, places: &[Place]) -> BTreeSet<usize> {
    match fault {
        Fault::HangLeader => [leader].into(),
        Fault::Clock { .. } | Fault::SlowFsync { .. } | Fault::Rot { .. } => BTreeSet::new(),
        _ => touched(fault, places).nodes,
    }
}

#[cfg(test)]
mod tests;
