#![allow(clippy::unwrap_used, reason = "tests")]

use super::TagsLinearizable;
use super::search::{Verdict, search};
use super::uses::{Use, narrowed, uses};
use crate::history::Record;
use crate::invariants::hand::{Step, caught, delete, delete_manifest, evidence, get, passes, put};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

const NAMED: &str = "no order of the writes to r:t explains";

#[track_caller]
fn fits(steps: impl IntoIterator<Item = Step>) {
    passes(&TagsLinearizable, &evidence(steps));
}

#[track_caller]
fn contradicts(steps: impl IntoIterator<Item = Step>, records: usize) {
    caught(&TagsLinearizable, &evidence(steps), NAMED, records);
}

#[test]
fn a_tag_that_is_written_read_and_deleted_in_turn_fits() {
    fits([
        get(None).at(0, 1),
        put("a").at(2, 3),
        get(Some("a")).at(4, 5),
        delete().at(6, 7),
        get(None).at(8, 9),
        delete().status(404).at(10, 11),
        put("b").at(12, 13),
        get(Some("b")).at(14, 15),
    ]);
}

#[test]
fn a_read_of_what_was_replaced_is_caught_by_three_calls() {
    contradicts(
        [
            put("a").at(0, 10),
            get(Some("a")).at(11, 12),
            put("b").at(20, 30),
            get(Some("b")).at(31, 33),
            get(Some("a")).at(40, 41),
            get(Some("b")).at(42, 43),
            put("c").at(44, 45),
        ],
        3,
    );
}

#[test]
fn reads_that_go_back_are_caught_while_the_write_still_runs() {
    contradicts([put("a").at(0, 1), put("b").at(2, 100), get(Some("b")).at(3, 4), get(Some("a")).at(5, 6)], 4);
}

#[test]
fn a_read_of_what_was_never_written_is_caught() {
    contradicts([put("a").at(0, 1), get(Some("x")).at(2, 3)], 1);
}

#[test]
fn a_404_after_a_push_is_caught() {
    contradicts([put("a").at(0, 1), get(Some("a")).at(2, 3), get(None).at(4, 5)], 2);
}

#[test]
fn a_tag_that_comes_back_after_its_delete_is_caught() {
    contradicts([put("a").at(0, 1), delete().at(2, 3), get(None).at(4, 5), get(Some("a")).at(6, 7)], 3);
}

#[test]
fn a_delete_that_found_nothing_after_a_push_is_caught() {
    contradicts([put("a").at(0, 1), delete().status(404).at(2, 3)], 2);
}

#[test]
fn a_tag_that_stays_after_its_manifest_was_deleted_is_caught() {
    contradicts([put("a").at(0, 1), delete_manifest("a").at(2, 3), get(Some("a")).at(4, 5)], 3);
}

#[test]
fn deleting_another_manifest_removes_nothing() {
    fits([put("a").at(0, 1), put("b").at(2, 3), delete_manifest("a").at(4, 5), get(Some("b")).at(6, 7)]);
    contradicts([put("a").at(0, 1), put("b").at(2, 3), delete_manifest("a").at(4, 5), get(None).at(6, 7)], 3);
}

#[test]
fn writes_at_one_time_may_have_any_order() {
    fits([put("a").at(0, 10), put("b").at(0, 10), get(Some("a")).at(11, 12)]);
    fits([put("a").at(0, 10), put("b").at(0, 10), get(Some("b")).at(11, 12)]);
    contradicts([put("a").at(0, 10), put("b").at(0, 10), get(Some("b")).at(11, 12), get(Some("a")).at(13, 14)], 4);
}

#[test]
fn a_read_during_a_write_may_see_either() {
    fits([put("a").at(0, 1), put("b").at(2, 9), get(Some("a")).at(3, 4), get(Some("b")).at(5, 6)]);
}

#[test]
fn an_unknown_write_may_happen_late_or_never() {
    let before = [put("a").at(0, 1), put("b").lost().at(2, 3), get(Some("a")).at(4, 5)];
    fits(before.clone());
    let after = before.into_iter().chain([get(Some("b")).at(100, 101)]);
    fits(after.clone());
    contradicts(after.chain([get(Some("a")).at(102, 103)]), 4);
}

#[test]
fn an_unknown_delete_may_happen_late_or_never() {
    let before = [put("a").at(0, 1), delete().status(503).at(2, 3), get(Some("a")).at(4, 5)];
    fits(before.clone());
    fits(before.clone().into_iter().chain([get(None).at(6, 7)]));
    contradicts(before.into_iter().chain([get(None).at(6, 7), get(Some("a")).at(8, 9)]), 3);
}

