//! P1: nothing that was acknowledged is lost, whichever node dies at whichever moment.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::kills::{self, Plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    kills::run(&mut cluster, Plan { seed: kills::seed(), kills: kills::kills(), all_every: 0 }).await?;
    cluster.stop().await?;
    Ok(())
}
