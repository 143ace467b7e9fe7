//! A node goes on answering pulls by digest of what it holds, whatever is broken elsewhere, and also where a cut separates it
//! from every majority (P3, P6, P7): manifests that it served or took before, and blobs that it served whole or whose upload
//! ended there. Judged are pulls by clients of its own region, while nothing was done to the node itself.

use super::evidence::{Evidence, Invariant, Violation};
use super::facts::Facts;
use crate::history::{Call, Micros, Record};
use std::collections::BTreeMap;

/// See the module.
pub struct PullsGoOn;

/// What a node held: itself, the repository, the digest, and whether that is a blob.
type Held<'a> = (usize, &'a str, &'a str, bool);

impl Invariant for PullsGoOn {
    fn name(&self) -> &'static str {
        "pulls_go_on"
    }

    fn promise(&self) -> &'static str {
        "P3, P6, P7"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.history.filter(|record| pulled(record).is_some() && is_at_home(evidence, record)).count()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let mut held: BTreeMap<Held, Vec<&Record>> = BTreeMap::new();
        for record in &evidence.history.0 {
            if let Some(key) = shows_held(record) {
                held.entry(key).or_default().push(record);
            }
        }
        let facts = Facts::new(evidence);
        let mut found = Vec::new();
        for record in &evidence.history.0 {
            let Some(key) = pulled(record).filter(|_| is_refused(record) && is_at_home(evidence, record)) else {
                continue;
            };
            let before = held.get(&key).into_iter().flatten().filter(|held| held.end < record.start);
            let Some(shown) = before.max_by_key(|held| held.end) else { continue };
            let (_, repo, digest, is_blob) = key;
            let (from, to) = (record.start, record.end);
            let push =
                if is_blob { facts.blob((repo, digest), from, to) } else { facts.manifest((repo, digest), from, to) };
            if push.is_none() || is_excused(evidence, record, shown.end) {
                continue;
            }
            let answer = record.seen.status.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
            let node = evidence.name(record.node);
            let meanwhile = evidence.events.iter().find(|event| event.overlaps(from, to));
            let during =
                meanwhile.map_or_else(|| "with nothing broken".to_owned(), |event| format!("during `{}`", event.fault));
            let what = format!("{node} held {repo}@{digest}, but answered {answer} {during}");
            found.push(Violation::shown_by(self.name(), what, [*shown, record]));
        }
        found
    }
}

/// What a record shows its node to hold once it has ended.
fn shows_held(record: &Record) -> Option<Held<'_>> {
    if !record.is_ok() {
        return None;
    }
    match &record.call {
        Call::PutTag { repo, digest, .. } | Call::PutManifest { repo, digest } | Call::GetManifest { repo, digest } => {
            Some((record.node, repo, digest, false))
        }
        Call::GetTag { repo, .. } => Some((record.node, repo, record.seen.digest.as_deref()?, false)),
        // A range is streamed through, and need not be kept.
        Call::GetBlob { repo, digest, range: None } => Some((record.node, repo, digest, true)),
        Call::PutBlob { repo, digest, hops, .. } if hops.iter().all(|&hop| hop == record.node) => {
            Some((record.node, repo, digest, true))
        }
        _ => None,
    }
}

fn pulled(record: &Record) -> Option<Held<'_>> {
    match &record.call {
        Call::GetManifest { repo, digest } => Some((record.node, repo, digest, false)),
        Call::GetBlob { repo, digest, .. } => Some((record.node, repo, digest, true)),
        _ => None,
    }
}

/// Whether an answer is none that a pull may get. To be told to come later by a busy node is, and so is a bad range.
fn is_refused(record: &Record) -> bool {
    !record.is_ok() && !matches!(record.seen.status, Some(416 | 429))
}

/// Whether no cut can lie between the client and the node.
fn is_at_home(evidence: &Evidence, record: &Record) -> bool {
    evidence.nodes.get(record.node).is_some_and(|node| node.region == record.region)
}

/// Whether something else explains it: the node was stopped meanwhile, or lost or damaged what it held.
fn is_excused(evidence: &Evidence, record: &Record, held: Micros) -> bool {
    evidence.events.iter().any(|event| {
        let is_lost = event.wiped.contains(&record.node) || event.harmed.contains(&record.node);
        (event.nodes.contains(&record.node) && event.overlaps(record.start, record.end))
            || (is_lost && event.overlaps(held, record.end))
    })
}

