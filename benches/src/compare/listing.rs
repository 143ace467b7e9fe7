//! A repository that has many tags: making them, and listing them.

use super::bench::Bench;
use super::http::Connection;
use super::load::{self, Client, Kind, Meter, Until};
use super::outcome::Better;
use super::target::{Targets, in_turn};
use bytes::Bytes;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::{self, Image};
use serde::Deserialize;
use std::time::Duration;

const REPO: &str = "compare/tags";
const WRITERS: usize = 32;
/// The most that making the tags may take on one target.
const PUT_WITHIN: Duration = Duration::from_secs(120);

struct Tagger {
    connection: Connection,
    first: usize,
    manifest: Bytes,
}

impl Client for Tagger {
    async fn send(&mut self, number: usize, meter: &Meter) -> Result<Kind> {
        let path = format!("/v2/{REPO}/manifests/t{:06}", self.first + number);
        self.connection.put(&path, image::MANIFEST, self.manifest.clone(), meter).await?;
        Ok(Kind::Write)
    }
}

struct Lister {
    connection: Connection,
    expected: usize,
}

#[derive(Deserialize)]
struct Page {
    tags: Vec<String>,
}

impl Client for Lister {
    async fn send(&mut self, _number: usize, meter: &Meter) -> Result<Kind> {
        let (mut path, mut tags) = (Some(format!("/v2/{REPO}/tags/list")), 0);
        while let Some(next) = path {
            let (body, link) = self.connection.page(&next, meter).await?;
            tags += serde_json::from_slice::<Page>(&body)?.tags.len();
            path = link;
        }
        if tags == self.expected { Ok(Kind::Read) } else { Err(format!("{tags} tags of {}", self.expected).into()) }
    }
}

/// Tags put by 32 clients, then `tags/list` of all of them, page by page where the registry pages.
///
/// # Errors
/// When a target is gone.
pub async fn tags(bench: &mut Bench, targets: &Targets) -> Result<()> {
    let image = Image::seeded(2, &[1_000]);
    let manifest = Bytes::from(image.manifest.bytes.clone());
    let each = (bench.plan.tags / WRITERS).max(1);
    let note = format!(
        "{WRITERS} clients put {} tags on one manifest, once. Each of Portolan's is committed and fsynced on a \
         majority of nodes; docker-registry writes and fsyncs small files, but no folder.",
        each * WRITERS
    );
    let put = bench.chart("tags", "Manifest PUT by tag", ("requests/s", Better::Higher), note);
    for target in targets.registries() {
        if !bench.begin("tag PUT", &target, Duration::from_secs(5)) {
            continue;
        }
        Registry::new(&target.address, Duration::from_secs(60)).push(REPO, "v0", &image).await?;
        let tagger = |client: usize| Tagger {
            connection: Connection::new(&target.address),
            first: client * each,
            manifest: manifest.clone(),
        };
        let until = Until::Requests { each, within: PUT_WITHIN.min(bench.bound.left()) };
        let sample = load::run(&target, (0..WRITERS).map(tagger).collect(), until).await?;
        bench.add(put, &format!("{WRITERS} clients"), target.name, sample.requests_per_second(), &sample);
    }
    let expected = each * WRITERS + 1;
    let note = "One client reads the whole list again and again, following the links where the registry pages. \
                docker-registry walks its folders; Portolan scans a range of keys after asking the leader.";
    let title = format!("tags/list of {} tags", each * WRITERS);
    let list = bench.chart("tags", title, ("lists/s", Better::Higher), note);
    for repetition in 0..bench.plan.repetitions {
        for target in in_turn(&targets.registries(), repetition) {
            let window = Duration::from_millis(bench.plan.window_ms * 2);
            if bench.begin("tags/list", target, window) {
                let lister = Lister { connection: Connection::new(&target.address), expected };
                let until = Until::Window { warm_up: Duration::from_millis(bench.plan.warm_up_ms), window };
                let sample = load::run(target, vec![lister], until).await?;
                bench.add(list, "1 client", target.name, sample.requests_per_second(), &sample);
            }
        }
    }
    Ok(())
}
