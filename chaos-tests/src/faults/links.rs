//! What the links between regions do while several faults are in force: each lies over what was there before it, and
//! takes nothing of the others along when it goes.

use crate::wan::link::{Link, LinkChange};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A direction, from one region to another.
pub type Pair = (String, String);

/// Both directions of some pairs.
pub fn both_ways(pairs: &[Pair]) -> Vec<Pair> {
    pairs.iter().flat_map(|(a, b)| [(a.clone(), b.clone()), (b.clone(), a.clone())]).collect()
}

struct Layer {
    pairs: Vec<Pair>,
    change: LinkChange,
    /// How often the change comes and goes, and since when.
    flaps: Option<(Duration, Instant)>,
}

impl Layer {
    fn is_on(&self, now: Instant) -> bool {
        self.flaps.is_none_or(|(period, since)| {
            let half = (period / 2).max(Duration::from_millis(1));
            (now.saturating_duration_since(since).as_micros() / half.as_micros()).is_multiple_of(2)
        })
    }
}

/// All links, by where they begin and end.
#[derive(Default)]
pub struct Links {
    base: BTreeMap<Pair, Link>,
    layers: BTreeMap<u64, Layer>,
}

impl Links {
    /// The links as they are without any fault.
    #[must_use]
    pub fn new(base: BTreeMap<Pair, Link>) -> Self {
        Self { base, layers: BTreeMap::new() }
    }

    /// Every direction that there is.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.base.keys()
    }

    /// Lays a change over some links.
    pub fn lay(&mut self, id: u64, pairs: Vec<Pair>, change: LinkChange) {
        self.layers.insert(id, Layer { pairs, change, flaps: None });
    }

    /// The same, for a change that is on for the first half of each period.
    pub fn flap(&mut self, id: u64, pairs: Vec<Pair>, change: LinkChange, period: Duration) {
        self.layers.insert(id, Layer { pairs, change, flaps: Some((period, Instant::now())) });
    }

    /// Takes it away; whether there was one.
    pub fn lift(&mut self, id: u64) -> bool {
        self.layers.remove(&id).is_some()
    }

    /// Whether a link comes and goes, so that it has to be looked at again.
    #[must_use]
    pub fn any_flaps(&self) -> bool {
        self.layers.values().any(|layer| layer.flaps.is_some())
    }

    /// What each link does at a moment.
    pub fn at(&self, now: Instant) -> impl Iterator<Item = (&Pair, Link)> {
        self.base.iter().map(move |(pair, link)| {
            let mut link = *link;
            for layer in self.layers.values().filter(|layer| layer.is_on(now) && layer.pairs.contains(pair)) {
                layer.change.apply(&mut link);
            }
            (pair, link)
        })
    }

    /// The links that are cut, or flap.
    #[must_use]
    pub fn cut(&self) -> BTreeSet<Pair> {
        let layers = self.layers.values().filter(|layer| layer.change.cut == Some(true));
        let cut = layers.flat_map(|layer| &layer.pairs);
        cut.chain(self.base.iter().filter(|(_, link)| link.cut).map(|(pair, _)| pair)).cloned().collect()
    }
}

/// A link as the change that makes any link so.
#[must_use]
pub fn whole(link: Link) -> LinkChange {
    LinkChange {
        delay: Some(link.delay),
        jitter: Some(link.jitter),
        loss: Some(link.loss),
        reorder: Some(link.reorder),
        rate: Some(link.rate),
        queue: Some(link.queue),
        cut: Some(link.cut),
    }
}

#[cfg(test)]
mod tests {
    use super::{Links, Pair, both_ways, whole};
    use crate::wan::link::{Link, LinkChange};
    use std::time::{Duration, Instant};

    fn pair() -> Pair {
        ("a".to_owned(), "b".to_owned())
    }

    fn links() -> Links {
        let base = Link { delay: Duration::from_millis(40), rate: 1_000, ..Link::default() };
        Links::new(both_ways(&[pair()]).into_iter().map(|pair| (pair, base)).collect())
    }

    fn link(links: &Links, now: Instant) -> Link {
        links.at(now).find(|(at, _)| **at == pair()).map(|(_, link)| link).unwrap_or_default()
    }

    const CUT: LinkChange =
        LinkChange { delay: None, jitter: None, loss: None, reorder: None, rate: None, queue: None, cut: Some(true) };

    #[test]
    fn what_is_lifted_leaves_the_others_in_force() {
        let (mut links, now) = (links(), Instant::now());
        let before = link(&links, now);
        links.lay(1, vec![pair()], CUT);
        links.lay(2, both_ways(&[pair()]), LinkChange { loss: Some(0.5), ..CUT });
        links.lay(3, vec![pair()], LinkChange { cut: None, rate: Some(7), ..CUT });
        assert_eq!(link(&links, now), Link { cut: true, loss: 0.5, rate: 7, ..before });
        assert!(links.lift(2) && !links.lift(2));
        assert_eq!(link(&links, now), Link { cut: true, rate: 7, ..before });
        assert_eq!(links.cut().into_iter().collect::<Vec<_>>(), [pair()]);
        assert!(links.lift(1) && links.lift(3));
        assert_eq!(link(&links, now), before);
        let mut other = Link { cut: true, queue: 9, ..Link::default() };
        whole(before).apply(&mut other);
        assert_eq!(other, before, "a whole change leaves nothing of the old");
    }

    #[test]
    fn a_flapping_link_is_cut_for_the_first_half_of_each_period() {
        let (mut links, now) = (links(), Instant::now());
        links.flap(1, vec![pair()], CUT, Duration::from_secs(2));
        for (after_ms, cut) in [(100, true), (900, true), (1_100, false), (1_900, false), (2_100, true)] {
            let later = Instant::now() + Duration::from_millis(after_ms);
            assert_eq!(link(&links, later).cut, cut, "{after_ms} ms");
        }
        assert!(links.any_flaps() && links.cut().contains(&pair()));
        links.lift(1);
        assert!(!links.any_flaps() && !link(&links, now).cut);
    }
}
