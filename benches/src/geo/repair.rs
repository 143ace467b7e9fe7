//! A node is lost for good: how long until everything that it held has its copies again, and what pulls notice.

use super::image::Order;
use super::ledger::Ledger;
use super::pace::{Answer, Stop, p99, pace};
use super::plan::GeoPlan;
use super::site::Site;
use crate::compare::bench::{Bench, Sheet};
use crate::compare::metrics;
use crate::compare::outcome::{Better, Line, Plot};
use crate::compare::package::Package;
use crate::compare::push::next_seed;
use futures::future::try_join_all;
use portolan_chaos_tests::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PREFIX: &str = "repair";
const COLD: &str = "repair/cold";
const HOT: &str = "repair/hot";
const MIB: u64 = 1 << 20;
/// Layers of an image that lies there.
const LAYERS: u64 = 8;
const LAYER_MIB: u64 = 32;
/// Images that are pulled all the time.
const HOT_IMAGES: usize = 20;
const HOT_LAYERS: [u64; 3] = [64 << 10, 256 << 10, 1 << 20];
/// Between two pulls at each node.
const PULL_EVERY: Duration = Duration::from_millis(100);
/// How long pulls are watched before the node is lost.
const BEFORE: Duration = Duration::from_secs(20);
/// How often a survivor is asked.
const EVERY: Duration = Duration::from_millis(200);
const WITHIN: Duration = Duration::from_secs(600);

/// When a silent node is down, and when it counts as lost.
const SETTINGS: [(&str, &str); 2] =
    [("PORTOLAN_CLUSTER_DOWN_AFTER_MS", "5000"), ("PORTOLAN_CLUSTER_OUT_AFTER_MS", "10000")];

const NODES: &str = "portolan_nodes";
const MISSING: &str = "portolan_replication_missing_bytes";
const BYTES: &str = "portolan_replication_bytes_total";
const COPIED: &str = "portolan_replication_copies_total";
/// What says that something is still to be copied.
const OPEN: [&str; 5] = [
    "portolan_replication_missing_copies",
    "portolan_replication_incomplete",
    "portolan_replication_queue",
    "portolan_replication_in_flight",
    "portolan_replication_unconfirmed",
];
/// How long nothing may change before the repair counts as ended: nodes compute what is missing once a second.
const QUIET: Duration = Duration::from_secs(3);

struct Sheets {
    time: Sheet,
    rate: Sheet,
    pulls: Sheet,
    ratio: Sheet,
}

/// What the survivors said at one moment.
struct Look {
    seconds: f64,
    /// Nodes that count as lost.
    out: f64,
    /// What is known to be missing, or under way.
    open: f64,
    /// Bytes of copies that are missing, as one of them knows.
    missing: f64,
    /// Bytes that were read from peers because placement wants them, since the nodes' start.
    copied: f64,
    /// Copies whose location was committed, since the nodes' start.
    made: f64,
}

/// What happened; times in seconds since the pulls began.
struct Seen {
    answers: Vec<Answer>,
    lost_at: f64,
    looks: Vec<Look>,
    /// When the node counted as lost, and when the last copy was made.
    repairing: (f64, f64),
    /// Bytes that were copied meanwhile.
    bytes: f64,
}

/// A loss, on a cluster of its own for each repetition.
///
/// # Errors
/// When a cluster does not start, or is gone.
pub async fn run(bench: &mut Bench<GeoPlan>) -> Result<()> {
    let plan = bench.plan.clone();
    let sheets = sheets(bench, &plan);
    for repetition in 0..plan.repetitions {
        let wanted = Duration::from_secs(120 + plan.repair_mib / 20);
        if !bench.enter("a cluster that loses a node", wanted) {
            continue;
        }
        let mut site = Site::up(&plan, &SETTINGS).await?;
        site.set(PREFIX, &["--regions", &site.far]).await?;
        let hot = fill(bench, &site, &plan).await?;
        bench.enter("repair after a loss", Duration::ZERO);
        let ledger = Ledger::open(&site)?;
        let seen = lose(&mut site, &hot).await?;
        let costs = ledger.close(&site)?;
        costs.book(bench.bar(sheets.time, "all copies are there again", "from when it counts as lost"));
        report(bench, &sheets, &seen);
        if repetition == 0 {
            plots(bench, &sheets, &seen);
        }
        site.down().await?;
    }
    Ok(())
}

