//! The workload of the chaos runs, against a cluster that nobody breaks: everything is acknowledged, right, and there.

use portolan_chaos_tests::client::Failure;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::history::{Call, History, Outcome, Record};
use portolan_chaos_tests::workload::{Counts, Mix, Plan, Workload};
use portolan_chaos_tests::{Result, kills, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const LENGTH: Duration = Duration::from_secs(20);

/// How many kinds of calls clients make.
const KINDS: usize = 11;

/// How long it may take until each has been made.
const KINDS_WITHIN: Duration = Duration::from_secs(120);

/// How long a node may take to say what a tag is.
const WITHIN: Duration = Duration::from_secs(30);

/// A tag of a repository.
type Name<'a> = (&'a str, &'a str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_seconds_as_in_production_leave_every_acknowledged_tag_and_no_wrong_answer() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    for node in 0..cluster.nodes().len() {
        cluster.wait_writable(node).await?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.jsonl");
    let plan = Plan { seed: kills::seed(), mix: Mix::study(), file: Some(path.clone()), ..Plan::default() };
    let running = Workload::start(cluster.nodes(), plan)?;
    let (mut counts, truth, began) = (running.watch(), running.truth(), Instant::now());
    let all = |counts: &Counts| began.elapsed() >= LENGTH && counts.by_call.len() == KINDS;
    // The rarest call is one in four hundred: on a slow machine that takes longer.
    let every_kind = tokio::time::timeout(KINDS_WITHIN, counts.wait_for(all)).await.is_ok_and(|seen| seen.is_ok());
    let history = running.stop().await?;
    let counts = counts.borrow().clone();
    eprintln!("{counts:#?}");

    let wrong: Vec<_> = history.filter(|record| record.seen.right == Some(false)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let failed: Vec<_> = history.filter(is_strange).collect();
    assert!(failed.is_empty(), "nothing was broken: {failed:#?}");
    let refused = history.filter(is_refused).count();
    assert!(refused * 20 < history.0.len(), "{refused} calls of {} were refused", history.0.len());
    assert!(every_kind, "not every kind of call in {KINDS_WITHIN:?}: {:?}", counts.by_call);
    for client in history.0.iter().map(|record| record.region.as_str()).collect::<BTreeSet<_>>() {
        assert!(counts.last_write.contains_key(client) && counts.last_read.contains_key(client), "{client}");
    }
    let paged = |record: &Record| matches!(&record.call, Call::ListTags { last: Some(_), .. }) && record.is_ok();
    assert!(history.filter(paged).count() > 0, "no list has a second page");
    let reads = history.filter(|record| !record.call.is_write()).count() as f64 / history.0.len() as f64;
    assert!((0.85..0.99).contains(&reads), "{reads} of the calls read");
    assert_eq!(History::read(std::fs::File::open(path)?)?, history);

    let tags = last_writes(&history);
    assert!(tags.len() > 20, "{} tags", tags.len());
    let registry = cluster.registry(0);
    for ((repo, tag), candidates) in &tags {
        let found = wait::until(&format!("{repo}:{tag}"), WITHIN, async || match registry.manifest(repo, tag).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Status { status, .. }) if status == 404 => Ok(None),
            Err(other) => Err(other.to_string()),
        })
        .await?;
        let digest = found.as_ref().map(|found| found.digest.as_str());
        assert!(candidates.contains(&digest), "{repo}:{tag} is {digest:?}, not one of {candidates:?}");
        if let Some(found) = &found {
            assert_eq!(Some(&found.bytes), truth.get_manifest(&found.digest).map(|made| made.bytes()).as_ref());
        }
    }
    cluster.stop().await?;
    Ok(())
}

/// A failure that a cluster in good health has no reason for.
fn is_strange(record: &Record) -> bool {
    // Another client may have deleted what was asked for, but nobody ends another's upload.
    let gone = record.is_absent() && !matches!(record.call, Call::PutBlob { .. });
    // An image in an index is not deleted before the index.
    let listed = record.seen.status == Some(405) && matches!(record.call, Call::DeleteManifest { .. });
    // The client cut its own connections once too often.
    let cut = record.seen.status.is_none() && matches!(record.call, Call::PutBlob { .. });
    record.outcome() != Outcome::Ok && !gone && !listed && !cut && !is_refused(record)
}

/// Whether a node said to come again: on a busy machine a leader may seem lost for a moment.
fn is_refused(record: &Record) -> bool {
    record.seen.status == Some(503) && record.seen.retry_after
}

/// What each tag may be in the end: what was written last, or beside something else that was, or by a write of which nobody
/// knows whether it took effect. `None` is a deletion.
fn last_writes(history: &History) -> BTreeMap<Name<'_>, BTreeSet<Option<&str>>> {
    let mut writes: BTreeMap<Name, Vec<(&Record, Option<&str>)>> = BTreeMap::new();
    let mut deleted: BTreeMap<Name, Vec<&Record>> = BTreeMap::new();
    for record in history.filter(|record| record.outcome() != Outcome::Failed) {
        match &record.call {
            Call::PutTag { repo, tag, digest } => writes.entry((repo, tag)).or_default().push((record, Some(digest))),
            Call::DeleteTag { repo, tag } => writes.entry((repo, tag)).or_default().push((record, None)),
            Call::DeleteManifest { repo, digest } => deleted.entry((repo, digest)).or_default().push(record),
            _ => {}
        }
    }
    let mut tags = BTreeMap::new();
    for (name, writes) in writes {
        let candidates: &mut BTreeSet<_> = tags.entry(name).or_default();
        for (write, digest) in &writes {
            let is_over = |other: &Record| write.is_ok() && other.is_ok() && other.start > write.end;
            if writes.iter().any(|(other, _)| is_over(other)) {
                continue;
            }
            // With a manifest its tags go, those of a push that began before included.
            let with_it = digest.and_then(|digest| deleted.get(&(name.0, digest)));
            let deletes = with_it.map(Vec::as_slice).unwrap_or_default();
            if !deletes.is_empty() {
                candidates.insert(None);
            }
            if !deletes.iter().any(|delete| is_over(delete)) {
                candidates.insert(*digest);
            }
        }
    }
    tags
}
