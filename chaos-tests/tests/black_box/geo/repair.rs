//! A node that is lost for good.

use super::{MIB, WITHIN, holders, push_all, seed, wait_copies};
use portolan_chaos_tests::big::Big;
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::{Result, tool, wait};
use serde_json::json;
use std::time::{Instant, SystemTime};

/// In two regions, so that the loss of one node leaves three copies.
const SAFE: &str = "geo/repair/safe";
/// In one region: the loss of a node leaves one copy of what it had.
const ENDANGERED: &str = "geo/repair/endangered";
const BLOBS: u64 = 40;

/// What a lost node had, and when each of the others came to have it too.
fn remade(geo: &Geo, blobs: &[Big], before: &[Vec<usize>], region: &[usize]) -> Vec<(usize, SystemTime)> {
    let mut found = Vec::new();
    for (blob, before) in blobs.iter().zip(before) {
        for at in holders(geo, blob).into_iter().filter(|at| region.contains(at) && !before.contains(at)) {
            let file = blob.files(geo.node(at)).ok().and_then(|files| files.first().cloned());
            found.extend(file.and_then(|file| std::fs::metadata(file).ok()?.modified().ok()).map(|time| (at, time)));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_nodes_copies_are_made_anew_unasked_and_those_with_one_copy_left_first() -> Result<()> {
    if !tool::is_root("a_lost_nodes_copies_are_made_anew_unasked_and_those_with_one_copy_left_first") {
        return Ok(());
    }
    let environment = vec![
        ("PORTOLAN_CLUSTER_DOWN_AFTER_MS", "2000".to_owned()),
        ("PORTOLAN_CLUSTER_OUT_AFTER_MS", "4000".to_owned()),
        // One after the other, so that there is an order to see.
        ("PORTOLAN_REPLICATION_SMALL_FETCHES", "1".to_owned()),
        ("PORTOLAN_REPLICATION_LARGE_FETCHES", "1".to_owned()),
    ];
    let mut geo = Geo::start(geo::TWO, Plan { nodes_per_region: 3, environment, ..Plan::default() }).await?;
    let seed = seed();
    let leader = geo.cluster.leader().await?;
    let region = geo.nodes_of("eu-west");
    let victim = region.iter().copied().rfind(|at| *at != leader).ok_or("a region of one node")?;
    let here = region.iter().copied().find(|at| *at != victim).ok_or("a region of one node")?;
    geo.set_repos(here, ENDANGERED, &json!({"regions": {"only": ["eu-west"]}})).await?;
    let blobs = |salt: u64| (0..BLOBS).map(|number| Big::new(seed ^ (salt + number), 1)).collect::<Vec<_>>();
    let (endangered, safe) = (blobs(1_000), blobs(2_000));
    // By turns, so that neither the order of their pushes nor its reverse is what is wanted.
    let turns = endangered.iter().zip(&safe).flat_map(|(endangered, safe)| [(*endangered, ENDANGERED), (*safe, SAFE)]);
    push_all(&geo, here, turns).await?;
    wait_copies(&geo, "eu-west", &endangered, 2).await?;
    for name in ["eu-west", "ap-south"] {
        wait_copies(&geo, name, &safe, 2).await?;
    }
    geo.wait_settled(geo.all(), WITHIN).await?;
    let living: Vec<_> = region.iter().copied().filter(|at| *at != victim).collect();
    let before = |blobs: &[Big]| blobs.iter().map(|blob| holders(&geo, blob)).collect::<Vec<_>>();
    let (endangered_before, safe_before) = (before(&endangered), before(&safe));
    // Where the node that took the push is no target, it has a copy all the same.
    let wants_another = |before: &&Vec<usize>| before.contains(&victim) && living.iter().any(|at| !before.contains(at));
    let count = |before: &[Vec<usize>]| before.iter().filter(wants_another).count();
    let (lone, spare) = (count(&endangered_before), count(&safe_before));
    eprintln!("with {} go copies of {lone} endangered blobs and of {spare} safe ones", geo.node(victim).name);
    assert!(lone >= 5 && spare >= 5, "too few: nothing is tested");

    geo.cluster.kill(victim).await?;
    let killed = Instant::now();
    wait::until("every copy to be made anew", WITHIN, async || {
        let count = remade(&geo, &endangered, &endangered_before, &living).len();
        let others = remade(&geo, &safe, &safe_before, &living).len();
        if (count, others) == (lone, spare) { Ok(()) } else { Err(format!("{count} of {lone}, {others} of {spare}")) }
    })
    .await?;
    eprintln!("all were made anew {:.1} s after the kill", killed.elapsed().as_secs_f64());
    let (urgent, rest) =
        (remade(&geo, &endangered, &endangered_before, &living), remade(&geo, &safe, &safe_before, &living));
    // Each node keeps the order by itself. What was begun before it knew of all may be out of turn.
    let pairs = urgent.iter().flat_map(|urgent| rest.iter().map(move |rest| (urgent, rest)));
    let orders: Vec<bool> = pairs.filter(|(a, b)| a.0 == b.0).map(|(urgent, rest)| urgent.1 <= rest.1).collect();
    let right = orders.iter().filter(|right| **right).count();
    eprintln!("{right} of {} pairs in order", orders.len());
    assert!(right * 10 >= orders.len() * 9, "{right} of {} pairs are in order", orders.len());
    let alive: Vec<_> = geo.all().filter(|at| *at != victim).collect();
    geo.wait_settled(alive.clone(), WITHIN).await?;
    for (blob, repo) in endangered.iter().map(|blob| (blob, ENDANGERED)).chain(safe.iter().map(|blob| (blob, SAFE))) {
        let there = holders(&geo, blob);
        assert!(living.iter().all(|at| there.contains(at)), "{repo}: {there:?}");
        blob.check_file(geo.node(living[0]))?;
    }
    let extra: u64 = endangered.iter().map(|blob| if holders(&geo, blob).len() > 3 { MIB } else { 0 }).sum();
    assert_eq!(extra, 0, "copies were made where none is wanted");
    geo.down().await
}
