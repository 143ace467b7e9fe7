//! A node hangs, and later dies, while clients pull through the others: what they notice, and how long anybody tries it.

use super::blobs;
use super::image;
use super::ledger::Ledger;
use super::pace::{self, Answer, Stop, latencies, p99, pace};
use super::plan::GeoPlan;
use super::site::Site;
use crate::compare::bench::{Bench, Sheet};
use crate::compare::outcome::{Better, Line, Plot};
use crate::compare::push::next_seed;
use crate::compare::stats;
use crate::transfer::Payload;
use futures::future::try_join_all;
use portolan_chaos_tests::{Result, wait};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::time::{Duration, Instant};

const REPO: &str = "kill/blobs";
const PREFIX: &str = "kill";
const SIZE: u64 = 256 << 10;
/// How often the nodes are asked whom they tried in vain.
const EVERY: Duration = Duration::from_millis(100);
/// A pull that takes so many times as long as 99 of 100 before counts as slowed.
const SLOWED: f64 = 2.0;

/// Reads from a peer that failed.
const FAILURES: &str = "portolan_replication_source_failures_total";

struct Sheets {
    pulls: Sheet,
    tried: Sheet,
    times: Sheet,
}

/// What befalls the node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stops in the middle of whatever it does, and its connections stay open.
    Hangs,
    /// It is killed, and its connections are reset.
    Dies,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Hangs => "a node hangs (SIGSTOP)",
            Self::Dies => "a node dies (SIGKILL)",
        }
    }
}

/// One reader's pulls.
struct Reader {
    /// Whether it is in the region of the node that fails.
    beside: bool,
    answers: Vec<Answer>,
}

/// What happened.
struct Seen {
    readers: Vec<Reader>,
    /// When the node failed, in seconds since the pulls began.
    failed_at: f64,
    /// When a failed read of it was counted for the last time.
    last_tried: Option<f64>,
    /// How many were counted.
    tries: f64,
    /// When every other node held it for unwell.
    unwell: Option<f64>,
}

/// Both fates, on a cluster of its own for each repetition.
///
/// # Errors
/// When a cluster does not start, or is gone.
pub async fn run(bench: &mut Bench<GeoPlan>) -> Result<()> {
    let plan = bench.plan.clone();
    let sheets = sheets(bench, &plan);
    for repetition in 0..plan.repetitions {
        if !bench.enter("a cluster in which a node fails", Duration::from_secs(plan.kill_seconds * 4 + 60)) {
            continue;
        }
        let mut site = Site::up(&plan, &[]).await?;
        site.set(PREFIX, &["--regions", &site.far]).await?;
        for fate in [Fate::Hangs, Fate::Dies] {
            bench.prepare(&format!("blobs for the pulls: {}", fate.name()));
            let payloads = push(&site, plan.kill_blobs).await?;
            bench.enter(fate.name(), Duration::ZERO);
            let ledger = Ledger::open(&site)?;
            let seen = measure(&mut site, &plan, fate, &payloads).await?;
            let costs = ledger.close(&site)?;
            costs.book(bench.bar(sheets.pulls, fate.name(), "failed"));
            report(bench, &sheets, fate, &seen);
            if repetition == 0 {
                bench.plot(sheets.times, plot(fate, &seen));
            }
        }
        site.down().await?;
    }
    Ok(())
}

fn sheets(bench: &mut Bench<GeoPlan>, plan: &GeoPlan) -> Sheets {
    let note = format!(
        "{} blobs of {} KiB lie in one region of {} nodes, two copies each. Clients pull each of them once through each other \
         node of that region and through one node of each other region, beginning a pull at fixed times; in the middle one \
         of the holders fails. A pull is slowed when it takes more than {SLOWED} times what 99 of 100 took before, at the same \
         kind of node. One in four pulls compares digests.",
        plan.kill_blobs,
        SIZE >> 10,
        plan.nodes_per_region
    );
    let pulls = bench.chart("wan-kill", "A failing node: pulls through the others", ("pulls", Better::Lower), note);
    let note = format!(
        "From the moment it fails until a read of it was counted as failed for the last time ({FAILURES} of all other nodes, \
         asked every {} ms; reads that were under way count too), and until every other node holds it for unwell and asks it \
         last (`health` in /api/v1/cluster).",
        EVERY.as_millis()
    );
    let tried = bench.chart("wan-kill", "Until nobody tries it any more", ("s", Better::Lower), note);
    bench.aim(tried, 2.0);
    let note = "Of the same pulls: before the node fails, in the five seconds after, and later.";
    let times = bench.chart("wan-kill", "A failing node: p99 of pulls through the others", ("ms", Better::Lower), note);
    Sheets { pulls, tried, times }
}

