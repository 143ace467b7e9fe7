//! In which order nodes are asked: pure, of what was measured.
//!
//! Nearer tiers first; within one by cost: latency × (reads in flight + 1), where latency is a peak-sensitive moving
//! average of the time to the first byte (it rises at once and decays), never below the round trip of pings. Among those
//! of the first tier that cost about as little as the best, the cheaper of two drawn by lot goes first (power of two
//! choices), so that nodes which know the same do not all run to the same one; a far one is never chosen by chance.

use portolan_meta::id::NodeId;
use std::time::Duration;
use tokio::time::Instant;

/// How fast a peak is forgotten: after so long, a third of it is left.
const DECAY: Duration = Duration::from_secs(10);
/// A node that costs up to so many times as much as the best costs about as little.
const COMPARABLE: f64 = 1.5;
/// Below it, distances are noise, in seconds.
const NEAREST: f64 = 0.001;
/// What is assumed of a node that was never heard, in seconds.
const UNKNOWN: f64 = 10.0;

/// How near a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// In our zone.
    Zone,
    /// In our region.
    Region,
    /// In another region.
    Elsewhere,
}

/// A peak-sensitive moving average of the time to the first byte, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    value: f64,
    at: Instant,
}

impl Latency {
    pub(crate) fn new(now: Instant) -> Self {
        Self { value: 0.0, at: now }
    }

    /// A read took so long to its first byte, or until it failed.
    pub(crate) fn note(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let weight = self.weight(now);
        let value = if took > self.value * weight { took } else { self.value * weight + took * (1.0 - weight) };
        *self = Self { value, at: now };
    }

    /// What is left of it. Without reads it goes to nothing, so that a node which was slow is tried again.
    pub(crate) fn seconds(&self, now: Instant) -> f64 {
        self.value * self.weight(now)
    }

    fn weight(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

/// A node that may be asked, and what speaks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Offer {
    pub(crate) node: NodeId,
    /// Whether it is asked only when everybody else failed: no copy of it is recorded, or it is known to be down.
    pub(crate) last: bool,
    /// Whether it seems sick.
    pub(crate) sick: bool,
    pub(crate) tier: Tier,
    /// Its latency in seconds.
    pub(crate) latency: f64,
    /// How many reads of it are under way here.
    pub(crate) in_flight: usize,
}

impl Offer {
    fn group(&self) -> (bool, bool, Tier) {
        (self.last, self.sick, self.tier)
    }