#[cfg(test)]
mod tests {
    use super::super::hand::{
        Step, caught, delete_manifest, event, evidence, get, get_blob, get_manifest, passes, put, put_blob,
    };
    use super::{Evidence, PullsGoOn};

    /// Node 2 pulled the manifest `m` and the blob `b`, and was cut off from 100 ms on.
    fn cut(steps: impl IntoIterator<Item = Step>) -> Evidence {
        let before = [
            put_blob("b", 9).at(0, 1),
            put("m").at(2, 3),
            get(Some("m")).on(2).at(10, 11),
            get_blob("b", 9).on(2).at(12, 13),
        ];
        let mut evidence = evidence(before.into_iter().chain(steps));
        evidence.contents.insert("m".to_owned(), vec!["b".to_owned()]);
        let mut cut = event("cut", 100, Some(200));
        cut.minority = vec![2];
        evidence.events.push(cut);
        evidence
    }

    #[test]
    fn pulls_that_go_on_pass() {
        passes(&PullsGoOn, &cut([get_manifest("m").on(2).at(110, 111), get_blob("b", 9).on(2).at(112, 113)]));
    }

    #[test]
    fn a_refused_a_missing_and_a_hanging_pull_are_caught() {
        let what = "c-1 held r@m, but answered 503 during `cut`";
        caught(&PullsGoOn, &cut([get_manifest("m").status(503).on(2).at(110, 111)]), what, 2);
        let what = "c-1 held r@b, but answered 404";
        caught(&PullsGoOn, &cut([get_blob("b", 0).status(404).on(2).at(110, 111)]), what, 2);
        let what = "c-1 held r@b, but answered nothing";
        caught(&PullsGoOn, &cut([get_blob("b", 0).lost().on(2).at(110, 190)]), what, 2);
        let what = "c-1 held r@b, but answered 200";
        caught(&PullsGoOn, &cut([get_blob("b", 5).cut().on(2).at(110, 190)]), what, 2);
    }

    #[test]
    fn what_was_uploaded_at_the_node_is_held_there() {
        let calls = [put_blob("x", 9).on(2).at(20, 21), get_blob("x", 0).status(503).on(2).at(110, 111)];
        let mut at_node = cut(calls);
        at_node.bounds.unnamed_kept = 1_000_000;
        // The builder's upload went to node 0.
        passes(&PullsGoOn, &at_node);
        for record in &mut at_node.history.0 {
            if let crate::history::Call::PutBlob { hops, .. } = &mut record.call {
                *hops = vec![record.node];
            }
        }
        caught(&PullsGoOn, &at_node, "c-1 held r@x", 2);
    }

    #[test]
    fn what_it_never_had_and_what_was_deleted_may_fail() {
        passes(&PullsGoOn, &cut([put("n").at(4, 5), get_manifest("n").status(503).on(2).at(110, 111)]));
        let deleted = [delete_manifest("m").lost().at(20, 30), get_manifest("m").status(404).on(2).at(110, 111)];
        passes(&PullsGoOn, &cut(deleted));
    }

    #[test]
    fn a_refused_pull_is_caught_while_nothing_is_broken_too() {
        let what = "c-1 held r@m, but answered 503 with nothing broken";
        caught(&PullsGoOn, &cut([get_manifest("m").status(503).on(2).at(300, 301)]), what, 2);
    }

    #[test]
    fn pulls_at_other_nodes_and_from_afar_are_not_judged() {
        passes(&PullsGoOn, &cut([get_manifest("m").status(503).on(1).at(110, 111)]));
        let mut afar = get_manifest("m").lost().on(2).at(110, 111);
        afar.0.region = "a".to_owned();
        passes(&PullsGoOn, &cut([afar]));
    }

    #[test]
    fn a_busy_node_and_one_that_is_killed_or_harmed_too_are_excused() {
        passes(&PullsGoOn, &cut([get_manifest("m").status(429).on(2).at(110, 111)]));
        let mut killed = cut([get_manifest("m").lost().on(2).at(110, 111)]);
        let mut kill = event("kill", 105, Some(120));
        kill.nodes = vec![2];
        killed.events.push(kill);
        passes(&PullsGoOn, &killed);
        let mut rotten = cut([get_blob("b", 0).status(503).on(2).at(110, 111)]);
        let mut rot = event("rot", 50, Some(60));
        rot.harmed = vec![2];
        rotten.events.push(rot);
        passes(&PullsGoOn, &rotten);
    }
}
