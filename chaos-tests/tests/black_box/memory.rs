//! P10: memory stays flat while a blob of 2 GiB goes in and out.

use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::{Result, wait};
use std::time::Duration;

const SIZE_MIB: u64 = 2048;
/// A tenth of the blob. About 65 MiB are an idle node's, 64 at most wait in the windows of what a far node fetches for
/// itself and for a client at the same time, and glibc's arenas keep some of what was freed.
const LIMIT_MIB: u64 = 200;
const REPO: &str = "flat/memory";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_flat_while_two_gibibytes_are_pushed_and_pulled() -> Result<()> {
    let mut cluster = Cluster::start(Options::patient()).await?;
    let blob = Big::new(1, SIZE_MIB);
    blob.push(&cluster.nodes()[0], REPO).await?;
    // The far region, before or while it replicates: the bytes stream through.
    assert_eq!(blob.pull(&cluster.nodes()[2], REPO, async |_| {}).await?, Pulled::Whole);
    assert_eq!(blob.pull(&cluster.nodes()[0], REPO, async |_| {}).await?, Pulled::Whole);
    for node in cluster.nodes() {
        wait::until(&format!("a copy at {}", node.name), Duration::from_secs(180), async || blob.check_file(node))
            .await?;
    }
    for node in cluster.nodes() {
        let peak = node.memory_kib("VmHWM")? / 1024;
        eprintln!("{}: peak {peak} MiB", node.name);
        assert!(peak < LIMIT_MIB, "{} peaked at {peak} MiB", node.name);
    }
    cluster.stop().await?;
    Ok(())
}
