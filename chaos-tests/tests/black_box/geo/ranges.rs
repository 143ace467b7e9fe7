//! A part of a blob that is far away.

use super::{MIB, WITHIN, holders, seed};
use portolan_chaos_tests::big::Big;
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::{Result, tool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Client;
use serde_json::json;
use std::time::{Duration, Instant};

const REPO: &str = "geo/ranges";
const SIZE_MIB: u64 = 256;
const RANGES: u32 = 5;
const RTT: Duration = Duration::from_millis(80);
/// One to ask, one for the sums, and what a connection that was idle needs until its window holds a mebibyte.
const ROUND_TRIPS: u32 = 14;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_range_comes_within_some_round_trips_and_costs_little_more_than_itself() -> Result<()> {
    if !tool::is_root("a_cold_range_comes_within_some_round_trips_and_costs_little_more_than_itself") {
        return Ok(());
    }
    let geo = Geo::start(geo::TWO, Plan { nodes_per_region: 1, ..Plan::default() }).await?;
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    let (from, reader) = (geo.nodes_of("eu-west")[0], geo.nodes_of("ap-south")[0]);
    // No copy is wanted there, so that none is on its way.
    geo.set_repos(from, REPO, &json!({"regions": {"only": ["eu-west"]}})).await?;
    let blob = Big::new(seed, SIZE_MIB);
    blob.push(geo.node(from), REPO).await?;
    geo.wait_known(reader, &blob, REPO, WITHIN).await?;
    // All of it would take ten seconds.
    geo.set_all("rate=200mbit")?;

    let url = format!("http://{}/v2/{REPO}/blobs/{}", geo.node(reader).registry, blob.digest);
    let before = geo.bytes_into("ap-south").await?;
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..RANGES {
        let start = dice.random_range(0..blob.size() - MIB);
        let asked = Instant::now();
        let answer =
            Client::new().get(&url).header("Range", format!("bytes={start}-{}", start + MIB - 1)).send().await?;
        assert_eq!(answer.status(), 206);
        assert_eq!(
            answer.headers()["content-range"],
            format!("bytes {start}-{}/{}", start + MIB - 1, blob.size()).as_str()
        );
        let bytes = answer.bytes().await?;
        times.push(asked.elapsed());
        assert!(bytes == blob.bytes(start..start + MIB), "wrong bytes at {start}");
    }
    let spent = began.elapsed();
    let each = (geo.bytes_into("ap-south").await? - before) / u64::from(RANGES);
    let ms: Vec<_> = times.iter().map(Duration::as_millis).collect();
    eprintln!(
        "{RANGES} ranges of 1 MiB in {ms:?} ms, each {:.2} MiB of WAN, {spent:?} in all",
        each as f64 / MIB as f64
    );
    // Whole chunks at both ends, headers, the table of sums.
    assert!(each < MIB * 8 / 5, "a range of 1 MiB cost {each} bytes");
    times.sort();
    assert!(times[times.len() / 2] < RTT * ROUND_TRIPS, "{ms:?} ms");
    assert!(!holders(&geo, &blob).contains(&reader), "the whole blob came");
    geo.down().await
}
