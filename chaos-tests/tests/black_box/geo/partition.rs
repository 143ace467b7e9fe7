//! What a region that is cut off still gives its clients: the partition contract.

use super::{WITHIN, seed};
use portolan_chaos_tests::client::{Failure, Registry};
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::{Result, tool, wait};
use reqwest::{Client, Response};
use serde_json::json;
use std::time::{Duration, Instant};

const FAIL: &str = "geo/contract/fail";
const STALE: &str = "geo/contract/stale";
/// `reads.linearizable_timeout_ms`, and what a busy machine adds.
const LIMIT: Duration = Duration::from_millis(1_000 + 400);

/// A GET of a path, and how long the answer took.
async fn get(geo: &Geo, at: usize, path: &str) -> Result<(Response, Duration)> {
    let asked = Instant::now();
    let answer = Client::new().get(format!("http://{}{path}", geo.node(at).registry)).send().await?;
    Ok((answer, asked.elapsed()))
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Tag reads and lists in each repository, at a node that has no leader: all at once, since each waits out its limit.
async fn check_contract(geo: &Geo, at: usize, old: &Image) -> Result<()> {
    let unknown = Blob::new(b"never seen".to_vec()).digest;
    let unknown_blob = format!("blobs/{unknown}");
    let (tag, list, never) = ("manifests/v1", "tags/list", "manifests/never-seen");
    tokio::try_join!(
        check_failing(geo, at, FAIL, tag),
        check_failing(geo, at, FAIL, list),
        check_stale(geo, at, tag, Some(old)),
        check_stale(geo, at, list, None),
        // Nobody can say that it does not exist.
        check_failing(geo, at, FAIL, never),
        check_failing(geo, at, STALE, never),
        check_failing(geo, at, STALE, &unknown_blob),
    )?;
    Ok(())
}

/// Checks every answer until one has come within the limit, of three: a busy machine may be late once. No answer at all is
/// waited for longer than a machine may stand still.
async fn check_timely(geo: &Geo, at: usize, path: &str, check: impl AsyncFn(Response) -> Result<()>) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..3 {
        let (answer, took) = tokio::time::timeout(4 * LIMIT, get(geo, at, path)).await??;
        check(answer).await?;
        if took < LIMIT {
            return Ok(());
        }
        times.push(took);
    }
    Err(format!("{path}, each time later than {LIMIT:?}: {times:?}").into())
}

async fn check_failing(geo: &Geo, at: usize, repo: &str, path: &str) -> Result<()> {
    check_timely(geo, at, &format!("/v2/{repo}/{path}"), async |answer| {
        assert_eq!(answer.status(), 503, "{repo} {path}");
        let retry = header(&answer, "retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
        assert!(retry.is_some(), "{repo} {path}: a 503 says when to try again");
        Ok(())
    })
    .await
}

async fn check_stale(geo: &Geo, at: usize, path: &str, image: Option<&Image>) -> Result<()> {
    check_timely(geo, at, &format!("/v2/{STALE}/{path}"), async |answer| {
        let header = |name| header(&answer, name);
        assert_eq!(answer.status(), 200, "{path} where a stale answer will do");
        assert!(header("warning").is_some_and(|warning| warning.starts_with("299 - \"")), "{path}: no Warning");
        assert!(header("age").is_some_and(|age| age.parse::<u64>().is_ok()), "{path}: no Age");
        let bytes = answer.bytes().await?;
        assert!(image.is_none_or(|image| bytes == image.manifest.bytes), "{path}: the last known manifest");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_region_keeps_each_repositorys_contract_and_every_digest_it_can_reach() -> Result<()> {
    if !tool::is_root("a_cut_region_keeps_each_repositorys_contract_and_every_digest_it_can_reach") {
        return Ok(());
    }
    let environment = vec![("PORTOLAN_UPLOADS_COMMIT_TIMEOUT_MS", "4000".to_owned())];
    let geo = Geo::start(geo::THREE, Plan { nodes_per_region: 2, environment, ..Plan::default() }).await?;
    let regions = geo.regions().await?;
    let (here, away) = (geo.cluster.leader().await?, geo.nodes_of(&regions[1]));
    // One copy in each region: half of the blobs lie at the neighbour of whoever is asked.
    for (repo, contract) in [(FAIL, "fail"), (STALE, "serve-stale")] {
        geo.set_repos(here, repo, &json!({"copies": 1, "partition": contract})).await?;
    }
    let old = Image::seeded(seed(), &[200_000, 100_000, 50_000, 25_000, 12_000, 6_000]);
    let new = Image::seeded(seed() + 1, &[1_000]);
    for repo in [FAIL, STALE] {
        geo.cluster.registry(here).push(repo, "v1", &old).await?;
        geo.ask(here, &format!("wait?image={repo}:v1&regions={}&timeout=60s", regions[1])).await?;
    }
    // A linearizable read: from here on the region knows the tags.
    for at in &away {
        geo.cluster.registry(*at).manifest(STALE, "v1").await?;
    }

    geo.wan.cut(&regions[1])?;
    for at in &away {
        check_contract(&geo, *at, &old).await?;
        let near = geo.cluster.registry(*at);
        for repo in [FAIL, STALE] {
            assert_eq!(near.manifest(repo, &old.manifest.digest.to_string()).await?.bytes, old.manifest.bytes);
            for blob in old.blobs() {
                near.blob(repo, &blob.digest.to_string()).await?;
            }
        }
    }
    let patient = Registry::new(&geo.node(away[0]).registry, Duration::from_secs(30));
    match patient.push(STALE, "v1", &new).await {
        Err(Failure::Status { status, retry_after: Some(_), .. }) => assert_eq!(status, 503),
        other => panic!("a push without a quorum got {other:?}"),
    }
    // The others go on, and after some time the cut nodes are committed as down there.
    geo.cluster.registry(here).push(STALE, "v1", &new).await?;
    check_contract(&geo, away[1], &old).await?;

    geo.wan.heal();
    let healed = Instant::now();
    for at in &away {
        let near = geo.cluster.registry(*at);
        for (repo, image) in [(FAIL, &old), (STALE, &new)] {
            wait::until(&format!("a confirmed answer of {}", geo.node(*at).name), WITHIN, async || {
                match near.manifest(repo, "v1").await {
                    // P2: an answer that is not marked stale is the last one that was pushed.
                    Ok(pulled) if pulled.warning.is_none() => {
                        assert!(pulled.bytes == image.manifest.bytes, "{repo}: an old answer without a mark");
                        Ok(())
                    }
                    Ok(pulled) => Err(pulled.warning.unwrap_or_default()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await?;
        }
        near.pull_and_compare(STALE, "v1", &new).await?;
    }
    eprintln!("both nodes confirm again {:.1} s after the healing", healed.elapsed().as_secs_f64());
    patient.push(STALE, "v2", &Image::seeded(seed() + 2, &[1_000])).await?;
    geo.wait_settled(geo.all(), WITHIN).await?;
    geo.down().await
}