#[test]
fn an_unknown_delete_of_a_manifest_explains_that_the_tag_is_gone() {
    fits([put("a").at(0, 1), delete_manifest("a").lost().at(2, 3), get(Some("a")).at(4, 5), get(None).at(6, 7)]);
}

#[test]
fn a_push_that_nobody_read_explains_what_deletes_found() {
    fits([put("a").lost().at(0, 1), delete().at(2, 3), get(None).at(4, 5)]);
    fits([put("v").at(0, 1), put("w").lost().at(2, 3), delete_manifest("w").at(4, 5), get(None).at(6, 7)]);
    fits([put("v").at(0, 1), put("w").lost().at(2, 3), delete_manifest("w").lost().at(4, 5), get(None).at(6, 7)]);
    contradicts([put("a").lost().at(0, 1), delete().at(2, 3), delete().at(4, 5)], 2);
}

#[test]
fn a_digest_that_is_put_twice_may_be_read_twice() {
    fits([
        put("a").at(0, 1),
        put("b").at(2, 3),
        put("a").lost().at(4, 5),
        get(Some("b")).at(6, 7),
        get(Some("a")).at(8, 9),
    ]);
    contradicts([put("a").at(0, 1), put("b").at(2, 3), put("a").at(4, 5), get(Some("b")).at(6, 7)], 3);
}

#[test]
fn a_refused_write_did_nothing() {
    contradicts([put("a").at(0, 1), put("b").status(400).at(2, 3), get(Some("b")).at(4, 5)], 1);
}

#[test]
fn marked_answers_and_repositories_with_a_bound_are_not_judged() {
    let stale = [put("a").at(0, 1), put("b").at(2, 3), get(Some("a")).stale(1).at(4, 5)];
    fits(stale);
    let mut bounded = evidence([put("a").at(0, 1), put("b").at(2, 3), get(Some("a")).at(4, 5)]);
    caught(&TagsLinearizable, &bounded, NAMED, 3);
    bounded.bounds.stale_repos.insert("r".to_owned(), 5);
    passes(&TagsLinearizable, &bounded);
}

#[test]
fn one_bad_tag_does_not_hide_behind_another() {
    let found = [
        put("a").at(0, 1),
        put("a").tagged("other").at(0, 1),
        get(None).at(2, 3),
        get(Some("a")).tagged("other").at(2, 3),
    ];
    contradicts(found, 2);
}

/// A history of a register that really was one: `uses` uses by `clients` clients, of which about every `lose`th write is
/// not heard of again, though it may happen, even late.
fn honest(random: &mut StdRng, uses: usize, clients: u64, lose: u32) -> Vec<Step> {
    let mut value: Option<String> = None;
    let mut late: Vec<(u64, String)> = Vec::new();
    let mut steps = Vec::new();
    for number in 0..uses {
        // The use takes effect at `now`; uses of several clients overlap around it.
        let now = number as u64 * 10 + 1_000;
        if let Some(place) = late.iter().position(|(due, _)| *due <= now) {
            value = Some(late.swap_remove(place).1);
        }
        let (start, end) = (now - random.random_range(0..clients * 10), now + random.random_range(0..clients * 10));
        let is_lost = random.random_ratio(1, lose);
        let digest = format!("d{number}");
        let step = match random.random_range(0..10) {
            0..3 if is_lost => {
                match random.random_range(0..3) {
                    0 => value = Some(digest.clone()),
                    1 => late.push((now + random.random_range(0..3_000), digest.clone())),
                    _ => {}
                }
                put(&digest).lost()
            }
            0..3 => {
                value = Some(digest.clone());
                put(&digest)
            }
            3 => {
                let had = value.take();
                if had.is_some() { delete() } else { delete().status(404) }
            }
            4 => match value.take() {
                Some(had) => delete_manifest(&had),
                None => get(None),
            },
            _ => get(value.as_deref()),
        };
        steps.push(step.at(start, end));
    }
    steps
}

