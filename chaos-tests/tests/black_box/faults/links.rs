//! Links on the emulated WAN. Wants root.

use super::{REPO, image, inject};
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::faults::World;
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::wan::status::LinkStatus;
use portolan_chaos_tests::{Result, kills, tool, wait};
use std::time::{Duration, Instant};

/// How long a client waits for an answer before it takes a link for cut.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a client in a region waits for an answer of a node; nothing when none comes.
async fn answer_time(world: &World<'_>, region: &str, node: usize) -> Result<Option<Duration>> {
    let address = world.cluster.nodes()[node].registry.clone();
    geo::inside(region.to_owned(), || async move {
        let began = Instant::now();
        let answer = Registry::new(&address, PATIENCE).get("/v2/").await;
        Ok(answer.ok().map(|_| began.elapsed()))
    })
    .await
}

/// From which regions the three nodes are reached by others.
async fn reached(world: &World<'_>) -> Result<Vec<(usize, usize)>> {
    let places = world.places();
    let mut reached = Vec::new();
    for (from, place) in places.iter().enumerate() {
        for to in (0..places.len()).filter(|to| *to != from) {
            if answer_time(world, &place.region, to).await?.is_some() {
                reached.push((from, to));
            }
        }
    }
    Ok(reached)
}

fn link(world: &World<'_>, from: &str, to: &str) -> Result<LinkStatus> {
    let links = world.wan.ok_or("no WAN")?.status().links;
    Ok(links.into_iter().find(|link| link.from == from && link.to == to).ok_or("no such link")?)
}

async fn start() -> Result<Geo> {
    let geo = Geo::start(geo::THREE, Plan { nodes_per_region: 1, ..Plan::default() }).await?;
    geo.cluster.registry(0).push(REPO, "v1", &image()).await?;
    Ok(geo)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_links_carry_nothing_until_they_are_healed() -> Result<()> {
    if !tool::is_root("cut_links_carry_nothing_until_they_are_healed") {
        return Ok(());
    }
    let mut geo = start().await?;
    let mut world = World::new(&mut geo.cluster, Some(&geo.wan), kills::seed()).await?;
    let all = vec![(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    assert_eq!(reached(&world).await?, all);
    let without = |region: usize| -> Vec<_> {
        all.iter().copied().filter(|(from, to)| *from != region && *to != region).collect()
    };
    let neither = vec![(0, 2), (1, 2), (2, 0), (2, 1)];
    // No answer comes over a link that is cut in one direction only.
    for (words, left, minority) in [
        ("cut eu-west us-east", neither.clone(), vec![]),
        ("cut-one-way us-east eu-west", neither, vec![]),
        ("isolate ap-south", without(2), vec![2]),
    ] {
        let injected = inject(&mut world, words).await?;
        assert_eq!(reached(&world).await?, left, "{words}");
        let event = super::heal(&mut world, injected).await?;
        assert_eq!((event.minority, event.stops_writes, event.nodes), (minority, false, vec![]), "{words}");
        assert_eq!(reached(&world).await?, all, "after {words}");
    }
    let leader = world.cluster.leader().await?;
    let injected = inject(&mut world, "isolate-leader").await?;
    assert_eq!(reached(&world).await?, without(leader));
    assert_eq!(super::heal(&mut world, injected).await?.minority, [leader]);
    geo.down().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_are_slow_lossy_thin_or_flap_are_so_until_they_are_healed() -> Result<()> {
    if !tool::is_root("links_that_are_slow_lossy_thin_or_flap_are_so_until_they_are_healed") {
        return Ok(());
    }
    let mut geo = start().await?;
    let mut world = World::new(&mut geo.cluster, Some(&geo.wan), kills::seed()).await?;
    let before = link(&world, "eu-west", "us-east")?;

    // A connection and a request are two round trips, of 80 ms without faults.
    let injected = inject(&mut world, "slow us-east eu-west 600ms").await?;
    let slow = answer_time(&world, "eu-west", 1).await?.ok_or("no answer")?;
    assert!(slow > Duration::from_millis(1_200), "{slow:?}");
    super::heal(&mut world, injected).await?;
    wait::until("an answer without the delay", super::WITHIN, async || {
        let quick = answer_time(&world, "eu-west", 1).await.map_err(|error| error.to_string())?;
        let near = quick.is_some_and(|quick| quick < Duration::from_millis(900));
        if near { Ok(()) } else { Err(format!("{quick:?}")) }
    })
    .await?;

    let injected = inject(&mut world, "lossy eu-west us-east 20%").await?;
    wait::until("packets to be lost, since nodes ping each other", super::WITHIN, async || {
        let lost = link(&world, "eu-west", "us-east").map_err(|error| error.to_string())?.lost;
        if lost > before.lost { Ok(()) } else { Err(format!("{lost} were")) }
    })
    .await?;
    let other = inject(&mut world, "reorder us-east eu-west 10%").await?;
    let thin = inject(&mut world, "thin eu-west us-east 2mbit").await?;
    let together = link(&world, "us-east", "eu-west")?;
    assert_eq!((together.loss, together.reorder, together.rate), (0.2, 0.1, 2_000_000));
    for injected in [injected, thin, other] {
        super::heal(&mut world, injected).await?;
    }
    let after = link(&world, "eu-west", "us-east")?;
    let asked = |link: &LinkStatus| (link.delay_ms, link.loss, link.reorder, link.rate, link.queue_bytes, link.cut);
    assert_eq!(asked(&after), asked(&before));

    let injected = inject(&mut world, "flap eu-west ap-south 1s").await?;
    let mut first = None;
    for wanted in [true, false, true, false] {
        wait::until(&format!("the link to be cut: {wanted}"), super::WITHIN, async || {
            let cut = link(&world, "ap-south", "eu-west").map_err(|error| error.to_string())?.cut;
            if cut == wanted { Ok(()) } else { Err(format!("it is {cut}")) }
        })
        .await?;
        first.get_or_insert_with(Instant::now);
    }
    // Three changes lie half a period apart, of which the first may have been seen as late as the second came.
    let lasted = first.ok_or("none was seen")?.elapsed();
    assert!(lasted >= Duration::from_secs(1), "it flaps too fast: {lasted:?}");
    super::heal(&mut world, injected).await?;
    assert!(!link(&world, "ap-south", "eu-west")?.cut);
    geo.down().await
}
