//! How each way shows: the load and the faults that bring it to light, and the invariants that have to notice.

use crate::Result;
use crate::scenario::{Disk, Faults, Scenario, bounds};
use crate::schedule::Schedule;
use crate::workload::Mix;
use serde_json::json;
use std::time::Duration;

/// A way, the scenario that shows it, and who has to notice.
pub struct Way {
    /// Its name, as sabotaged nodes know it.
    pub name: &'static str,
    pub scenario: Scenario,
    /// The invariants one of which has to notice.
    pub caught_by: &'static [&'static str],
}

/// All ways.
///
/// # Errors
/// When the words of a fault are none.
pub fn ways() -> Result<Vec<Way>> {
    Ok(consistency()?.into_iter().chain(durability()?).chain(bytes()?).chain(quiet()?).collect())
}

/// A short run. Sessions live so shortly that those that were left are gone soon.
fn short(name: &'static str, about: &'static str, mix: Mix, faults: &[(u64, u64, &str)]) -> Result<Scenario> {
    let mut scenario = Scenario::near(name, about);
    scenario.settings.retain(|(name, _)| *name != "PORTOLAN_UPLOADS_SESSION_TTL_MS");
    scenario.settings.push(("PORTOLAN_UPLOADS_SESSION_TTL_MS", "6000".to_owned()));
    scenario.plan.mix = mix;
    scenario.plan.pause = Duration::from_millis(20);
    scenario.plan.stale_repos = 0;
    scenario.plan.ack_repos = 2;
    scenario.faults = if faults.is_empty() { Faults::Listed(Schedule::default()) } else { Faults::listed(faults)? };
    scenario.length = Duration::from_secs(12);
    scenario.patience = Duration::from_secs(20);
    scenario.bounds = bounds(Duration::from_secs(15));
    Ok(scenario)
}

/// What breaks the order of things.
fn consistency() -> Result<Vec<Way>> {
    let leaders = [(2, 4, "hang-leader"), (6, 8, "hang-leader"), (9, 11, "hang-leader")];
    let early = short("sabotage-quorum", "writes are acknowledged before a majority has them", Mix::tags(), &leaders)?;
    let barrier = short("sabotage-barrier", "tags are read without asking the leader", Mix::tags(), &[])?;
    let behind = [(1, 11, "slow-fsync ap-south-1 200ms")];
    let mut unknown =
        short("sabotage-unknown", "what a node does not know is said to be unknown", Mix::writes(), &behind)?;
    unknown.disk = Disk::Forgetting;
    let mut dedupe = short("sabotage-dedupe", "commands are applied twice", Mix::tags(), &[])?;
    (dedupe.plan.repos, dedupe.plan.tags_per_repo) = (2, 2);
    let slow = [
        (1, 11, "slow-fsync us-east-1 80ms"),
        (1, 11, "slow-fsync ap-south-1 80ms"),
        (1, 11, "slow-fsync eu-west-1 80ms"),
    ];
    let mut sequence = short("sabotage-sequence", "tries are proposed as if they were new", Mix::tags(), &slow)?;
    (sequence.plan.repos, sequence.plan.tags_per_repo) = (2, 2);
    sequence.disk = Disk::Forgetting;
    let minority = [(4, 9, "pause us-east-1"), (4, 9, "pause ap-south-1")];
    let mut stale = short("sabotage-stale", "stale answers are not marked", Mix::tags(), &minority)?;
    // Clients soon give up those that hang, and ask who is left.
    stale.plan.within = Duration::from_millis(1_500);
    stale.plan.clients_per_region = 8;
    let mut snapshot = short(
        "sabotage-snapshot",
        "snapshots do not say up to where they are",
        Mix::tags(),
        &[(2, 9, "kill ap-south-1")],
    )?;
    snapshot.settings.retain(|(name, _)| *name != "PORTOLAN_CLUSTER_SNAPSHOT_LOG_BYTES");
    snapshot.settings.push(("PORTOLAN_CLUSTER_SNAPSHOT_LOG_BYTES", "32768".to_owned()));
    snapshot.length = Duration::from_secs(16);
    const ORDER: &[&str] = &["tags_linearizable", "read_your_push", "history_order", "acknowledged_is_pullable"];
    Ok(vec![
        Way { name: "ack-before-quorum", scenario: early, caught_by: ORDER },
        Way {
            name: "tag-read-without-barrier",
            scenario: barrier,
            caught_by: &["read_your_push", "tags_linearizable"],
        },
        Way { name: "guess-unknown", scenario: unknown, caught_by: &["no_false_404"] },
        Way { name: "no-dedupe", scenario: dedupe, caught_by: &["history_order", "tags_linearizable"] },
        Way {
            name: "retry-under-new-sequence",
            scenario: sequence,
            caught_by: &["history_order", "tags_linearizable"],
        },
        Way {
            name: "stale-unmarked",
            scenario: stale,
            caught_by: &["stale_is_marked", "tags_linearizable", "read_your_push"],
        },
        Way { name: "snapshot-without-applied", scenario: snapshot, caught_by: &["replicas_agree"] },
    ])
}

