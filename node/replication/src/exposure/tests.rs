use super::{Digest, Exposed, Losses, RegionExposure, Standing};
use portolan_meta::id::StoreId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;

fn digest(seed: u8) -> Digest {
    Digest::sha256_of(&[seed])
}

/// A blob whose holders answer.
fn standing(size: u64, at_ms: u64, region: Option<&str>, holders: &[u64]) -> Standing {
    Standing {
        size,
        generation: 1,
        at_ms,
        is_shown: true,
        holders: holders.iter().copied().map(StoreId).collect(),
        live_copies: holders.len(),
        lone_region: region.map(str::to_owned),
        silent_regions: BTreeSet::new(),
        missing: Vec::new(),
        surplus: Vec::new(),
        barred: BTreeSet::new(),
    }
}

/// A blob whose holders do not answer.
fn silent(size: u64, at_ms: u64, regions: &[&str]) -> Standing {
    let silent_regions = regions.iter().map(|region| (*region).to_owned()).collect();
    Standing { live_copies: 0, silent_regions, ..standing(size, at_ms, None, &[1, 2]) }
}

/// What is told of each region that has something.
fn told(rows: &[RegionExposure]) -> Vec<(&str, u64, u64, Option<u64>)> {
    let rows = rows.iter().filter(|row| row.blobs > 0 || row.bytes > 0 || row.oldest_at_ms.is_some());
    rows.map(|row| (row.region.as_str(), row.blobs, row.bytes, row.oldest_at_ms)).collect()
}

#[test]
fn each_region_tells_what_would_go_with_it_and_how_old_that_is() {
    let mut exposed = Exposed::new(10);
    exposed.note(digest(1), Some(&standing(5, 300, Some("eu"), &[1])));
    exposed.note(digest(2), Some(&standing(7, 200, Some("eu"), &[1, 2])));
    exposed.note(digest(3), Some(&standing(9, 100, None, &[1, 3])));
    exposed.note(digest(4), Some(&standing(9, 100, None, &[])));
    let report = exposed.report(["eu", "us"].into_iter(), false);
    assert_eq!((told(&report.regions), report.damaged), (vec![("eu", 2, 12, Some(200))], 1));
    assert_eq!(report.regions.iter().map(|row| row.region.as_str()).collect::<Vec<_>>(), ["eu", "us"]);
    assert_eq!(exposed.only_in("eu", 10), [digest(2), digest(1)]);
    assert_eq!(exposed.only_in("eu", 1), [digest(2)]);
    assert_eq!(exposed.damaged(10), [digest(4)]);
    exposed.note(digest(2), Some(&standing(7, 200, None, &[1, 3])));
    exposed.note(digest(1), None);
    exposed.note(digest(4), Some(&standing(9, 100, Some("us"), &[3])));
    let report = exposed.report(["eu", "us"].into_iter(), false);
    assert_eq!((told(&report.regions), report.damaged), (vec![("us", 1, 9, Some(100))], 0));
}

#[test]
fn what_hung_on_a_region_is_unreachable_while_it_is_silent_and_hangs_on_it_again_once_it_is_back() {
    let mut exposed = Exposed::new(10);
    exposed.note(digest(1), Some(&standing(5, 300, Some("eu"), &[1])));
    exposed.note(digest(2), Some(&standing(7, 200, None, &[1, 2])));
    assert_eq!(exposed.losses(), Losses::default());
    // One of two regions is gone, then both are.
    exposed.note(digest(1), Some(&silent(5, 300, &["eu"])));
    exposed.note(digest(2), Some(&standing(7, 200, Some("us"), &[1, 2])));
    let report = exposed.report(["eu", "us"].into_iter(), false);
    assert_eq!((told(&report.regions), report.damaged), (vec![("us", 1, 7, Some(200))], 0));
    assert_eq!(told(&report.unreachable), [("eu", 1, 5, Some(300))]);
    exposed.note(digest(2), Some(&silent(7, 200, &["eu", "us"])));
    let report = exposed.report(["eu", "us"].into_iter(), false);
    assert_eq!(told(&report.regions), []);
    // Either region would bring the second back: each counts it, the sums do so once.
    assert_eq!(told(&report.unreachable), [("eu", 2, 12, Some(200)), ("us", 1, 7, Some(200))]);
    assert_eq!((report.unreachable_blobs, report.unreachable_bytes), (2, 12));
    assert_eq!(exposed.unreachable_in("eu", 10), [digest(2), digest(1)]);
    assert_eq!((exposed.only_in("eu", 10), exposed.damaged(10)), (vec![], vec![]));
    let silent_regions = vec!["eu".to_owned(), "us".to_owned()];
    assert_eq!(exposed.losses(), Losses { damaged: 0, unreachable: 2, silent_regions });
    assert_eq!(exposed.digests().len(), 2, "they are compared with the facts again");
    exposed.note(digest(1), Some(&standing(5, 300, Some("eu"), &[1])));
    exposed.note(digest(2), Some(&standing(7, 200, None, &[1, 2])));
    let report = exposed.report(["eu", "us"].into_iter(), false);
    assert_eq!((told(&report.regions), told(&report.unreachable)), (vec![("eu", 1, 5, Some(300))], vec![]));
    assert_eq!(exposed.losses(), Losses::default());
}

