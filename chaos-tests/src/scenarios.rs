//! All runs that have a name.

use crate::scenario::{Disk, Faults, Ground, Scenario, bounds};
use crate::schedule::Pool;
use crate::workload::{Mix, Plan};
use std::time::Duration;

/// Three regions on three continents.
pub const CONTINENTS: &str = include_str!("../topologies/three-continents.toml");

/// The names of those that CI runs, in order.
pub const CI: [&str; 5] = ["processes", "links", "disks", "rot", "wipe"];

/// What CI draws from: a seed by which every fault of each pool comes at least once.
pub const CI_SEED: u64 = 20_260_263;

/// The names of those that a soak goes through, again and again.
pub const SOAK: [&str; 2] = ["forgetful", "crowded"];

/// The name of the one that the table of DR numbers is made of.
pub const DR: &str = "dr";

/// How soon writes are acknowledged again between continents, where an election alone may take ten seconds.
const RESUME_FAR: Duration = Duration::from_secs(40);

/// All of them.
///
/// # Errors
/// When the words of a fault are none: a mistake in here.
pub fn all() -> crate::Result<Vec<Scenario>> {
    let near = vec![processes()?, disks()?, rot()?];
    let far = vec![links()?, wipe()?, forgetful()?, crowded()?, dr()?];
    Ok([near, far, crate::sabotage::scenarios()?].concat())
}

/// The one of a name.
///
/// # Errors
/// When there is none; it tells which there are.
pub fn named(name: &str) -> crate::Result<Scenario> {
    let all = all()?;
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
    let names = names.join(", ");
    let found = all.into_iter().find(|scenario| scenario.name == name);
    Ok(found.ok_or_else(|| format!("no scenario is named {name:?}; there are {names}"))?)
}

/// The same on three continents.
fn far(name: &'static str, about: &'static str) -> Scenario {
    let mut scenario = Scenario::near(name, about);
    scenario.ground = Ground::Wan(CONTINENTS);
    scenario.settings.push(("PORTOLAN_CLUSTER_PROFILE", "global".to_owned()));
    scenario.bounds = bounds(RESUME_FAR);
    scenario
}

/// A pool for short runs.
fn pool(words: &[&str], at_once: usize) -> crate::Result<Faults> {
    let mut pool = Pool::of(words)?;
    pool.at_once = at_once;
    pool.gaps = Duration::from_millis(500)..Duration::from_secs(3);
    pool.lasts = Duration::from_secs(2)..Duration::from_secs(7);
    pool.quiet = Duration::from_secs(6);
    Ok(Faults::Drawn(pool))
}

fn processes() -> crate::Result<Scenario> {
    let mut scenario =
        Scenario::near("processes", "nodes are killed, hang, restart, run short of memory, and look at other clocks");
    scenario.clocks = true;
    scenario.faults = pool(
        &[
            "kill *",
            "pause *",
            "restart *",
            "kill-all",
            "move-leader",
            "hang-leader",
            "clock * +1h",
            "clock * -1day",
            "memory * 96MiB",
        ],
        2,
    )?;
    scenario.length = Duration::from_secs(50);
    Ok(scenario)
}

fn links() -> crate::Result<Scenario> {
    let mut scenario =
        far("links", "links between three continents are cut, flap, or are slow, lossy, thin and out of order");
    scenario.faults = pool(
        &[
            "cut * *",
            "cut-one-way * *",
            "isolate *",
            "isolate-leader",
            "flap * * 2s",
            "slow * * 500ms",
            "lossy * * 3%",
            "reorder * * 5%",
            "thin * * 5mbit",
            "move-leader",
        ],
        2,
    )?;
    scenario.length = Duration::from_secs(75);
    Ok(scenario)
}

fn disks() -> crate::Result<Scenario> {
    let mut scenario =
        Scenario::near("disks", "disks forget what was not synced, are slow, fail, are damaged, and lost");
    scenario.disk = Disk::Forgetting;
    scenario.faults = pool(
        &[
            "forget *",
            "forget *",
            "slow-fsync * 100ms",
            "failing-fsync * raft/*.log",
            "failing-fsync * uploads/*/data",
            "damage-log *",
            "damage-snapshot *",
            "lose-disk *",
            "move-leader",
        ],
        2,
    )?;
    Ok(scenario)
}

