//! A node that certainly reaches no majority can confirm nothing: whatever it says of tags and lists then is marked, or
//! refused. This holds also where nobody else can move them meanwhile, so that no answer is wrong by its age.

use super::super::evidence::{Event, Evidence};
use crate::history::{Call, Micros, Record};

/// Faults whose nodes and links are as broken as they say from when they were made until they are mended. Others
/// stop nodes only perhaps, or for a part of their time.
const CERTAIN: [&str; 8] = ["kill", "pause", "forget", "wipe", "lose-disk", "cut", "isolate", "isolate-leader"];

/// When a node was cut off.
struct Window<'a> {
    node: usize,
    from: Micros,
    to: Micros,
    event: &'a Event,
}

/// Every answer that a node gave as if it knew, while it could not, with the fault that cut it off.
pub(super) fn confident(evidence: &Evidence) -> impl Iterator<Item = (&Record, &Event)> {
    let windows: Vec<Window> = evidence.events.iter().flat_map(|event| windows(evidence, event)).collect();
    evidence.history.0.iter().filter_map(move |read| {
        let is_within =
            |window: &&Window| window.node == read.node && window.from <= read.start && read.end <= window.to;
        let is_unmarked = is_linearizable(evidence, read) && read.is_ok() && !read.is_marked();
        Some((read, windows.iter().find(is_within).filter(|_| is_unmarked)?.event))
    })
}

fn windows<'a>(evidence: &'a Evidence, event: &'a Event) -> Vec<Window<'a>> {
    let end = event.end.unwrap_or(Micros(u64::MAX));
    let together = || evidence.events.iter().filter(|other| other.overlaps(event.begin, end));
    let Some(from) = event.made.filter(|_| together().all(|other| CERTAIN.contains(&other.kind.as_str()))) else {
        return Vec::new();
    };
    // Whatever is mended first may bring a majority back.
    let mended = together().filter_map(|other| other.mending.or(other.end)).filter(|mended| event.begin < *mended);
    let to = mended.min().unwrap_or(Micros(u64::MAX));
    event.minority.iter().map(|&node| Window { node, from, to, event }).collect()
}

/// Whether what was asked for is confirmed by the leader, unless the answer says otherwise.
fn is_linearizable(evidence: &Evidence, read: &Record) -> bool {
    let bound = match &read.call {
        Call::GetTag { repo, .. } | Call::ListTags { repo, .. } | Call::Referrers { repo, .. } => repo.as_str(),
        Call::Catalog { .. } => "",
        _ => return false,
    };
    !evidence.bounds.stale_repos.contains_key(bound)
}

#[cfg(test)]
mod tests {
    use super::super::super::hand::{Step, caught, event, evidence, get, list, passes, put};
    use super::super::StaleIsMarked;
    use super::{Evidence, Micros};

    /// Node 2 is cut off from 10 s on, for certain from 11 s on; from 20 s on the cut is mended, which is known at 21 s.
    fn cut(kind: &str, steps: impl IntoIterator<Item = Step>) -> Evidence {
        let mut evidence = evidence([put("m").at(0, 1)].into_iter().chain(steps));
        let mut cut = event(kind, 10_000, Some(21_000));
        (cut.minority, cut.made, cut.mending) = (vec![2], Some(Micros(11_000_000)), Some(Micros(20_000_000)));
        evidence.events.push(cut);
        evidence
    }

    #[test]
    fn an_answer_without_a_mark_from_a_node_that_is_cut_off_is_caught() {
        let words = "c-1 answered as if it knew, though `isolate` cut it off";
        caught(&StaleIsMarked, &cut("isolate", [get(Some("m")).on(2).at(12_000, 12_001)]), words, 1);
        caught(&StaleIsMarked, &cut("isolate", [list(None, &["t"]).on(2).at(12_000, 12_001)]), words, 1);
    }

    #[test]
    fn marked_and_refused_answers_and_those_of_other_nodes_and_times_pass() {
        for step in [
            get(Some("m")).stale(12).on(2).at(12_000, 12_001),
            get(None).status(503).on(2).at(12_000, 13_001),
            get(Some("m")).on(1).at(12_000, 12_001),
            get(Some("m")).on(2).at(10_500, 10_600),
            get(Some("m")).on(2).at(19_000, 20_500),
        ] {
            passes(&StaleIsMarked, &cut("isolate", [step]));
        }
    }

    #[test]
    fn a_fault_that_may_not_be_in_force_all_the_time_proves_nothing() {
        passes(&StaleIsMarked, &cut("flap", [get(Some("m")).on(2).at(12_000, 12_001)]));
        let mut two = cut("isolate", [get(Some("m")).on(2).at(12_000, 12_001)]);
        two.events.push(event("restart", 11_000, Some(30_000)));
        passes(&StaleIsMarked, &two);
        let mut bounded = cut("isolate", [get(Some("m")).on(2).at(12_000, 12_001)]);
        bounded.bounds.stale_repos.insert("r".to_owned(), 2);
        passes(&StaleIsMarked, &bounded);
    }
}
