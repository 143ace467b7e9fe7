//! Pushes of whole images, whose layers' sizes follow the study (see [`super::study`]).

use super::bench::{Bench, Sheet, flush_disks};
use super::load::{self, Client, Kind, Meter, Until};
use super::outcome::Better;
use super::package::Package;
use super::push::next_seed;
use super::study::{self, LAYERS};
use super::target::{Target, Targets, in_turn};
use portolan_chaos_tests::Result;
use std::sync::Arc;
use std::time::Duration;

const REPO: &str = "compare/images";
const CLIENTS: usize = 4;
const WITHIN: Duration = Duration::from_secs(120);

struct ImagePusher {
    http: reqwest::Client,
    address: String,
    packages: Arc<Vec<Package>>,
    first: usize,
}

impl Client for ImagePusher {
    async fn send(&mut self, number: usize, meter: &Meter) -> Result<Kind> {
        let at = self.first + number;
        let package = self.packages.get(at).ok_or("no image is left")?;
        package.push(&self.http, &self.address, REPO, &package.tag()).await?;
        meter.add(usize::try_from(package.size())?);
        Ok(Kind::Write)
    }
}

/// New images, the same number by each of four clients.
///
/// # Errors
/// When a target is gone.
pub async fn images(bench: &mut Bench, targets: &Targets) -> Result<()> {
    let each = (bench.plan.images / CLIENTS).max(1);
    let note = format!(
        "{CLIENTS} clients push {each} images each as docker does (layers in parallel, then config and manifest), new \
         bytes every time. Layer sizes are log-normal, half of them below 4 MiB; the tail is shortened so that 1 GiB \
         becomes 64 MiB."
    );
    let title = format!("Push of images of {LAYERS} layers");
    let sheet = bench.chart("images", title, ("MiB/s", Better::Higher), note);
    for repetition in 0..bench.plan.repetitions {
        bench.prepare("new images");
        let seeds: Vec<u64> = (0..each * CLIENTS).map(|_| next_seed()).collect();
        let packages = seeds.iter().map(|seed| Package::seeded(*seed, &study::layer_sizes(*seed, LAYERS)));
        let packages = Arc::new(packages.collect::<Vec<_>>());
        for target in in_turn(&targets.registries(), repetition) {
            if bench.begin("push of images", target, Duration::from_secs(10)) {
                push_images(bench, sheet, target, &packages, each).await?;
            }
        }
    }
    Ok(())
}

async fn push_images(
    bench: &mut Bench,
    sheet: Sheet,
    target: &Target,
    packages: &Arc<Vec<Package>>,
    each: usize,
) -> Result<()> {
    flush_disks().await?;
    let pusher = |client| ImagePusher {
        http: reqwest::Client::new(),
        address: target.address.clone(),
        packages: Arc::clone(packages),
        first: client * each,
    };
    let account = target.open_account()?;
    let until = Until::Requests { each, within: WITHIN.min(bench.bound.left()) };
    let mut sample = load::run(target, (0..CLIENTS).map(pusher).collect(), until).await?;
    target.settle().await?;
    sample.usage = target.close_account(&account)?;
    let case = format!("{CLIENTS} clients");
    bench.add(sheet, &case, target.name, sample.mib_per_second(), &sample);
    for package in packages.iter() {
        if let Err(error) = package.verify(&target.address, REPO, &package.tag()).await {
            bench.add_error(sheet, &case, target.name, &error);
        }
    }
    Ok(())
}
