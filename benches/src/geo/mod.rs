//! The geo data plane on an emulated WAN: what crosses it, how full it gets, and what readers notice of losses. Every
//! figure has the CPU that nodes, clients and router used meanwhile beside it, since they share one machine. In reading
//! order:
//!
//! - [`plan`] says how much is run; [`site`] is the WAN with a cluster on it; [`ledger`] who used the cores;
//! - [`wire`] is a client that costs next to nothing, [`image`] what it pulls, [`blobs`] pushes many small ones,
//!   [`pace`] begins pulls at fixed times;
//! - [`crowd`], [`fill`], [`acks`], [`kill`] and [`repair`] are the scenarios.

pub mod acks;
pub mod blobs;
pub mod crowd;
pub mod fill;
pub mod image;
pub mod kill;
pub mod ledger;
pub mod pace;
pub mod plan;
pub mod repair;
pub mod site;
pub mod wire;

use crate::compare::bench::Bench;
use crate::compare::outcome::{Chart, Part};
use crate::compare::plan::Bound;
use crate::compare::wan::missing;
use plan::GeoPlan;
use portolan_chaos_tests::Result;
use site::Site;

/// All scenarios that are wanted. What cannot be done is left out and named.
pub async fn run(plan: &GeoPlan) -> (Part, Vec<Chart>) {
    let bound = Bound::seconds(plan.seconds);
    let mut bench = Bench::new(plan.clone(), bound);
    if let Some(why) = missing() {
        bench.skip(format!("everything: {why}"));
    } else {
        match bound.keep(scenarios(&mut bench)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => bench.skip(format!("the rest: {error}")),
            None => bench.skip("the rest: the time was up".to_owned()),
        }
    }
    let (charts, skipped) = bench.finish();
    (Part { name: "WAN", seconds: bound.elapsed(), bound_seconds: bound.limit(), skipped }, charts)
}

async fn scenarios(bench: &mut Bench<GeoPlan>) -> Result<()> {
    if ["wan-crowd", "wan-acks"].iter().any(|name| bench.plan.wants(name)) {
        bench.prepare("a cluster across regions");
        let site = Site::up(&bench.plan, &[]).await?;
        if bench.plan.wants("wan-crowd") {
            let ended = crowd::run(bench, &site).await;
            note(bench, "wan-crowd", ended);
        }
        if bench.plan.wants("wan-acks") {
            let ended = acks::run(bench, &site).await;
            note(bench, "wan-acks", ended);
        }
        site.down().await?;
    }
    if bench.plan.wants("wan-fill") {
        let ended = fill::run(bench).await;
        note(bench, "wan-fill", ended);
    }
    if bench.plan.wants("wan-kill") {
        let ended = kill::run(bench).await;
        note(bench, "wan-kill", ended);
    }
    if bench.plan.wants("wan-repair") {
        let ended = repair::run(bench).await;
        note(bench, "wan-repair", ended);
    }
    Ok(())
}

/// A scenario that failed leaves the others alone.
fn note(bench: &mut Bench<GeoPlan>, name: &str, ended: Result<()>) {
    if let Err(error) = ended {
        bench.skip(format!("the rest of {name}: {error}"));
    }
}
