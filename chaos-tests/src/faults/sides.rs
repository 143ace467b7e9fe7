//! Who still reaches a majority of the voters. Pure, so that a schedule is planned by what a run is judged by.

use std::collections::BTreeSet;

/// A node, as far as reaching it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    pub region: String,
    pub voter: bool,
}

/// What nodes that stopped and links that are cut make of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Whether no voter reaches a majority of them.
    pub stops_writes: bool,
    /// The nodes that go on and do not reach a majority, or nobody whom one follows.
    pub minority: Vec<usize>,
}

/// Works it out. A link that is cut in one direction carries no answers, so that it counts as cut.
#[must_use]
pub fn sides(places: &[Place], stopped: &BTreeSet<usize>, cut: &BTreeSet<(String, String)>) -> Sides {
    let majority = places.iter().filter(|place| place.voter).count() / 2 + 1;
    let is_cut = |a: &Place, b: &Place| cut.iter().any(|(from, to)| *from == a.region && *to == b.region);
    let meet = |a: &Place, b: &Place| !is_cut(a, b) && !is_cut(b, a);
    let going: Vec<_> = places.iter().enumerate().filter(|(at, _)| !stopped.contains(at)).collect();
    let reaches = |from: &Place| going.iter().filter(|(_, to)| to.voter && meet(from, to)).count() >= majority;
    // Any of these may lead; those who meet a majority and no leader have none.
    let leaders: Vec<_> = going.iter().filter(|(_, place)| place.voter && reaches(place)).collect();
    let led = |place: &Place| reaches(place) && leaders.iter().any(|(_, leader)| meet(place, leader));
    Sides {
        stops_writes: leaders.is_empty(),
        minority: going.iter().filter(|(_, place)| !led(place)).map(|(at, _)| *at).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Sides, sides};
    use std::collections::BTreeSet;

    /// Regions `a`, `b`, `c`; two nodes each, of which the first votes.
    fn six() -> Vec<Place> {
        let place =
            |name: &str| Place { name: name.to_owned(), region: name[..1].to_owned(), voter: name.ends_with('1') };
        ["a-1", "a-2", "b-1", "b-2", "c-1", "c-2"].map(place).into()
    }

    fn after(stopped: &[usize], cut: &[(&str, &str)]) -> (bool, Vec<usize>) {
        let cut: BTreeSet<_> = cut.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let Sides { stops_writes, minority } = sides(&six(), &stopped.iter().copied().collect(), &cut);
        (stops_writes, minority)
    }

    #[test]
    fn a_minority_is_who_goes_on_and_reaches_no_majority() {
        assert_eq!(after(&[], &[]), (false, vec![]));
        assert_eq!(after(&[0], &[]), (false, vec![]), "another voter is gone, and nobody is cut off");
        assert_eq!(after(&[0, 2], &[]), (true, vec![1, 3, 4, 5]));
        assert_eq!(after(&[1, 3, 5], &[]), (false, vec![]), "no voters");
        assert_eq!(after(&[0, 1, 2, 3, 4, 5], &[]), (true, vec![]));
        assert_eq!(after(&[], &[("a", "b"), ("a", "c")]), (false, vec![0, 1]), "one way is both");
        assert_eq!(after(&[], &[("a", "b"), ("b", "a")]), (false, vec![]), "both reach the third");
        assert_eq!(after(&[4], &[("b", "a")]), (true, vec![0, 1, 2, 3, 5]));
        assert_eq!(after(&[2], &[("a", "b"), ("a", "c")]), (true, vec![0, 1, 3, 4, 5]));
    }
}