async fn push(site: &Site, count: usize) -> Result<Arc<Vec<Payload>>> {
    let seed = next_seed();
    let payloads: Arc<Vec<_>> =
        Arc::new((0..count as u64).map(|at| Payload::of_bytes((seed << 32) + at, SIZE)).collect());
    let (address, pushed) = (site.address(&site.far), Arc::clone(&payloads));
    site.inside(&site.far, async move || blobs::push_all(&reqwest::Client::new(), &address, REPO, &pushed).await)
        .await?;
    site.settle().await?;
    Ok(payloads)
}

async fn measure(site: &mut Site, plan: &GeoPlan, fate: Fate, payloads: &Arc<Vec<Payload>>) -> Result<Seen> {
    let far = site.nodes_of(&site.far);
    let (&victim, beside) = far.split_last().ok_or("a region without nodes")?;
    let id = site.node(victim).id;
    let others: Vec<usize> = site.alive().into_iter().filter(|at| *at != victim).collect();
    let elsewhere = [&site.near, &site.third].map(|region| site.nodes_of(region).first().copied());
    let readers: Vec<(usize, bool)> =
        beside.iter().map(|at| (*at, true)).chain(elsewhere.into_iter().flatten().map(|at| (at, false))).collect();
    let seconds = Duration::from_secs(plan.kill_seconds);
    let every = seconds * 2 / u32::try_from(payloads.len())?;
    let (began, stop) = (Instant::now(), Stop::default());
    let reading = readers.iter().map(|(at, _)| {
        let (address, stop, payloads) = (site.node(*at).registry.clone(), stop.clone(), Arc::clone(payloads));
        let order = shuffled(payloads.len(), *at as u64);
        let region = site.node(*at).region.clone();
        tokio::spawn(portolan_chaos_tests::geo::inside(region, async move || {
            pace(began, every, stop, |number| {
                let payload = payloads.get(*order.get(number)?)?;
                let (address, digest, size) = (address.clone(), payload.digest(), payload.size());
                Some(async move { image::pull_blob(&address, REPO, digest, size, number % 4 == 0).await })
            })
            .await
        }))
    });
    let reading: Vec<_> = reading.collect();
    tokio::time::sleep_until((began + seconds).into()).await;
    let label = format!("peer=\"{id}\"");
    let before = site.sum(&others, FAILURES, &label).await?;
    let failed_at = began.elapsed().as_secs_f64();
    match fate {
        Fate::Hangs => site.pause(victim)?,
        Fate::Dies => site.kill(victim).await?,
    }
    let (mut tries, mut last_tried, mut unwell) = (0.0, None, None);
    while reading.iter().any(|reader| !reader.is_finished()) {
        let now = site.sum(&others, FAILURES, &label).await? - before;
        if now > tries {
            (tries, last_tried) = (now, Some(began.elapsed().as_secs_f64()));
        }
        if unwell.is_none() && site.trusted_by(&others, victim).await? == 0 {
            unwell = Some(began.elapsed().as_secs_f64());
        }
        tokio::time::sleep(EVERY).await;
    }
    let ended = try_join_all(reading).await?.into_iter().collect::<Result<Vec<_>>>()?;
    if fate == Fate::Hangs {
        site.resume(victim)?;
        come_back(site, victim).await?;
    }
    let readers = readers.iter().zip(ended).map(|((_, beside), answers)| Reader { beside: *beside, answers }).collect();
    Ok(Seen { readers, failed_at, last_tried, tries, unwell })
}