#[test]
fn a_region_that_no_longer_keeps_blobs_is_told_with_what_it_has_and_then_with_zero() {
    let mut exposed = Exposed::new(10);
    exposed.note(digest(1), Some(&standing(5, 300, Some("old"), &[1])));
    let regions = |exposed: &Exposed| {
        let report = exposed.report(["eu"].into_iter(), false);
        report.regions.iter().map(|row| (row.region.clone(), row.blobs)).collect::<Vec<_>>()
    };
    assert_eq!(regions(&exposed), [("eu".to_owned(), 0), ("old".to_owned(), 1)]);
    exposed.note(digest(1), None);
    assert_eq!(regions(&exposed), [("eu".to_owned(), 0), ("old".to_owned(), 0)]);
}

#[test]
fn a_blob_whose_holders_nobody_knows_counts_as_unreachable_too() {
    let mut exposed = Exposed::new(10);
    exposed.note(digest(1), Some(&silent(5, 300, &[])));
    let report = exposed.report(["eu"].into_iter(), false);
    assert_eq!((report.unreachable_blobs, report.unreachable_bytes, told(&report.unreachable)), (1, 5, vec![]));
    assert_eq!(exposed.losses().unreachable, 1);
}

#[test]
fn more_than_may_be_remembered_is_known_to_be_incomplete() {
    let kinds = [standing(5, 300, Some("eu"), &[1]), silent(5, 300, &["eu"]), standing(5, 300, None, &[])];
    for kind in kinds {
        let mut exposed = Exposed::new(1);
        exposed.note(digest(1), Some(&kind));
        exposed.note(digest(1), Some(&kind));
        assert!(!exposed.report(std::iter::empty(), false).incomplete, "{kind:?}");
        assert!(exposed.report(std::iter::empty(), true).incomplete, "a scan is under way");
        exposed.note(digest(2), Some(&kind));
        assert!(exposed.report(std::iter::empty(), false).incomplete, "{kind:?}");
        assert_eq!(exposed.digests().len(), 1);
        exposed.begin_scan();
        assert!(!exposed.report(std::iter::empty(), false).incomplete, "{kind:?}");
    }
}

/// How a blob may stand.
fn some_standing(random: &mut StdRng) -> Option<Standing> {
    let (size, at_ms) = (random.random_range(1..100), random.random_range(0..50));
    let region = ["eu", "us", "ap"][random.random_range(0..3)];
    match random.random_range(0..5) {
        0 => None,
        1 => Some(standing(size, at_ms, Some(region), &[1])),
        2 => Some(silent(size, at_ms, &[region, "eu"])),
        3 => Some(standing(size, at_ms, None, &[])),
        _ => Some(Standing { is_shown: false, ..standing(size, at_ms, Some(region), &[1]) }),
    }
}

/// What is to be told of a region that such blobs hang on.
fn summed<'a>(region: &str, blobs: impl Iterator<Item = &'a Standing> + Clone) -> RegionExposure {
    RegionExposure {
        region: region.to_owned(),
        blobs: blobs.clone().count() as u64,
        bytes: blobs.clone().map(|blob| blob.size).sum(),
        oldest_at_ms: blobs.map(|blob| blob.at_ms).min(),
    }
}

#[test]
fn the_sums_are_those_of_the_blobs_whatever_changes() {
    for seed in 0..20 {
        let (mut random, mut exposed) = (StdRng::seed_from_u64(seed), Exposed::new(64));
        let mut facts: Vec<Option<Standing>> = vec![None; 40];
        for _ in 0..500 {
            let at: u8 = random.random_range(0..40);
            let fact = some_standing(&mut random);
            exposed.note(digest(at), fact.as_ref());
            facts[usize::from(at)] = fact;
        }
        let shown = facts.iter().flatten().filter(|fact| fact.is_shown);
        let report = exposed.report(["ap", "eu", "us"].into_iter(), false);
        let lone = |region| summed(region, shown.clone().filter(|fact| fact.lone_region.as_deref() == Some(region)));
        assert_eq!(report.regions, ["ap", "eu", "us"].map(lone), "seed {seed}");
        let hidden = |region| summed(region, shown.clone().filter(|fact| fact.silent_regions.contains(region)));
        assert_eq!(report.unreachable, ["ap", "eu", "us"].map(hidden), "seed {seed}");
        let all = summed("", shown.clone().filter(|fact| !fact.silent_regions.is_empty()));
        assert_eq!((report.unreachable_blobs, report.unreachable_bytes), (all.blobs, all.bytes), "seed {seed}");
        let damaged = shown.clone().filter(|fact| fact.holders.is_empty()).count();
        assert_eq!(report.damaged, damaged as u64, "seed {seed}");
    }
}
