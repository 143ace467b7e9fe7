//! Listing the tags of a repository that has many.

use super::load::{self, Until};
use super::read::in_turn;
use super::target::Targets;
use super::{Comparison, Plan};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::{self, Image};
use reqwest::Client;
use std::time::Duration;

const REPO: &str = "compare/tags";
const WRITERS: usize = 32;

/// `tags/list` of all tags, page by page where the registry pages.
///
/// # Errors
/// When a target is gone, or a tag is not accepted.
pub async fn tags(comparison: &mut Comparison, targets: &Targets, plan: Plan) -> Result<()> {
    let image = Image::seeded(2, &[1_000]);
    let put = format!("tag PUT, {WRITERS} clients");
    let list = format!("tags/list of {}", plan.tags);
    for target in targets.registries() {
        comparison.announce(&put, target);
        let registry = Registry::new(&target.address, Duration::from_secs(60));
        registry.push(REPO, "v0", &image).await?;
        let each = plan.tags / WRITERS;
        let request = |client: usize, sent: usize| {
            let (registry, manifest) = (&registry, &image.manifest);
            async move {
                let tag = format!("t{:06}", client * each + sent);
                registry.push_manifest(REPO, &tag, image::MANIFEST, manifest).await?;
                Ok(manifest.bytes.len() as u64)
            }
        };
        let sample = load::run(target, WRITERS, Until::Requests(each), request).await?;
        comparison.add(&put, target, "1/s", &sample);
    }
    let expected = plan.tags / WRITERS * WRITERS + 1;
    for repetition in 0..plan.repetitions {
        for target in in_turn(targets.registries(), repetition) {
            comparison.announce(&list, target);
            let http = Client::new();
            let request = |_, _| list_all(http.clone(), &target.address, expected);
            let until = Until::Window(Duration::from_millis(plan.window_ms));
            let sample = load::run(target, 1, until, request).await?;
            comparison.add(&list, target, "1/s", &sample);
        }
    }
    Ok(())
}

async fn list_all(http: Client, address: &str, expected: usize) -> load::Moved {
    let mut path = Some(format!("/v2/{REPO}/tags/list"));
    let (mut bytes, mut tags) = (0, 0);
    while let Some(next) = path {
        let answer = http.get(format!("http://{address}{next}")).send().await?.error_for_status()?;
        path = answer.headers().get("link").and_then(|link| next_page(link.to_str().ok()?));
        let body = answer.bytes().await?;
        bytes += body.len() as u64;
        let list: serde_json::Value = serde_json::from_slice(&body)?;
        tags += list["tags"].as_array().map_or(0, Vec::len);
    }
    if tags == expected { Ok(bytes) } else { Err(format!("{tags} tags instead of {expected}").into()) }
}

/// The path in `<PATH>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (target, _) = link.strip_prefix('<')?.split_once('>')?;
    Some(target.to_owned())
}
