//! A source that dies in the middle of a pull.

use super::{MIB, WITHIN, push_behind_a_cut, seed, wait_copies};
use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::{Result, tool};

const REPO: &str = "geo/sources";
const SIZE_MIB: u64 = 256;

/// The peers that a node has read from, with how many bytes, the most first.
async fn sources(geo: &Geo, at: usize) -> Result<Vec<(usize, u64)>> {
    let metrics = geo.metrics(at).await?;
    let bytes = metrics.by("portolan_replication_fetched_bytes_total", "peer");
    let mut sources: Vec<_> =
        bytes.filter_map(|(peer, bytes)| Some((peer.parse::<usize>().ok()? - 1, bytes as u64))).collect();
    sources.retain(|(_, bytes)| *bytes > 0);
    sources.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    Ok(sources)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_killed_mid_stream_in_another_region_is_replaced_unseen_by_the_client() -> Result<()> {
    if !tool::is_root("a_source_killed_mid_stream_in_another_region_is_replaced_unseen_by_the_client") {
        return Ok(());
    }
    let mut geo = Geo::start(geo::THREE, Plan { nodes_per_region: 1, ..Plan::default() }).await?;
    let blob = Big::new(seed(), SIZE_MIB);
    let far = geo.regions().await?[2].clone();
    let reader = geo.nodes_of(&far)[0];
    push_behind_a_cut(&geo, &far, REPO, &[blob]).await?;
    // Slow enough that the end is far away when the source dies.
    geo.wan.heal();
    geo.set_all("rate=400mbit")?;
    geo.wait_known(reader, &blob, REPO, WITHIN).await?;

    let node = geo.node(reader).clone();
    let mut killed = None;
    let pulled = blob
        .pull(&node, REPO, async |came| {
            if killed.is_none() && came > 32 * MIB {
                let sources = sources(&geo, reader).await.expect("the reader tells its metrics");
                let (source, bytes) = sources[0];
                geo.cluster.kill(source).await.expect("the source can be killed");
                killed = Some((source, bytes));
            }
        })
        .await?;
    let (victim, bytes) = killed.ok_or("the blob came before its source was killed: nothing was tested")?;
    eprintln!("killed {} after it had given {} of {SIZE_MIB} MiB", geo.node(victim).name, bytes / MIB);
    assert_eq!(pulled, Pulled::Whole, "the client noticed");
    let after = sources(&geo, reader).await?;
    let (given, others): (Vec<_>, Vec<_>) = after.into_iter().partition(|(source, _)| *source == victim);
    assert!(given[0].1 < blob.size(), "the source died too late: nothing was tested");
    assert!(!others.is_empty(), "nobody took over");
    let fetched: u64 = given.iter().chain(&others).map(|(_, bytes)| bytes).sum();
    assert!(fetched < blob.size() + 32 * MIB, "{} MiB were fetched: it began anew", fetched / MIB);
    geo.cluster.restart(victim)?;
    geo.cluster.wait_ready(victim).await?;
    wait_copies(&geo, &far, &[blob], 1).await?;
    geo.down().await
}
