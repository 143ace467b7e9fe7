//! A region that is cut off while it pulls.

use super::{MIB, WITHIN, push_behind_a_cut, seed, wait_copies};
use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::{Result, tool, wait};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const REPO: &str = "geo/cuts";
const PULLS: u64 = 50;
/// Shorter than the silence after which a node is committed as down.
const CUT_FOR: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_during_fifty_cold_pulls_completes_nothing_wrong_and_all_converges_after_it() -> Result<()> {
    if !tool::is_root("a_cut_during_fifty_cold_pulls_completes_nothing_wrong_and_all_converges_after_it") {
        return Ok(());
    }
    let geo = Geo::start(geo::THREE, Plan { nodes_per_region: 2, ..Plan::default() }).await?;
    let seed = seed();
    let blobs: Vec<_> = (0..PULLS).map(|number| Big::new(seed ^ (number + 1), 2)).collect();
    let far = geo.regions().await?[2].clone();
    let readers = geo.nodes_of(&far);
    push_behind_a_cut(&geo, &far, REPO, &blobs).await?;
    // 100 MiB at 100 Mbit/s are eight seconds.
    geo.wan.heal();
    geo.set_all("rate=50mbit")?;
    for reader in &readers {
        geo.wait_known(*reader, &blobs[blobs.len() - 1], REPO, WITHIN).await?;
    }
    let before = geo.bytes_into(&far).await?;
    let mut pulls = JoinSet::new();
    for (number, blob) in blobs.iter().copied().enumerate() {
        let node = geo.node(readers[number % readers.len()]).clone();
        pulls.spawn(async move { blob.pull(&node, REPO, async |_| {}).await.map(|pulled| (number, pulled)) });
    }
    wait::until("a part of the bytes", WITHIN, async || {
        let came = geo.bytes_into(&far).await.map_err(|error| error.to_string())? - before;
        if came > 20 * MIB { Ok(()) } else { Err(format!("{came} bytes")) }
    })
    .await?;
    geo.wan.cut(&far)?;
    let cut = Instant::now();
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    let mut take = |pulled: (usize, Pulled)| match pulled {
        (number, Pulled::Whole) => whole.push((number, cut.elapsed())),
        other => broken.push(other),
    };
    // A pull that is complete with other bytes is an error, here and below.
    while let Ok(Some(pulled)) = tokio::time::timeout_at((cut + CUT_FOR).into(), pulls.join_next()).await {
        take(pulled??);
    }
    let open = pulls.len();
    geo.wan.heal();
    let healed = Instant::now();
    while let Some(pulled) = pulls.join_next().await {
        take(pulled??);
    }
    eprintln!("{open} of {PULLS} pulls outlasted the cut; {} broke off: {broken:?}", broken.len());
    assert!(open >= 10, "{open} pulls were open when the cut was healed: nothing was tested");
    for (number, blob) in blobs.iter().enumerate() {
        geo.pull_until_whole(readers[number % readers.len()], blob, REPO, WITHIN).await?;
    }
    eprintln!("every blob was pulled whole {:.1} s after the healing", healed.elapsed().as_secs_f64());
    // Two nodes of a region are both targets of every blob.
    wait_copies(&geo, &far, &blobs, 2).await?;
    geo.wait_settled(geo.all(), WITHIN).await?;
    eprintln!("everything converged {:.1} s after the healing", healed.elapsed().as_secs_f64());
    for blob in &blobs {
        for reader in &readers {
            blob.check_file(geo.node(*reader))?;
        }
    }
    geo.down().await
}