/// Waits until everybody counts a node as up again.
async fn come_back(site: &Site, node: usize) -> Result<()> {
    let (alive, name) = (site.alive(), format!("name=\"{}\"", site.node(node).name));
    let all = alive.len() as f64;
    wait::until("the node to be up again", Duration::from_secs(60), || async {
        match site.sum(&alive, "portolan_node_up", &name).await {
            Ok(up) if up >= all => Ok(()),
            Ok(up) => Err(format!("{up} of {all} say so")),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    site.settle().await
}

fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    order
}

fn report(bench: &mut Bench<GeoPlan>, sheets: &Sheets, fate: Fate, seen: &Seen) {
    let case = fate.name();
    let all = || seen.readers.iter().flat_map(|reader| &reader.answers);
    let errors: Vec<&String> = all().filter_map(|answer| answer.error.as_ref()).collect();
    let bar = bench.bar(sheets.pulls, case, "failed");
    bar.values.push(errors.len() as f64);
    bar.requests += all().count() as u64;
    bar.errors += errors.len() as u64;
    bar.first_error = bar.first_error.take().or_else(|| errors.first().map(ToString::to_string));
    let slowed: usize = seen.readers.iter().map(|reader| slowed(reader, seen.failed_at)).sum();
    bench.add_value(sheets.pulls, case, "slowed", slowed as f64);
    let after = latencies_of(seen, |_| true, seen.failed_at, f64::INFINITY);
    bench.add_value(sheets.times, case, "slowest of all afterwards", stats::percentile(&after, 100));
    for (beside, place) in [(true, "its region"), (false, "other regions")] {
        for (name, from, to) in spans(seen.failed_at) {
            let latencies = latencies_of(seen, |reader| reader.beside == beside, from, to);
            bench.add_value(sheets.times, case, &format!("{place}, {name}"), stats::percentile(&latencies, 99));
        }
    }
    let tried = seen.last_tried.map_or(0.0, |last| last - seen.failed_at);
    bench.add_value(sheets.tried, case, "last failed read of it", tried);
    match seen.unwell {
        Some(at) => bench.add_value(sheets.tried, case, "every node asks it last", at - seen.failed_at),
        None => bench.add_error(sheets.tried, case, "every node asks it last", &"some node never did".into()),
    }
    bench.say(&format!("{case}: {} reads of it failed", seen.tries));
}

fn spans(failed_at: f64) -> [(&'static str, f64, f64); 3] {
    [("before", 0.0, failed_at), ("next 5 s", failed_at, failed_at + 5.0), ("later", failed_at + 5.0, f64::INFINITY)]
}

fn latencies_of(seen: &Seen, which: impl Fn(&Reader) -> bool, from: f64, to: f64) -> Vec<f64> {
    seen.readers.iter().filter(|reader| which(reader)).flat_map(|reader| latencies(&reader.answers, from, to)).collect()
}

/// Pulls that began shortly before the failure are hit as well.
fn slowed(reader: &Reader, failed_at: f64) -> usize {
    let usual = p99(&reader.answers, 0.0, failed_at - 1.0);
    let hit = pace::latencies(&reader.answers, failed_at - 1.0, f64::INFINITY);
    hit.iter().filter(|ms| **ms > SLOWED * usual).count()
}

fn plot(fate: Fate, seen: &Seen) -> Plot {
    let line = |beside, name: &str| {
        let answers = seen.readers.iter().filter(|reader| reader.beside == beside).flat_map(|reader| &reader.answers);
        let mut points: Vec<_> = answers.map(|answer| (answer.at - seen.failed_at, answer.ms)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { name: name.to_owned(), joined: false, points }
    };
    Plot {
        title: format!("{}: every pull, first repetition", fate.name()),
        across: "s since it failed",
        up: "ms",
        marks: vec![(0.0, "it fails".to_owned())],
        lines: vec![line(true, "through its region's other nodes"), line(false, "through other regions' nodes")],
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Reader, shuffled, slowed};

    #[test]
    fn a_pull_is_slowed_against_those_before_the_failure() {
        let answer = |at, ms| Answer { at, ms, error: None };
        let mut answers: Vec<Answer> = (0..100).map(|at| answer(f64::from(at) / 10.0, 10.0)).collect();
        answers.extend([answer(9.5, 400.0), answer(11.0, 19.0), answer(12.0, 21.0)]);
        assert_eq!(slowed(&Reader { beside: true, answers }, 10.0), 2);
    }

    #[test]
    fn every_blob_comes_once_and_readers_differ() {
        let mut order = shuffled(50, 1);
        assert_ne!(order, shuffled(50, 2));
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
