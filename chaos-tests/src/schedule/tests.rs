#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::{Planned, Pool, Schedule, Step, keeps_majority, may_join, stops, undo_each_other};
use crate::fault::Fault;
use crate::faults::sides::Place;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

const WORDS: [&str; 22] = [
    "kill *",
    "pause *",
    "restart *",
    "kill-all",
    "cut * *",
    "cut-one-way * *",
    "isolate *",
    "isolate-leader",
    "flap * * 2s",
    "slow * * 400ms",
    "lossy * * 5%",
    "thin * * 10mbit",
    "full-disk *",
    "slow-fsync * 100ms",
    "failing-fsync * raft/*.log",
    "forget *",
    "rot *",
    "damage-log *",
    "lose-disk *",
    "clock * +1h",
    "memory * 256MiB",
    "move-leader",
];

/// Three regions; the first node of each votes.
fn places(nodes_per_region: usize) -> Vec<Place> {
    let place = |region: &str, at: usize| Place {
        name: format!("{region}-{}", at + 1),
        region: region.to_owned(),
        voter: at == 0,
    };
    ["a", "b", "c"].iter().flat_map(|region| (0..nodes_per_region).map(|at| place(region, at))).collect()
}

fn fault(words: &str) -> Fault {
    words.parse().unwrap()
}

/// A pool of some of the faults, with limits of all sorts.
fn pool(random: &mut StdRng) -> Pool {
    let words: Vec<&str> = WORDS.into_iter().filter(|_| random.random_bool(0.6)).collect();
    let mut pool = Pool::of(&words).unwrap();
    for (_, weight) in &mut pool.faults {
        *weight = random.random_range(1..10);
    }
    pool.at_once = random.random_range(1..5);
    pool.lose_majority = random.random_bool(0.2);
    pool.lasts = Duration::from_millis(random.random_range(100..2_000))..Duration::from_secs(20);
    pool.gaps = Duration::ZERO..Duration::from_millis(random.random_range(1..5_000));
    pool.quiet = Duration::from_secs(random.random_range(0..60));
    pool
}

#[test]
fn drawn_schedules_keep_every_bound_and_repeat_by_their_seed() {
    let seed = 20_261_121;
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut most, mut kinds) = (0, BTreeSet::new());
    for round in 0..300 {
        let (pool, places) = (pool(&mut random), places(random.random_range(1..4)));
        let length = Duration::from_secs(random.random_range(1..600));
        let schedule = Schedule::draw(round, length, &pool, &places);
        assert_eq!(schedule, Schedule::draw(round, length, &pool, &places), "round {round}");
        assert!(schedule.0.is_sorted_by_key(|planned| planned.begin));
        for (at, planned) in schedule.0.iter().enumerate() {
            assert!(
                !planned.fault.to_string().contains("* ") && !planned.fault.to_string().ends_with('*'),
                "{planned:?}"
            );
            assert!(planned.end + pool.quiet <= length && planned.begin < planned.end, "round {round}: {planned:?}");
            kinds.insert(planned.fault.kind());
            let others: Vec<_> = schedule.0[..at].iter().filter(|other| other.overlaps(planned)).collect();
            most = most.max(others.len() + 1);
            assert!(others.len() < pool.at_once, "round {round}: {others:?}");
            assert!(others.iter().all(|other| !undo_each_other(&other.fault, &planned.fault, &places)));
            let stopped: BTreeSet<usize> =
                others.iter().chain([&planned]).flat_map(|one| stops(&one.fault, 0, &places)).collect();
            let voters = stopped.iter().filter(|node| places[**node].voter).count();
            let is_bearable = voters <= 1 || (planned.fault == Fault::KillAll && others.is_empty());
            assert!(pool.lose_majority || is_bearable, "round {round}: {stopped:?} of three voters' nodes");
        }
    }
    assert_eq!(kinds.len(), WORDS.len(), "drawn: {kinds:?}");
    assert_eq!(most, 4, "so many were in force at once");
}

#[test]
fn every_fault_of_a_pool_comes_before_one_comes_again() {
    let mut pool = Pool::of(&["kill *", "kill-all", "rot *", "cut * *", "clock * +1h"]).unwrap();
    (pool.at_once, pool.lasts) = (1, Duration::from_secs(2)..Duration::from_secs(3));
    for seed in 0..20 {
        let schedule = Schedule::draw(seed, Duration::from_secs(120), &pool, &places(1));
        for round in schedule.0.chunks_exact(5) {
            let kinds: BTreeSet<_> = round.iter().map(|planned| planned.fault.kind()).collect();
            assert_eq!(kinds.len(), 5, "seed {seed}: {kinds:?}");
        }
    }
}

#[test]
fn other_seeds_give_other_schedules() {
    let (pool, places) = (Pool::of(&["kill *", "pause *"]).unwrap(), places(1));
    let length = Duration::from_secs(300);
    assert_ne!(Schedule::draw(1, length, &pool, &places), Schedule::draw(2, length, &pool, &places));
    assert!(Schedule::draw(1, length, &pool, &places).0.len() > 15);
}

