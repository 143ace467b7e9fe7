//! The bad days of the geo data plane, on the emulated WAN: each test is one thing that goes wrong, and what every
//! region must still get. Wants root.

mod absence;
mod acks;
mod cuts;
mod flapping;
mod full_disk;
mod heavy;
mod losses;
mod partition;
mod ranges;
mod repair;
mod residency;
mod sources;
mod stampede;

use futures::{StreamExt, TryStreamExt, stream};
use portolan_chaos_tests::big::Big;
use portolan_chaos_tests::geo::Geo;
use portolan_chaos_tests::{Result, kills, wait};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// How many pushes go on at once where many are wanted.
const AT_ONCE: usize = 8;

/// How long anything may take that is not measured.
const WITHIN: Duration = Duration::from_secs(60);

/// The seed of a run, which is printed: the blobs of a test come from it.
fn seed() -> u64 {
    kills::seed()
}

/// The nodes that have a whole file of a blob.
fn holders(geo: &Geo, blob: &Big) -> Vec<usize> {
    geo.all().filter(|at| blob.files(geo.node(*at)).is_ok_and(|files| !files.is_empty())).collect()
}

/// Waits until a region has so many whole files of each blob.
async fn wait_copies(geo: &Geo, region: &str, blobs: &[Big], copies: usize) -> Result<()> {
    let nodes = geo.nodes_of(region);
    for blob in blobs {
        wait::until(&format!("{copies} copies in {region}"), WITHIN, async || {
            let holders = holders(geo, blob);
            let here = holders.iter().filter(|at| nodes.contains(at)).count();
            if here >= copies { Ok(()) } else { Err(format!("held by {holders:?}")) }
        })
        .await?;
    }
    Ok(())
}

/// Pushes blobs to a node, about in this order, some at once.
async fn push_all<'a>(geo: &Geo, at: usize, blobs: impl Iterator<Item = (Big, &'a str)>) -> Result<()> {
    let node = geo.node(at);
    let pushes = stream::iter(blobs).map(async |(blob, repo)| blob.push(node, repo).await);
    pushes.buffer_unordered(AT_ONCE).try_collect().await
}

/// Pushes blobs while a region is cut off, and waits until every other region has a copy of each. The region is still
/// cut off then: once it is healed, they are cold there.
async fn push_behind_a_cut(geo: &Geo, region: &str, repo: &str, blobs: &[Big]) -> Result<()> {
    let regions = geo.regions().await?;
    let others: Vec<_> = regions.iter().filter(|name| *name != region).collect();
    let here = geo.nodes_of(others.first().ok_or("a WAN of one region")?)[0];
    geo.wan.cut(region)?;
    push_all(geo, here, blobs.iter().map(|blob| (*blob, repo))).await?;
    for other in others {
        wait_copies(geo, other, blobs, 1).await?;
    }
    Ok(())
}
