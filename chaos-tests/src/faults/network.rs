//! Links that are cut, slow, lossy, disorderly or thin.

use super::effect::Effect;
use super::links::Pair;
use super::world::World;
use crate::Result;
use crate::wan::LinkChange;
use std::time::Duration;

const CUT: LinkChange =
    LinkChange { delay: None, jitter: None, loss: None, reorder: None, rate: None, queue: None, cut: Some(true) };

pub(super) fn cut(world: &mut World<'_>, id: u64, a: &str, b: &str) -> Result<Effect> {
    change(world, id, a, b, CUT, "is cut")
}

pub(super) fn cut_one_way(world: &mut World<'_>, id: u64, from: &str, to: &str) -> Result<Effect> {
    let pairs = world.pairs(|a, b| a == from && b == to, &format!("{from} to {to}"))?;
    world.change_links(id, pairs, CUT)?;
    Ok(said(format!("nothing passes from {from} to {to}")))
}

pub(super) fn isolate(world: &mut World<'_>, id: u64, region: &str) -> Result<Effect> {
    let pairs = world.pairs(|a, b| a == region || b == region, region)?;
    world.change_links(id, pairs, CUT)?;
    Ok(said(format!("{region} is cut from all others")))
}

pub(super) fn flap(world: &mut World<'_>, id: u64, a: &str, b: &str, period: Duration) -> Result<Effect> {
    let pairs = between(world, a, b)?;
    world.flap_links(id, pairs, period)?;
    Ok(said(format!("the link of {a} and {b} comes and goes every {}", humantime::format_duration(period))))
}

pub(super) fn slow(world: &mut World<'_>, id: u64, a: &str, b: &str, rtt: Duration) -> Result<Effect> {
    let said = format!("has a round trip of {}", humantime::format_duration(rtt));
    change(world, id, a, b, LinkChange { delay: Some(rtt / 2), ..LinkChange::default() }, &said)
}

pub(super) fn lossy(world: &mut World<'_>, id: u64, a: &str, b: &str, share: f64) -> Result<Effect> {
    let said = format!("loses {} of its packets", crate::wan::quantity::show_share(share));
    change(world, id, a, b, LinkChange { loss: Some(share), ..LinkChange::default() }, &said)
}

pub(super) fn reorder(world: &mut World<'_>, id: u64, a: &str, b: &str, share: f64) -> Result<Effect> {
    let said = format!("reorders {} of its packets", crate::wan::quantity::show_share(share));
    change(world, id, a, b, LinkChange { reorder: Some(share), ..LinkChange::default() }, &said)
}

pub(super) fn thin(world: &mut World<'_>, id: u64, a: &str, b: &str, rate: u64) -> Result<Effect> {
    let said = format!("carries {}", crate::wan::quantity::show_rate(rate));
    // The old queue would hold many seconds of a thin link.
    change(world, id, a, b, LinkChange { rate: Some(rate), queue: Some(0), ..LinkChange::default() }, &said)
}

fn change(world: &mut World<'_>, id: u64, a: &str, b: &str, change: LinkChange, words: &str) -> Result<Effect> {
    let pairs = between(world, a, b)?;
    world.change_links(id, pairs, change)?;
    Ok(said(format!("the link of {a} and {b} {words}")))
}

fn between(world: &World<'_>, a: &str, b: &str) -> Result<Vec<Pair>> {
    world.pairs(|from, to| (from == a && to == b) || (from == b && to == a), &format!("{a} and {b}"))
}

fn said(said: String) -> Effect {
    Effect { said, ..Effect::default() }
}
