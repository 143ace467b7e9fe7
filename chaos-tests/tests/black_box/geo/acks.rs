//! What a push's 201 is worth when regions are lost or cut off.

use super::{MIB, WITHIN, seed};
use portolan_chaos_tests::client::Failure;
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, tool, wait};
use serde_json::{Value, json};
use std::time::Instant;

const REPO: &str = "geo/acks";
const LAYER: usize = 8 * MIB as usize;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_push_is_in_as_many_regions_as_wanted_and_pending_while_one_is_cut_off() -> Result<()> {
    if !tool::is_root("an_acknowledged_push_is_in_as_many_regions_as_wanted_and_pending_while_one_is_cut_off") {
        return Ok(());
    }
    let environment = vec![("PORTOLAN_UPLOADS_ACK_TIMEOUT_MS", "5000".to_owned())];
    let mut geo = Geo::start(geo::THREE, Plan { nodes_per_region: 1, environment, ..Plan::default() }).await?;
    let regions = geo.regions().await?;
    let leader = geo.cluster.leader().await?;
    let (second, third) = (geo.nodes_of(&regions[1])[0], geo.nodes_of(&regions[2])[0]);

    // Three regions are wanted and one is cut off: its data, not the quorum, is what the push lacks.
    geo.set_repos(leader, REPO, &json!({"ack": {"regions": 3, "copies": 1}})).await?;
    let image = Image::seeded(seed(), &[LAYER]);
    geo.wan.cut(&regions[2])?;
    let began = Instant::now();
    match geo.cluster.registry(leader).push(REPO, "v1", &image).await {
        Err(Failure::Status { status, retry_after, body }) => {
            assert_eq!(status, 503, "{body}");
            assert!(retry_after.is_some(), "when to try again");
            check_pending(&body, &image, &regions[..2])?;
        }
        other => panic!("a push that cannot be acknowledged got {other:?}"),
    }
    eprintln!("ACK_PENDING after {:.1} s", began.elapsed().as_secs_f64());
    let unknown = geo.cluster.registry(leader).manifest(REPO, "v1").await;
    assert!(matches!(&unknown, Err(Failure::Status { status, .. }) if *status == 404), "{unknown:?}");
    geo.wan.heal();
    wait::until("the same push to be acknowledged", WITHIN, async || {
        geo.cluster.registry(leader).push(REPO, "v1", &image).await.map_err(|error| error.to_string())
    })
    .await?;

    // Two regions are wanted, and the first is lost the moment the push is acknowledged.
    geo.set_repos(leader, REPO, &json!({"ack": {"regions": 2, "copies": 1}})).await?;
    // The copy takes longer than everything else.
    geo.set_all("rate=40mbit")?;
    let image = Image::seeded(seed() + 1, &[LAYER]);
    geo.cluster.registry(second).push(REPO, "v2", &image).await?;
    geo.cluster.kill(second).await?;
    geo.cluster.lose_disk(second)?;
    for at in [leader, third] {
        wait::until(&format!("the whole image at {}", geo.node(at).name), WITHIN, async || {
            match geo.cluster.registry(at).pull_and_compare(REPO, "v2", &image).await {
                Err(error @ Failure::WrongBytes(_)) => panic!("{error}"),
                other => other.map_err(|error| error.to_string()),
            }
        })
        .await?;
    }
    geo.down().await
}

/// The answer names each blob of the image and where it is durable.
fn check_pending(body: &str, image: &Image, regions: &[String]) -> Result<()> {
    let body: Value = serde_json::from_str(body)?;
    let errors = body["errors"].as_array().ok_or("no errors")?;
    assert!(!errors.is_empty() && errors.iter().all(|error| error["code"] == "ACK_PENDING"), "{body}");
    for blob in image.blobs() {
        let digest = blob.digest.to_string();
        let about = errors.iter().map(|error| &error["detail"]).find(|detail| detail["digest"] == digest.as_str());
        let durable = about.ok_or_else(|| format!("{digest} is not named in {body}"))?["durable_on"].to_string();
        for region in regions {
            assert!(
                durable.contains(region.as_str()),
                "{digest} is durable in {region}, and the answer says {durable}"
            );
        }
    }
    Ok(())
}