fn sheets(bench: &mut Bench<GeoPlan>, plan: &GeoPlan) -> Sheets {
    let note = format!(
        "A region of {} nodes holds images of {} MiB, two copies of each blob, such that each node has about {:.1} GiB. One \
         of them is killed and its disk is gone. It counts as lost ({}) {} ms after its last sign of life (15 minutes unless \
         set); from then on its copies are missing and the others make them anew, the last of which ends the repair \
         ({COPIED}, asked every {} ms).",
        plan.nodes_per_region,
        LAYERS * LAYER_MIB,
        plan.repair_mib as f64 / 1024.0,
        SETTINGS[1].0,
        SETTINGS[1].1,
        EVERY.as_millis()
    );
    let time = bench.chart("wan-repair", "Repair after the loss of a node", ("s", Better::Lower), note);
    let note = "Of the same repairs: what the survivors read from each other by the time it took.";
    let rate = bench.chart("wan-repair", "Rate of the repair", ("MiB/s", Better::Higher), note);
    let note = format!(
        "Meanwhile a client at each survivor pulls one of {HOT_IMAGES} small images (1.3 MiB in three layers) by its tag \
         every {} ms. The tag is asked of the leader, 100 ms away.",
        PULL_EVERY.as_millis()
    );
    let pulls = bench.chart("wan-repair", "Pulls meanwhile, p99", ("ms", Better::Lower), note);
    let ratio =
        bench.chart("wan-repair", "Pulls' p99 against before", ("× before", Better::Lower), "Of the same pulls.");
    bench.aim(ratio, 1.5);
    Sheets { time, rate, pulls, ratio }
}

/// Pushes what is to be lost, and the images that are pulled; gives the latter.
async fn fill(bench: &mut Bench<GeoPlan>, site: &Site, plan: &GeoPlan) -> Result<Arc<Vec<Order>>> {
    // Two copies over the nodes of the region: a node holds that share of everything.
    let share = 2.0 / plan.nodes_per_region.max(2) as f64;
    let images = (plan.repair_mib as f64 / share / (LAYERS * LAYER_MIB) as f64).round().max(1.0) as usize;
    // Through the node that is to be lost: what it keeps of pushes beyond its share is lost with it, while a survivor that
    // had kept some would spare itself a part of the repair.
    let through = *site.nodes_of(&site.far).last().ok_or("a region without nodes")?;
    let address = site.node(through).registry.clone();
    let mut hot = Vec::new();
    for number in 0..HOT_IMAGES {
        let package = Package::seeded(next_seed(), &HOT_LAYERS);
        bench.prepare(&format!("small images, {number} of {HOT_IMAGES}"));
        hot.push(Order::of(&package, HOT));
        push(site, package, &address, HOT).await?;
    }
    for number in 0..images {
        bench.prepare(&format!("what is to be lost, {number} of {images} images"));
        push(site, Package::seeded(next_seed(), &[LAYER_MIB * MIB; LAYERS as usize]), &address, COLD).await?;
    }
    site.settle().await?;
    Ok(Arc::new(hot))
}

async fn push(site: &Site, package: Package, address: &str, repo: &'static str) -> Result<()> {
    let address = address.to_owned();
    let push = async move || package.push(&reqwest::Client::new(), &address, repo, &package.tag()).await;
    site.inside(&site.far, push).await
}

/// Pulls, loses a node, and goes on until no copy is missing.
async fn lose(site: &mut Site, hot: &Arc<Vec<Order>>) -> Result<Seen> {
    let far = site.nodes_of(&site.far);
    let (&victim, survivors) = far.split_last().ok_or("a region without nodes")?;
    let (began, stop) = (Instant::now(), Stop::default());
    let pulling = survivors.iter().map(|at| {
        let (address, stop, hot) = (site.node(*at).registry.clone(), stop.clone(), Arc::clone(hot));
        tokio::spawn(portolan_chaos_tests::geo::inside(site.far.clone(), async move || {
            pace(began, PULL_EVERY, stop, |number| {
                let (order, address) = (hot[number % hot.len()].clone(), address.clone());
                Some(async move { order.pull(&address, false).await })
            })
            .await
        }))
    });
    let pulling: Vec<_> = pulling.collect();
    tokio::time::sleep_until((began + BEFORE).into()).await;
    site.kill(victim).await?;
    let lost_at = began.elapsed().as_secs_f64();
    site.lose_disk(victim)?;
    let watched = watch(site, survivors, began).await;
    stop.stop();
    let ended = try_join_all(pulling).await?.into_iter().collect::<Result<Vec<_>>>()?;
    let (looks, repairing) = watched?;
    let copied = |from: f64| looks.iter().find(|look| look.seconds >= from).map_or(0.0, |look| look.copied);
    let bytes = looks.last().map_or(0.0, |look| look.copied) - copied(repairing.0);
    Ok(Seen { answers: ended.into_iter().flatten().collect(), lost_at, looks, repairing, bytes })
}