    fn cost(&self) -> f64 {
        self.latency * number(self.in_flight + 1)
    }
}

/// A node's latency in seconds, from what was measured of its reads and its pings.
pub(crate) fn latency(reads: f64, rtt: Option<Duration>) -> f64 {
    match rtt {
        None if reads == 0.0 => UNKNOWN,
        rtt => reads.max(rtt.unwrap_or_default().as_secs_f64()).max(NEAREST),
    }
}

/// Puts offers in the order in which to ask them. `draw` gives a number below its argument.
pub(crate) fn order(offers: &mut [Offer], mut draw: impl FnMut(usize) -> usize) {
    offers.sort_by(|a, b| a.group().cmp(&b.group()).then(a.cost().total_cmp(&b.cost())).then(a.node.cmp(&b.node)));
    let Some(best) = offers.first().copied() else { return };
    let is_comparable = |offer: &&Offer| offer.group() == best.group() && offer.cost() <= best.cost() * COMPARABLE;
    let comparable = offers.iter().take_while(is_comparable).count();
    // They are sorted by cost: the smaller index is the cheaper.
    let chosen = draw(comparable).min(draw(comparable));
    offers[..=chosen].rotate_right(1);
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 reads under way")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Latency, NodeId, Offer, Tier, latency, order};
    use std::collections::BTreeMap;

    fn offer(node: u64, tier: Tier, latency_ms: f64, in_flight: usize) -> Offer {
        Offer { node: NodeId(node), last: false, sick: false, tier, latency: latency_ms / 1000.0, in_flight }
    }

    fn ordered(offers: &[Offer], draw: impl FnMut(usize) -> usize) -> Vec<u64> {
        let mut offers = offers.to_vec();
        order(&mut offers, draw);
        offers.iter().map(|offer| offer.node.0).collect()
    }

    /// Who goes first how often when lots are drawn in each way possible.
    fn firsts(offers: &[Offer]) -> BTreeMap<u64, usize> {
        let mut firsts = BTreeMap::new();
        for one in 0..8 {
            for other in 0..8 {
                let mut lots = [one, other].into_iter();
                let order = ordered(offers, |below| lots.next().unwrap_or(0) % below);
                *firsts.entry(order[0]).or_default() += 1;
            }
        }
        firsts
    }

    #[test]
    fn nearer_tiers_go_first_then_cost_and_the_sick_and_the_last_behind() {
        let sick = |offer: Offer| Offer { sick: true, ..offer };
        let last = |offer: Offer| Offer { last: true, ..offer };
        let offers = [
            last(offer(1, Tier::Zone, 1.0, 0)),
            sick(offer(2, Tier::Zone, 1.0, 0)),
            offer(3, Tier::Elsewhere, 200.0, 0),
            offer(4, Tier::Elsewhere, 90.0, 0),
            offer(5, Tier::Region, 5.0, 9),
            offer(6, Tier::Zone, 400.0, 3),
            last(sick(offer(7, Tier::Zone, 1.0, 0))),
            sick(offer(8, Tier::Elsewhere, 1.0, 0)),
        ];
        assert_eq!(ordered(&offers, |_| 0), [6, 5, 4, 3, 2, 8, 1, 7]);
        assert_eq!(ordered(&[], |_| 0), [0; 0]);
    }

    #[test]
    fn a_far_region_is_never_chosen_by_chance_and_comparable_ones_share() {
        let two = [offer(1, Tier::Elsewhere, 80.0, 0), offer(2, Tier::Elsewhere, 200.0, 0)];
        assert_eq!(firsts(&two), BTreeMap::from([(1, 64)]));
        let four = [
            offer(1, Tier::Elsewhere, 80.0, 0),
            offer(2, Tier::Elsewhere, 90.0, 0),
            offer(3, Tier::Elsewhere, 100.0, 0),
            offer(4, Tier::Elsewhere, 140.0, 0),
        ];
        let firsts = firsts(&four);
        assert_eq!(firsts.keys().copied().collect::<Vec<_>>(), [1, 2, 3], "and the fourth is too far");
        assert!(firsts[&1] > firsts[&2] && firsts[&2] > firsts[&3], "{firsts:?}");
    }

    #[test]
    fn load_outweighs_distance_in_the_end_but_not_a_tier() {
        for (in_flight, first) in [(0, 1), (1, 1), (2, 2), (5, 2)] {
            let offers = [offer(1, Tier::Elsewhere, 80.0, in_flight), offer(2, Tier::Elsewhere, 200.0, 0)];
            assert_eq!(ordered(&offers, |_| 0)[0], first, "{in_flight} in flight");
        }
        let near = [offer(1, Tier::Region, 1.0, 50), offer(2, Tier::Elsewhere, 1.0, 0)];
        assert_eq!(ordered(&near, |_| 0), [1, 2]);
    }

    #[test]
    fn a_peak_shows_at_once_and_is_forgotten_slowly() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut measured = Latency::new(start);
        measured.note(Duration::from_millis(10), after(0));
        measured.note(Duration::from_secs(5), after(10));
        assert!((measured.seconds(after(10)) - 5.0).abs() < 0.01);
        measured.note(Duration::from_millis(10), after(20));
        assert!(measured.seconds(after(20)) > 4.9, "one good answer does not outweigh it");
        let decayed = measured.seconds(after(10_020));
        assert!((1.5..2.2).contains(&decayed), "{decayed}");
        assert!(measured.seconds(after(120_000)) < 0.001);
    }

    #[test]
    fn nobody_is_nearer_than_its_pings_say_and_the_unknown_are_far() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (reads, rtt, expected) in
            [(0.0, ms(80), 0.08), (0.2, ms(80), 0.2), (0.05, ms(80), 0.08), (0.0, ms(0), 0.001), (0.3, None, 0.3)]
        {
            assert!((latency(reads, rtt) - expected).abs() < 1e-9, "{reads} {rtt:?}");
        }
        assert!(latency(0.0, None) > 5.0);
    }
}