#[test]
fn thousands_of_uses_with_unknown_writes_are_judged_within_seconds() {
    let seed = 6;
    eprintln!("seed {seed}");
    let steps = honest(&mut StdRng::seed_from_u64(seed), 3_000, 6, 12);
    let unknown = steps.iter().filter(|step| step.0.outcome() == crate::history::Outcome::Unknown).count();
    assert!(unknown >= 50, "only {unknown}");
    let begun = Instant::now();
    fits(steps.clone());
    eprintln!("fits in {:?}", begun.elapsed());
    // The worst case is one that does not fit, at the end, and is then made short.
    let read = steps.iter().find(|step| step.0.seen.digest.is_some()).unwrap().0.seen.digest.clone();
    let bad = get(read.as_deref()).at(100_000, 100_001);
    let found = caught(&TagsLinearizable, &evidence(steps.into_iter().chain([bad])), NAMED, 3);
    eprintln!("caught and made short in {:?}: {found:#?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn many_pushes_that_may_have_been_there_for_a_delete_cost_little() {
    let lost = (0..200).map(|number| put(&format!("u{number}")).lost().at(number, number + 10));
    let deletes = (0..200).map(|number| delete().at(1_000 + number * 10, 1_001 + number * 10));
    let steps: Vec<Step> = lost.chain(deletes).collect();
    let begun = Instant::now();
    fits(steps.clone());
    let one_more = steps.into_iter().chain([delete().at(5_000, 5_001)]);
    contradicts(one_more, 201);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn unknown_writes_that_are_all_read_late_cost_little() {
    // During a cut fifty pushes get no answer; they all happen, in some order, and are seen long after.
    let lost = (0..50).map(|number| put(&format!("u{number}")).lost().at(number, number + 10));
    let busy = (0..1_400).flat_map(|number| {
        let (at, digest) = (100 + number * 10, format!("d{number}"));
        [put(&digest).at(at, at + 2), get(Some(&digest)).at(at + 3, at + 4)]
    });
    let seen =
        (0..50).rev().map(|number| get(Some(&format!("u{number}"))).at(20_000 - number * 10, 20_001 - number * 10));
    let steps: Vec<Step> = lost.chain(busy).chain(seen).collect();
    let begun = Instant::now();
    fits(steps.clone());
    contradicts(steps.into_iter().chain([get(Some("d1399")).at(30_000, 30_001)]), 4);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// A register for the oracle.
struct Tag;

#[derive(Clone, Debug)]
enum Op {
    Put(String),
    Remove(Option<bool>),
    RemoveIf(String),
    Get(Option<String>),
}

impl Specification for Tag {
    type State = Option<String>;
    type Operation = Op;

    fn init() -> Self::State {
        None
    }

    fn apply(operation: &Op, state: &Self::State) -> (bool, Self::State) {
        match operation {
            Op::Put(digest) => (true, Some(digest.clone())),
            Op::Remove(was_there) => (was_there.is_none_or(|was_there| was_there == state.is_some()), None),
            Op::RemoveIf(digest) => (true, state.clone().filter(|state| state != digest)),
            Op::Get(seen) => (seen == state, state.clone()),
        }
    }
}

/// What the oracle says, which orders every write, also one that had no end: at the very end it harms nobody.
fn oracle(records: &[Record]) -> bool {
    let Some(spans) = uses(records).remove(&("r", "t")) else { return true };
    let mut moments = Vec::new();
    for (process, span) in spans.iter().enumerate() {
        let op = match span.use_ {
            Use::Put(digest) => Op::Put(digest.to_owned()),
            Use::Remove { was_there } => Op::Remove(span.end.map(|_| was_there)),
            Use::RemoveIf(digest) => Op::RemoveIf(digest.to_owned()),
            Use::Get(seen) => Op::Get(seen.map(str::to_owned)),
        };
        moments.push((span.start.0, false, process, Action::Call(op.clone())));
        moments.push((span.end.map_or(u64::MAX, |end| end.0), true, process, Action::Response(op)));
    }
    moments.sort_by_key(|(at, is_end, process, _)| (*at, *is_end, *process));
    let actions = moments.into_iter().map(|(_, _, process, action)| (process, action)).collect();
    WGLChecker::<Tag>::is_linearizable(History::from_actions(actions))
}

#[test]
fn the_search_agrees_with_the_oracle() {
    let seed = 20_260_101;
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut fitting, mut others) = (0, 0);
    for _ in 0..4_000 {
        // Few digests, so that they are put again, and a read or two that may be wrong.
        let uses_made = random.random_range(2..9);
        let mut steps = honest(&mut random, uses_made, 3, 3);
        for step in &mut steps {
            if random.random_ratio(1, 8) {
                let (start, end) = (step.0.start, step.0.end);
                let digest = format!("d{}", random.random_range(0..4));
                *step = match random.random_range(0..6) {
                    0 => put(&digest),
                    1 => put(&digest).lost(),
                    2 => delete().lost(),
                    3 => delete_manifest(&digest).lost(),
                    4 => get(None),
                    _ => get(Some(&digest)),
                };
                (step.0.start, step.0.end) = (start, end);
            }
        }
        let records = evidence(steps).history.0;
        let expected = oracle(&records);
        let spans = uses(&records).remove(&("r", "t")).unwrap_or_default();
        let verdict = search(&narrowed(&spans));
        assert_eq!(verdict == Verdict::Fits, expected, "{records:#?}");
        if expected { fitting += 1 } else { others += 1 }
    }
    eprintln!("{fitting} fit, {others} do not");
    assert!(fitting > 500 && others > 500, "{fitting} fit, {others} do not");
}