/// What loses things.
fn durability() -> Result<Vec<Way>> {
    let mut fsync =
        short("sabotage-fsync", "what is acknowledged is on no disk", Mix::writes(), &[(6, 8, "kill-all")])?;
    fsync.disk = Disk::Forgetting;
    // No copy lands at the others before the region that takes the pushes is gone.
    let wiped = [
        (1, 12, "failing-fsync eu-west-1 fetches/*"),
        (1, 12, "failing-fsync us-east-1 fetches/*"),
        (9, 12, "wipe ap-south"),
    ];
    let mut copies = short("sabotage-copies", "pushes do not wait for their copies", Mix::writes(), &wiped)?;
    (copies.plan.ack_repos, copies.disk) = (6, Disk::Forgetting);
    (copies.plan.scale, copies.plan.within) = (1.0 / 8.0, Duration::from_secs(4));
    let mut edges = short("sabotage-edges", "what a manifest refers to is not written down", Mix::writes(), &[])?;
    edges.settings.push(("PORTOLAN_UPLOADS_PIN_MS", "4000".to_owned()));
    edges.bounds.unnamed_kept = 0;
    let wakes = short("sabotage-wakes", "nodes forget what they have to copy", Mix::writes(), &[])?;
    Ok(vec![
        Way { name: "skip-fsync", scenario: fsync, caught_by: &["acknowledged_is_pullable", "tags_linearizable"] },
        Way { name: "ack-before-copies", scenario: copies, caught_by: &["acked_by_policy"] },
        Way { name: "forget-edges", scenario: edges, caught_by: &["acknowledged_is_pullable", "no_false_404"] },
        Way { name: "drop-wake-ups", scenario: wakes, caught_by: &["copies_made"] },
    ])
}

/// What gives wrong bytes.
fn bytes() -> Result<Vec<Way>> {
    let rot = [(3, 6, "rot eu-west-1"), (6, 8, "rot eu-west-1"), (8, 11, "rot eu-west-1")];
    let scenario = |name, about| -> Result<Scenario> {
        let mut scenario = short(name, about, Mix::study(), &rot)?;
        scenario.settings.push(("PORTOLAN_STORAGE_VERIFY_READS", "always".to_owned()));
        // Two regions store what the third asks them for each time; few blobs, so that those that rot are read.
        scenario.policies = vec![("plain", json!({"regions": {"never_outside": ["eu-west", "us-east"]}}))];
        (scenario.plan.repos, scenario.plan.tags_per_repo, scenario.plan.ack_repos) = (1, 2, 0);
        scenario.plan.pause = Duration::from_millis(5);
        scenario.plan.clients_per_region = 6;
        Ok(scenario)
    };
    const BYTES: &[&str] = &["right_bytes"];
    // Every region reads its own copies.
    let mut own = scenario("sabotage-rot", "nodes do not check their own files")?;
    own.policies.clear();
    let chunks = short("sabotage-offset", "uploads go on one byte off", Mix::uploads(), &[])?;
    Ok(vec![
        Way {
            name: "trust-peer-bytes",
            scenario: scenario("sabotage-peers", "peers' bytes are taken for right")?,
            caught_by: BYTES,
        },
        Way {
            name: "complete-unproven",
            scenario: scenario("sabotage-ends", "answers end before their digest is right")?,
            caught_by: BYTES,
        },
        Way { name: "serve-rot", scenario: own, caught_by: BYTES },
        Way { name: "resume-off-by-one", scenario: chunks, caught_by: &["acknowledged_is_pullable", "right_bytes"] },
    ])
}

/// What leaves things behind.
fn quiet() -> Result<Vec<Way>> {
    let scenario = short("sabotage-sessions", "sessions of uploads are never swept", Mix::uploads(), &[])?;
    Ok(vec![Way { name: "leave-uploads", scenario, caught_by: &["nothing_left_over"] }])
}
