//! Portolan across regions: the same cluster with each region in a network namespace of its own, and an emulated WAN
//! between them. Clients run inside the namespace of their region.

pub mod commit;
pub mod copies;
pub mod pull;
pub mod push;
pub mod site;

use super::bench::Bench;
use super::host;
use super::outcome::{Chart, Part};
use super::plan::{Bound, Plan};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::wan::Topology;
use site::Site;
use std::path::Path;

/// Why there can be no WAN on this machine.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces want root: run it as root".to_owned());
    }
    if !host::has("ip") {
        return Some("no `ip` (Debian package iproute2)".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("no /dev/net/tun: the kernel has no TUN devices".to_owned());
    }
    None
}

/// The part over the WAN. What cannot be done is left out and named.
pub async fn run(plan: &Plan, topology: &Topology) -> (Part, Vec<Chart>) {
    let bound = Bound::seconds(plan.wan_seconds);
    let mut bench = Bench::new(plan.clone(), bound);
    if let Some(why) = missing() {
        bench.skip(format!("everything over the WAN: {why}"));
    } else {
        match bound.keep(scenarios(&mut bench, topology)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => bench.skip(format!("the rest of the part over the WAN: {error}")),
            None => bench.skip("the rest of the part over the WAN: the time was up".to_owned()),
        }
    }
    let (charts, skipped) = bench.finish();
    (Part { name: "WAN", seconds: bound.elapsed(), bound_seconds: bound.limit(), skipped }, charts)
}

async fn scenarios(bench: &mut Bench, topology: &Topology) -> Result<()> {
    bench.prepare("a cluster across regions");
    let mut site = Site::up(topology).await?;
    if bench.plan.wants("wan-commit") {
        commit::run(bench, &site).await?;
    }
    if bench.plan.wants("wan-push") {
        push::run(bench, &site).await?;
    }
    if bench.plan.wants("wan-durable") {
        copies::run(bench, &site).await?;
    }
    if bench.plan.wants("wan-pull") {
        bench.say("The third region's node is killed on purpose now: the pull shall be alone.");
        site.kill_all_but_two().await?;
        pull::run(bench, &site).await?;
    }
    site.down().await
}
