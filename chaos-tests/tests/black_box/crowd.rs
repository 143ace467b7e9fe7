//! Many clients at once, most of them idle or slow: the others are served, and memory stays within its bounds.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::Image;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const IDLE: usize = 2_000;
const SLOW: usize = 100;
const UPLOADS: u64 = 64;
/// Per idle connection: sockets and buffers of hyper, and little else.
const IDLE_KIB: u64 = 24;
/// What an idle node takes, and what an upload may have under way: 1 MiB read ahead, 1 MiB on its way to the disk, and
/// the allocator's share.
const BASE_MIB: u64 = 120;
const UPLOAD_MIB: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_and_slow_clients_leave_others_served() -> Result<()> {
    let mut cluster = Cluster::start(Options::patient()).await?;
    let node = cluster.nodes()[0].clone();
    let before = node.memory_kib("VmRSS")?;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(&node.registry).await?);
    }
    // Each sends a byte of its head now and then, as a slow-loris does.
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        let mut stream = TcpStream::connect(&node.registry).await?;
        slow.spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(200));
            for byte in
                b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle()
            {
                pace.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        });
    }
    let image = Image::seeded(7, &[100_000, 5_000]);
    let registry = cluster.registry(0);
    registry.push("crowd/app", "v1", &image).await?;
    for reader in [0, 2] {
        cluster.registry(reader).pull_and_compare("crowd/app", "v1", &image).await?;
    }
    let grown = node.memory_kib("VmRSS")?.saturating_sub(before);
    eprintln!("{IDLE} idle and {SLOW} slow connections: {} MiB more", grown / 1024);
    assert!(grown < (IDLE + SLOW) as u64 * IDLE_KIB, "{grown} KiB for {IDLE} idle connections");
    drop(idle);
    slow.shutdown().await;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_while_sixty_four_uploads_run_through_another_node() -> Result<()> {
    // The bound does not depend on it. The nodes take every variable that begins with PORTOLAN_ for a setting.
    let mib = std::env::var("CROWD_UPLOAD_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(16);
    let mut cluster = Cluster::start(Options { regions: vec!["here", "there"], ..Options::patient() }).await?;
    let (owner, other) = (cluster.nodes()[0].clone(), cluster.nodes()[1].clone());
    let mut uploads = JoinSet::new();
    for seed in 0..UPLOADS {
        // Every second one begins at one node and goes on at the other.
        let (begin, finish) = (owner.clone(), if seed % 2 == 0 { other.clone() } else { owner.clone() });
        uploads.spawn(async move {
            let blob = Big::new(seed, mib);
            blob.push_across(&begin, &finish, "crowd/layers").await.map(|()| blob)
        });
    }
    let mut last = None;
    while let Some(done) = uploads.join_next().await {
        last = Some(done??);
    }
    let last = last.ok_or("no upload")?;
    assert_eq!(last.pull(&other, "crowd/layers", async |_| {}).await?, Pulled::Whole);
    for node in [&owner, &other] {
        let peak = node.memory_kib("VmHWM")? / 1024;
        eprintln!("{}: peak {peak} MiB with {UPLOADS} uploads of {mib} MiB", node.name);
        let bound = BASE_MIB + UPLOADS * UPLOAD_MIB;
        assert!(peak < bound, "{} peaked at {peak} MiB, the bound is {bound}", node.name);
    }
    cluster.stop().await?;
    Ok(())
}