fn rot() -> crate::Result<Scenario> {
    let mut scenario = Scenario::near("rot", "bits of blob files turn, and disks are full");
    scenario.disk = Disk::Small(512);
    scenario.settings.push(("PORTOLAN_STORAGE_VERIFY_READS", "always".to_owned()));
    scenario.faults = pool(&["rot *", "rot *", "full-disk *", "kill *", "move-leader"], 2)?;
    Ok(scenario)
}

fn wipe() -> crate::Result<Scenario> {
    let mut scenario = far("wipe", "a region is gone for good, with all disks in it");
    scenario.plan.ack_repos = scenario.plan.repos - 2;
    // Usually that of the leader. It lasts longer than writes may take to go on.
    scenario.faults = Faults::listed(&[(12, 45, "wipe eu-west")])?;
    scenario.length = Duration::from_secs(45);
    scenario.bounds.writes_resume = 25_000_000;
    Ok(scenario)
}

/// What a soak breaks on every kind of disk.
const EVERYWHERE: [&str; 18] = [
    "kill *",
    "pause *",
    "restart *",
    "kill-all",
    "move-leader",
    "hang-leader",
    "memory * 128MiB",
    "cut * *",
    "cut-one-way * *",
    "isolate *",
    "isolate-leader",
    "flap * * 3s",
    "slow * * 600ms",
    "lossy * * 3%",
    "reorder * * 5%",
    "thin * * 5mbit",
    "lose-disk *",
    "rot *",
];

/// A run of a soak: two nodes a region, clients as in production, everything mixed.
fn round(mut scenario: Scenario, more: &[&str]) -> crate::Result<Scenario> {
    scenario.nodes_per_region = 2;
    scenario.settings.push(("PORTOLAN_STORAGE_VERIFY_READS", "always".to_owned()));
    scenario.plan = Plan {
        mix: Mix::study(),
        repos: 12,
        stale_repos: 2,
        ack_repos: 4,
        clients_per_region: 4,
        pause: Duration::from_millis(100),
        within: Duration::from_secs(20),
        ..Plan::default()
    };
    let words: Vec<&str> = EVERYWHERE.iter().chain(more).copied().collect();
    let mut pool = Pool::of(&words)?;
    pool.at_once = 3;
    pool.lasts = Duration::from_secs(5)..Duration::from_secs(30);
    pool.gaps = Duration::from_secs(2)..Duration::from_secs(15);
    pool.quiet = Duration::from_secs(30);
    scenario.faults = Faults::Drawn(pool);
    scenario.length = Duration::from_secs(20 * 60);
    scenario.patience = Duration::from_secs(180);
    Ok(scenario)
}

fn forgetful() -> crate::Result<Scenario> {
    let mut scenario = far("forgetful", "everything at once on three continents, on disks that forget");
    scenario.disk = Disk::Forgetting;
    scenario.clocks = true;
    let more = [
        "forget *",
        "slow-fsync * 150ms",
        "failing-fsync * raft/*.log",
        "failing-fsync * uploads/*/data",
        "damage-log *",
        "damage-snapshot *",
        "clock * +1h",
        "clock * -1day",
    ];
    round(scenario, &more)
}

fn crowded() -> crate::Result<Scenario> {
    let mut scenario = far("crowded", "everything at once on three continents, on disks that fill up");
    scenario.disk = Disk::Small(1024);
    scenario.clocks = true;
    round(scenario, &["full-disk *", "full-disk *", "damage-log *", "clock * +1h"])
}

/// How long each of the table's faults is in force, and how long it is quiet after it, in seconds.
const DR_LASTS: u64 = 12;
const DR_CALM: u64 = 18;

