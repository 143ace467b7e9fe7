//! One load, several servers: every scenario runs against each target in turn, repetition by repetition, so that what
//! the machine does meanwhile hits all of them alike. In reading order:
//!
//! - [`plan`] says how much is run and for how long at most, [`outcome`] is what a run gives, [`stats`] its figures;
//! - [`target`] starts the servers, [`metrics`] and [`host`] read what they and the machine say;
//! - [`load`] runs a closed loop against one of them, over the bare connections of [`http`];
//! - [`bench`] is what the scenarios share: [`read`], [`push`], [`package`] and [`images`], [`study`] and [`replay`],
//!   [`listing`], and [`wan`] over the emulated WAN;
//! - [`table`] prints, [`chart`] and [`plot`] draw, [`page`] lays out, [`program`] runs it all.

pub mod bench;
pub mod chart;
pub mod host;
pub mod http;
pub mod images;
pub mod listing;
pub mod load;
pub mod metrics;
pub mod outcome;
pub mod package;
pub mod page;
pub mod plan;
pub mod plot;
pub mod program;
pub mod push;
pub mod read;
pub mod replay;
pub mod stats;
pub mod study;
pub mod table;
pub mod target;
pub mod wan;

use bench::Bench;
use outcome::{Chart, Part};
use plan::{Bound, LOOPBACK, Plan};
use portolan_chaos_tests::Result;
use target::{Programs, Targets};

/// The part on loopback: everything that is compared with other servers. What cannot be done is left out and named.
pub async fn loopback(plan: &Plan, programs: &Programs) -> (Part, Vec<Chart>) {
    let bound = Bound::seconds(plan.loopback_seconds);
    let mut bench = Bench::new(plan.clone(), bound);
    for (there, program) in [(programs.docker_registry, "docker-registry"), (programs.nginx, "nginx")] {
        if !there {
            bench.skip(format!("{program}: it is not installed (Debian package {program})"));
        }
    }
    match bound.keep(scenarios(&mut bench, programs)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => bench.skip(format!("the rest of the part on loopback: {error}")),
        None => bench.skip("the rest of the part on loopback: the time was up".to_owned()),
    }
    let (charts, skipped) = bench.finish();
    (Part { name: "loopback", seconds: bound.elapsed(), bound_seconds: bound.limit(), skipped }, charts)
}

async fn scenarios(bench: &mut Bench, programs: &Programs) -> Result<()> {
    if LOOPBACK.iter().any(|(name, _)| *name != "pushes" && bench.plan.wants(name)) {
        bench.prepare("the servers");
        let targets = Targets::start(*programs).await?;
        if bench.plan.wants("manifests") {
            read::manifests(bench, &targets).await?;
        }
        if bench.plan.wants("blobs") {
            read::blobs(bench, &targets).await?;
        }
        if bench.plan.wants("images") {
            images::images(bench, &targets).await?;
        }
        if bench.plan.wants("replay") {
            replay::replay(bench, &targets).await?;
        }
        if bench.plan.wants("tags") {
            listing::tags(bench, &targets).await?;
        }
        targets.stop().await?;
    }
    if bench.plan.wants("pushes") {
        push::blobs(bench, programs).await?;
    }
    Ok(())
}