/// Asks the survivors until the node counts as lost and nothing was copied for a while that placement wants.
async fn watch(site: &Site, survivors: &[usize], began: Instant) -> Result<(Vec<Look>, (f64, f64))> {
    let (mut looks, mut lost, mut last): (Vec<Look>, Option<f64>, f64) = (Vec::new(), None, 0.0);
    let asked = Instant::now();
    while asked.elapsed() < WITHIN {
        let texts = try_join_all(survivors.iter().map(|at| site.metrics(*at))).await?;
        let seconds = began.elapsed().as_secs_f64();
        let look = Look::of(seconds, &texts);
        let before = looks.last().map_or((0.0, 0.0), |look: &Look| (look.made, look.copied));
        if lost.is_none() && look.out > 0.0 {
            // It was not at the look before: a small repair may have ended between the two.
            lost = looks.last().map(|look| look.seconds).or(Some(seconds));
        }
        if (look.made, look.copied) != before {
            last = seconds;
        }
        let quiet = look.open == 0.0 && seconds - last > QUIET.as_secs_f64();
        looks.push(look);
        if let Some(lost) = lost.filter(|lost| quiet && seconds - lost > QUIET.as_secs_f64()) {
            return Ok((looks, (lost, last.max(lost))));
        }
        tokio::time::sleep(EVERY).await;
    }
    let open = looks.last().map_or(0.0, |look| look.open);
    Err(format!("not repaired after {WITHIN:?}: {open} are open, lost at {lost:?}").into())
}

impl Look {
    fn of(seconds: f64, texts: &[String]) -> Self {
        let sum = |name: &str, label: &str| texts.iter().map(|text| metrics::sum(text, name, label)).sum::<f64>();
        let waited = ["class=\"pull\"", "class=\"through\""].map(|class| sum(BYTES, class)).iter().sum::<f64>();
        Self {
            seconds,
            out: sum(NODES, "state=\"out\""),
            open: OPEN.iter().map(|name| sum(name, "")).sum(),
            missing: texts.first().map_or(0.0, |text| metrics::sum(text, MISSING, "")),
            copied: sum(BYTES, "") - waited,
            made: sum(COPIED, ""),
        }
    }
}

fn report(bench: &mut Bench<GeoPlan>, sheets: &Sheets, seen: &Seen) {
    let (first, last) = seen.repairing;
    let case = "all copies are there again";
    let bar = bench.bar(sheets.time, case, "from when it counts as lost");
    bar.values.push(last - first);
    bar.bytes += seen.bytes as u64;
    bench.add_value(sheets.time, case, "from the node's death", last - seen.lost_at);
    bench.add_value(sheets.rate, case, "made anew", seen.bytes / MIB as f64 / (last - first));
    let errors: Vec<&String> = seen.answers.iter().filter_map(|answer| answer.error.as_ref()).collect();
    let spans =
        [("before", 0.0, seen.lost_at), ("dead, not lost yet", seen.lost_at, first), ("while repaired", first, last)];
    for (name, from, to) in spans {
        bench.add_value(sheets.pulls, "pull of a small image", name, p99(&seen.answers, from, to));
    }
    let bar = bench.bar(sheets.pulls, "pull of a small image", "while repaired");
    bar.errors += errors.len() as u64;
    bar.first_error = bar.first_error.take().or_else(|| errors.first().map(ToString::to_string));
    let before = p99(&seen.answers, 0.0, seen.lost_at);
    for (name, from, to) in &spans[1..] {
        bench.add_value(sheets.ratio, "p99", name, p99(&seen.answers, *from, *to) / before);
    }
}

fn plots(bench: &mut Bench<GeoPlan>, sheets: &Sheets, seen: &Seen) {
    let marks = || {
        let (first, last) = (seen.repairing.0 - seen.lost_at, seen.repairing.1 - seen.lost_at);
        vec![(0.0, "killed".to_owned()), (first, "lost".to_owned()), (last, "repaired".to_owned())]
    };
    let points = seen.looks.iter().map(|look| (look.seconds - seen.lost_at, look.missing / MIB as f64)).collect();
    let line = Line { name: "missing".to_owned(), joined: true, points };
    let title = "What is missing, first repetition".to_owned();
    let across = "s since it was killed";
    bench.plot(sheets.time, Plot { title, across, up: "MiB", marks: marks(), lines: vec![line] });
    let points = seen.answers.iter().map(|answer| (answer.at - seen.lost_at, answer.ms)).collect();
    let line = Line { name: "one pull".to_owned(), joined: false, points };
    let title = "Every pull, first repetition".to_owned();
    bench.plot(sheets.pulls, Plot { title, across, up: "ms", marks: marks(), lines: vec![line] });
}