/// The faults of the table, each alone. What has to be on a small disk is not among them.
const DR_FAULTS: [&str; 23] = [
    "kill us-east-1",
    "pause us-east-1",
    "restart us-east-1",
    "kill-all",
    "move-leader",
    "cut eu-west us-east",
    "cut-one-way us-east ap-south",
    "isolate ap-south",
    "isolate-leader",
    "flap eu-west us-east 2s",
    "slow eu-west us-east 500ms",
    "lossy eu-west ap-south 3%",
    "reorder eu-west ap-south 5%",
    "thin eu-west us-east 5mbit",
    "slow-fsync eu-west-1 150ms",
    "failing-fsync us-east-1 raft/*.log",
    "forget eu-west-1",
    "lose-disk us-east-1",
    "damage-log ap-south-1",
    "damage-snapshot us-east-1",
    "rot eu-west-1",
    "memory ap-south-1 96MiB",
    "clock eu-west-1 +1h",
];

/// The last one: nothing can be broken after it.
const DR_LAST: &str = "wipe eu-west";

fn dr() -> crate::Result<Scenario> {
    let mut scenario = far(DR, "each fault alone on three continents, for the table of DR numbers");
    scenario.disk = Disk::Forgetting;
    scenario.clocks = true;
    scenario.settings.push(("PORTOLAN_STORAGE_VERIFY_READS", "always".to_owned()));
    scenario.plan.mix = Mix::study();
    let slot = DR_LASTS + DR_CALM;
    let faults = DR_FAULTS.into_iter().chain([DR_LAST]).zip(0_u64..);
    let planned: Vec<_> = faults.map(|(words, at)| (10 + at * slot, 10 + at * slot + DR_LASTS, words)).collect();
    scenario.length = Duration::from_secs(10 + planned.len() as u64 * slot);
    scenario.faults = Faults::listed(&planned)?;
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{CI, CI_SEED, CONTINENTS, DR, SOAK, all, named};
    use crate::faults::sides::Place;
    use crate::scenario::{Faults, Ground, Scenario};
    use std::collections::BTreeSet;

    fn places(scenario: &Scenario) -> Vec<Place> {
        let place = |region: &str, at: usize| Place {
            name: format!("{region}-{at}"),
            region: region.to_owned(),
            voter: at == 1,
        };
        let regions = ["eu-west", "us-east", "ap-south"];
        regions.iter().flat_map(|region| (1..=scenario.nodes_per_region).map(|at| place(region, at))).collect()
    }

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_is_found_by_it() {
        let all = all().unwrap();
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        for name in CI.iter().chain(&SOAK).chain(&[DR]) {
            assert_eq!(named(name).unwrap().name, *name);
        }
        let unknown = named("none").unwrap_err().to_string();
        assert!(unknown.contains("no scenario is named \"none\"") && unknown.contains("processes"), "{unknown}");
    }

    #[test]
    fn every_scenario_breaks_what_is_there_and_what_its_ground_and_disks_can() {
        for scenario in all().unwrap() {
            let places = places(&scenario);
            let schedule = scenario.faults.schedule(7, scenario.length, &places);
            let is_known = |name: &String| places.iter().any(|place| place.name == *name || place.region == *name);
            for planned in &schedule.0 {
                let named: Vec<String> = planned.fault.node().into_iter().chain(planned.fault.regions()).collect();
                assert!(named.iter().all(is_known), "{}: {planned:?}", scenario.name);
                let is_link = planned.fault.regions().len() == 2;
                assert!(!is_link || scenario.ground == Ground::Wan(CONTINENTS), "{}: {planned:?}", scenario.name);
            }
            let is_sabotage = scenario.name.starts_with("sabotage-");
            assert!(is_sabotage || schedule.0.len() > usize::from(scenario.name != "wipe") * 4, "{}", scenario.name);
        }
    }

    #[test]
    fn ci_breaks_everything_that_its_scenarios_name() {
        let mut missing = Vec::new();
        for name in CI {
            let scenario = named(name).unwrap();
            let Faults::Drawn(pool) = &scenario.faults else { continue };
            let wanted: BTreeSet<&str> = pool.faults.iter().map(|(fault, _)| fault.kind()).collect();
            let schedule = scenario.faults.schedule(CI_SEED, scenario.length, &places(&scenario));
            let drawn: BTreeSet<&str> = schedule.0.iter().map(|planned| planned.fault.kind()).collect();
            missing.extend(wanted.difference(&drawn).map(|kind| format!("{name}: {kind}")));
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
