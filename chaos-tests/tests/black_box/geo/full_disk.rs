//! A node without room for what its clients pull.

use super::{MIB, WITHIN, seed};
use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::tmpfs::Tmpfs;
use portolan_chaos_tests::{Result, tool, wait};

const REPO: &str = "geo/full-disk";
const DISK_MIB: usize = 512;
const RESERVE: u64 = 64 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_streams_pulls_through_and_gets_its_copies_once_there_is_room() -> Result<()> {
    if !tool::is_root("a_full_disk_streams_pulls_through_and_gets_its_copies_once_there_is_room") {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("portolan-chaos").tempdir()?;
    let data = folder.path().join("data");
    let disk = Tmpfs::mount_at(&data.join("ap-south-1"), DISK_MIB).await?;
    let environment = vec![
        ("PORTOLAN_STORAGE_RESERVE_BYTES", RESERVE.to_string()),
        ("PORTOLAN_REPLICATION_MAX_BACKOFF_MS", "2000".to_owned()),
        ("PORTOLAN_REPLICATION_RESCAN_MS", "2000".to_owned()),
    ];
    let geo =
        Geo::start(geo::TWO, Plan { nodes_per_region: 1, environment, folder: Some(data), ..Plan::default() }).await?;
    let reader = geo.nodes_of("ap-south")[0];
    let node = geo.node(reader).clone();
    assert_eq!(node.data, disk.path());
    // Room for a part of each blob, so that transfers begin to store and then must give up.
    let ballast = disk.path().join("ballast");
    let free = u64::try_from(disk.free()?)?;
    std::fs::write(&ballast, vec![1; usize::try_from(free - RESERVE - 24 * MIB)?])?;

    let seed = seed();
    let blobs: Vec<_> = (0..3).map(|number| Big::new(seed ^ (number + 1), 64)).collect();
    let from = geo.nodes_of("eu-west")[0];
    for blob in &blobs {
        blob.push(geo.node(from), REPO).await?;
        geo.wait_known(reader, blob, REPO, WITHIN).await?;
    }
    for round in 0..2 {
        let pulls = blobs.iter().map(|blob| blob.pull(&node, REPO, async |_| {}));
        for pulled in futures::future::join_all(pulls).await {
            assert_eq!(pulled?, Pulled::Whole, "round {round}");
        }
    }
    wait::until("the unfinished files to be gone", WITHIN, async || {
        let free = disk.free().map_err(|error| error.to_string())? as u64;
        if free > RESERVE { Ok(()) } else { Err(format!("{free} bytes free")) }
    })
    .await?;
    let kept: Vec<_> = blobs.iter().filter(|blob| blob.files(&node).is_ok_and(|files| !files.is_empty())).collect();
    assert!(kept.is_empty(), "there was no room for {kept:?}");

    std::fs::remove_file(&ballast)?;
    for blob in &blobs {
        geo.wait_copy(reader, blob, WITHIN).await?;
    }
    geo.wait_settled(geo.all(), WITHIN).await?;
    geo.down().await
}