#[test]
fn a_majority_is_kept_whoever_leads() {
    let kept = |words: &[&str]| {
        let faults: Vec<Fault> = words.iter().map(|words| fault(words)).collect();
        keeps_majority(&faults.iter().collect::<Vec<_>>(), &places(2))
    };
    assert!(kept(&["kill a-1"]) && kept(&["kill a-1", "kill b-2"]), "b-2 does not vote");
    assert!(!kept(&["kill a-1", "pause b-1"]));
    assert!(!kept(&["kill-all"]));
    assert!(kept(&["isolate a", "kill a-1"]) && !kept(&["isolate a", "kill b-1"]));
    assert!(kept(&["cut a b"]) && !kept(&["cut a b", "kill c-1"]));
    assert!(kept(&["hang-leader"]) && !kept(&["hang-leader", "kill a-1"]));
    assert!(kept(&["move-leader", "kill a-1"]), "whoever is told to hand over goes on");
    assert!(kept(&["isolate-leader"]) && !kept(&["isolate-leader", "memory b-1 64MiB"]));
    assert!(kept(&["clock a-1 +1h", "slow-fsync b-1 1s", "rot c-1"]));
}

#[test]
fn faults_that_undo_each_other_are_never_together() {
    let clash = |a: &str, b: &str| {
        let (a, b) = (fault(a), fault(b));
        let both = [undo_each_other(&a, &b, &places(2)), undo_each_other(&b, &a, &places(2))];
        assert_eq!(both[0], both[1], "{a}, {b}");
        both[0]
    };
    assert!(clash("kill a-1", "pause a-1") && !clash("kill a-1", "pause a-2"));
    assert!(clash("kill-all", "clock a-2 +1h") && clash("hang-leader", "slow-fsync a-1 1s"));
    assert!(clash("cut a b", "isolate b") && clash("isolate-leader", "flap a c 1s") && !clash("cut a b", "cut a c"));
    assert!(clash("slow a b 1s", "slow b a 2s") && !clash("slow a b 1s", "lossy a b 1%"));
    assert!(clash("rot a-1", "rot b-1") && !clash("cut a b", "kill a-1"));
}

#[test]
fn a_fault_joins_others_only_while_there_is_room() {
    let seconds = Duration::from_secs;
    let planned = |words: &str, begin, end| Planned { fault: fault(words), begin: seconds(begin), end: seconds(end) };
    let pool = Pool { at_once: 2, ..Pool::of(&[]).unwrap() };
    let others = [planned("clock a-1 +1h", 0, 10), planned("rot b-1", 5, 15)];
    assert!(!may_join(&planned("clock c-1 +1h", 7, 8), &others, &pool, &places(1)));
    assert!(may_join(&planned("clock c-1 +1h", 11, 12), &others, &pool, &places(1)));
    assert!(!may_join(&planned("kill b-1", 11, 12), &others, &pool, &places(1)));
}

#[test]
fn steps_heal_before_they_break_at_one_moment() {
    let second = Duration::from_secs;
    let planned = |begin, end| Planned { fault: Fault::KillAll, begin: second(begin), end: second(end) };
    let steps = Schedule(vec![planned(1, 3), planned(2, 4), planned(3, 5)]).steps();
    let expected = [
        (1, Step::Inject(0)),
        (2, Step::Inject(1)),
        (3, Step::Heal(0)),
        (3, Step::Inject(2)),
        (4, Step::Heal(1)),
        (5, Step::Heal(2)),
    ];
    assert_eq!(steps, expected.map(|(at, step)| (second(at), step)));
}

#[test]
fn a_node_is_not_stopped_where_it_would_come_back_to_a_cut_off_region() {
    let places = places(2);
    let pool = Pool { at_once: 2, lose_majority: true, ..Pool::of(&[]).unwrap() };
    let planned = |words: &str, begin, end| Planned {
        fault: fault(words),
        begin: Duration::from_secs(begin),
        end: Duration::from_secs(end),
    };
    let isolated = [planned("isolate c", 0, 10)];
    assert!(!may_join(&planned("kill c-2", 5, 15), &isolated, &pool, &places));
    assert!(!may_join(&planned("kill-all", 5, 15), &isolated, &pool, &places));
    assert!(may_join(&planned("kill c-2", 11, 15), &isolated, &pool, &places));
    let cut = [planned("cut a b", 0, 10)];
    assert!(!may_join(&planned("kill a-2", 5, 15), &cut, &pool, &places), "the leader may be in b");
    assert!(may_join(&planned("kill c-2", 5, 15), &cut, &pool, &places));
    let leader = [planned("isolate-leader", 0, 10)];
    assert!(!may_join(&planned("kill a-2", 5, 15), &leader, &pool, &places), "its region may be the leader's");
}
