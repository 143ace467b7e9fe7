//! Processes that die, hang, run out of memory, or look at another clock.

use super::{WITHIN, answers, heal, inject, start, wait_ends_under_load, world};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::data_folder::logged_at;
use portolan_chaos_tests::fault::Fault;
use portolan_chaos_tests::faults::clock;
use portolan_chaos_tests::{Result, tool, wait};
use std::time::{Duration, Instant, SystemTime};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_were_killed_or_hang_do_not_answer_until_they_are_healed() -> Result<()> {
    let mut cluster = start(Options::default()).await?;
    let mut world = world(&mut cluster).await?;
    for (words, node) in [("kill eu-west-1", 0), ("pause us-east-1", 1)] {
        let injected = inject(&mut world, words).await?;
        assert!(!answers(world.cluster, node).await, "{words}");
        assert!(answers(world.cluster, 2).await, "{words}");
        let event = heal(&mut world, injected).await?;
        assert_eq!((event.nodes, event.stops_writes, event.minority), (vec![node], false, vec![]));
    }
    let before = world.cluster.pid(2)?;
    let injected = inject(&mut world, "restart ap-south-1").await?;
    heal(&mut world, injected).await?;
    assert_ne!(world.cluster.pid(2)?, before, "another process");

    // Two at once, healed the other way round.
    let first = inject(&mut world, "pause eu-west-1").await?;
    let mut second = inject(&mut world, "kill ap-south-1").await?;
    second.heal(&mut world).await?;
    let event = second.event(portolan_chaos_tests::history::Micros(0), None);
    assert_eq!((event.stops_writes, event.minority), (true, vec![1]), "one of three voters was left");
    heal(&mut world, first).await?;

    let injected = inject(&mut world, "kill-all").await?;
    for node in 0..3 {
        assert!(!answers(world.cluster, node).await, "{node}");
    }
    assert!(heal(&mut world, injected).await?.stops_writes);
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_leads_once_the_leader_was_moved() -> Result<()> {
    let mut cluster = start(Options::default()).await?;
    let mut world = world(&mut cluster).await?;
    for (words, stopped) in [("hang-leader", true), ("move-leader", false)] {
        let until = Instant::now() + WITHIN;
        loop {
            let before = world.cluster.leader().await?;
            let injected = inject(&mut world, words).await?;
            let said = injected.said().to_owned();
            let event = heal(&mut world, injected).await?;
            let nodes = if stopped { vec![before] } else { vec![] };
            assert_eq!((event.nodes, event.stops_writes), (nodes, false), "{words}");
            let now = world.cluster.leader().await?;
            let name = |node: usize| &world.cluster.nodes()[node].name;
            if now != before && said == format!("{} led, now {}", name(before), name(now)) {
                break;
            }
            // A machine that stands still has elections of its own, and nodes that have one refuse the command.
            assert!(Instant::now() < until, "{words}: {said}, and {} leads", name(now));
        }
    }
    cluster.stop().await?;
    Ok(())
}

/// Whether a node has logged a line at about a moment, as its own clock told it.
pub(super) async fn wait_logged_at(
    cluster: &Cluster,
    node: usize,
    offset: impl Fn(SystemTime) -> SystemTime,
) -> Result<()> {
    wait::until("a log line with the time of another clock", WITHIN, async || {
        let _ = answers(cluster, node).await;
        let wanted = offset(SystemTime::now());
        let logs = cluster.logs(node).map_err(|error| error.to_string())?;
        let times = logs.lines().filter_map(logged_at);
        let off = |time: SystemTime| time.duration_since(wanted).unwrap_or_else(|before| before.duration());
        let nearest = times.map(off).min();
        if nearest.is_some_and(|off| off < Duration::from_secs(30)) { Ok(()) } else { Err(format!("{nearest:?} off")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_moves_the_times_in_the_log_and_nothing_else() -> Result<()> {
    let clocks = tempfile::tempdir()?;
    let environment = clock::environment(clocks.path());
    if environment.is_empty() {
        eprintln!("skipped: libfaketime is not installed");
        return Ok(());
    }
    let mut cluster = start(Options { environment, ..Options::default() }).await?;
    let mut world = world(&mut cluster).await?;
    let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
    let before = world.cluster.pid(0)?;
    for words in ["clock eu-west-1 +1day", "clock eu-west-1 -1h"] {
        let injected = inject(&mut world, words).await?;
        wait_logged_at(world.cluster, 0, |now| if words.contains('+') { now + day } else { now - hour }).await?;
        // The others' clocks do not jump.
        wait_logged_at(world.cluster, 1, |now| now).await?;
        super::Registry::new(&world.cluster.nodes()[0].registry, WITHIN)
            .push(super::REPO, "meanwhile", &super::image())
            .await?;
        assert!(heal(&mut world, injected).await?.nodes.is_empty(), "{words} stops nobody");
    }
    assert_eq!(world.cluster.pid(0)?, before, "nobody ended of it");
    // A node that is started again has such a clock too.
    let injected = inject(&mut world, "restart eu-west-1").await?;
    heal(&mut world, injected).await?;
    let injected = inject(&mut world, "clock eu-west-1 +2days").await?;
    wait_logged_at(world.cluster, 0, |now| now + 2 * day).await?;
    heal(&mut world, injected).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_does_not_jump_is_complained_of() -> Result<()> {
    let clocks = tempfile::tempdir()?;
    let mut environment = clock::environment(clocks.path());
    // The file is written, and nobody reads it.
    environment.retain(|(key, _)| *key != "LD_PRELOAD");
    if environment.is_empty() {
        eprintln!("skipped: libfaketime is not installed");
        return Ok(());
    }
    let mut cluster = start(Options { environment, ..Options::default() }).await?;
    let mut world = world(&mut cluster).await?;
    let injected = "clock us-east-1 -1h".parse::<Fault>()?.inject(&mut world).await?;
    let [(1, complaint)] = injected.complaints() else { panic!("{:?}", injected.complaints()) };
    assert!(complaint.contains("does not show it"), "{complaint}");
    heal(&mut world, injected).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_wants_more_memory_than_it_may_have_is_killed_and_one_that_does_not_lives() -> Result<()> {
    if !tool::is_root("a_node_that_wants_more_memory_than_it_may_have_is_killed_and_one_that_does_not_lives") {
        return Ok(());
    }
    let mut cluster = start(Options::default()).await?;
    let mut world = world(&mut cluster).await?;
    let before = world.cluster.pid(0)?;
    let injected = inject(&mut world, "memory eu-west-1 1024MiB").await?;
    assert!(heal(&mut world, injected).await?.nodes.is_empty());
    assert_eq!(world.cluster.pid(0)?, before, "it had enough");

    let injected = inject(&mut world, "memory eu-west-1 8MiB").await?;
    wait_ends_under_load(world.cluster, 0).await?;
    assert_eq!(heal(&mut world, injected).await?.nodes, [0]);
    cluster.stop().await?;
    Ok(())
}
