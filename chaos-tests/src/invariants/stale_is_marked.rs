//! An answer that is older than linearizable says so (P2, P7): `Warning` and `Age`, always together, and `Age` is true. What
//! is not marked is fresh, or, in a repository with a bound, no older than that. "Unknown" is never said of a stale state.
//! Lists are read as tags are: what is not marked has all that was there, and nothing that was gone.
//!
//! How old an answer is at least: since the first acknowledged change that certainly came after the last push of what it
//! shows. Without a confirmation since its start a node estimates `Age` by the clock, so that it is not judged once clocks
//! were made to jump.

mod cut_off;
mod lists;

use super::evidence::{Evidence, Invariant, Violation};
use super::tags::{Tag, tags};
use crate::history::{Call, Micros, Outcome, Record};
use lists::Lists;

const SECOND: u64 = 1_000_000;

/// See the module.
pub struct StaleIsMarked;

impl Invariant for StaleIsMarked {
    fn name(&self) -> &'static str {
        "stale_is_marked"
    }

    fn promise(&self) -> &'static str {
        "P2, P7"
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let tags = tags(evidence);
        let reads = evidence.history.filter(|record| !record.call.is_write());
        let mut found: Vec<Violation> = reads.filter_map(|read| self.judge_marks(evidence, read)).collect();
        for ((repo, name), tag) in &tags {
            found.extend(tag.reads.iter().filter_map(|read| self.judge_age(evidence, (repo, name), tag, read)));
        }
        found.extend(cut_off::confident(evidence).map(|(read, event)| {
            let (node, fault) = (evidence.name(read.node), &event.fault);
            let what = format!("{node} answered as if it knew, though `{fault}` cut it off from every majority");
            Violation::shown_by(self.name(), what, [read])
        }));
        let lists = Lists::new(evidence, &tags);
        for read in evidence.history.filter(|record| record.is_ok() && !record.is_marked()) {
            if let Some((what, call)) = lists.wrong(read) {
                found.push(Violation::shown_by(self.name(), what, [call, read]));
            }
        }
        found
    }
}

/// The first acknowledged change after which a tag certainly no longer pointed to a digest, until `before`.
fn superseded<'a>(tag: &Tag<'a>, digest: &str, before: Micros) -> Option<&'a Record> {
    let mut last = None;
    for push in tag.pushes_of(digest).filter(|push| push.start <= before) {
        if push.outcome() == Outcome::Unknown {
            return None;
        }
        last = last.max(Some(push.end));
    }
    let last = last?;
    let removes = |record: &Record| match &record.call {
        Call::DeleteManifest { digest: deleted, .. } => deleted == digest,
        Call::PutTag { digest: put, .. } => put != digest,
        _ => true,
    };
    let changes = tag.pushes.iter().chain(&tag.deletes).copied();
    changes.filter(|change| change.is_ok() && last < change.start && removes(change)).min_by_key(|change| change.end)
}

impl StaleIsMarked {
    fn judge_marks(&self, evidence: &Evidence, read: &Record) -> Option<Violation> {
        let node = evidence.name(read.node);
        let what = match (read.is_marked(), read.seen.age) {
            (true, None) => format!("{node} marked an answer as stale without saying how old it is"),
            (false, Some(age)) => format!("{node} said that an answer is {age} s old without marking it as stale"),
            (true, Some(_)) if read.is_absent() => format!("{node} said of a stale state that it has no such thing"),
            _ => return None,
        };
        Some(Violation::shown_by(self.name(), what, [read]))
    }

    fn judge_age(
        &self,
        evidence: &Evidence,
        (repo, name): (&str, &str),
        tag: &Tag,
        read: &Record,
    ) -> Option<Violation> {
        let digest = read.seen.digest.as_deref().filter(|_| read.is_ok())?;
        let (allowed, claim) = if read.is_marked() {
            if evidence.events.iter().any(|event| event.kind.starts_with("clock") && event.begin <= read.end) {
                return None;
            }
            // The header is in whole seconds.
            (read.seen.age?.saturating_add(1), "says that it is no older than")
        } else {
            (evidence.bounds.stale_repos.get(repo).copied().unwrap_or(0), "is not marked, as if it were no older than")
        };
        let change = superseded(tag, digest, read.end)?;
        let age = read.start.0.checked_sub(change.end.0).filter(|&age| age > allowed.saturating_mul(SECOND))?;
        let node = evidence.name(read.node);
        let what =
            format!("{node} gave {repo}:{name} as it was {} ms before; the answer {claim} {allowed} s", age / 1000);
        let push = tag.pushes_of(digest).max_by_key(|push| push.end);
        Some(Violation::shown_by(self.name(), what, push.into_iter().chain([change, read])))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{Step, caught, delete, delete_manifest, event, evidence, get, list, passes, put};
    use super::{Call, Evidence, StaleIsMarked};

    /// `a` is replaced by `b` between 20 and 30 ms, and then something is read.
    fn replaced(read: Step) -> Evidence {
        evidence([put("a").at(0, 10), put("b").at(20, 30), read])
    }

    fn bounded(read: Step, seconds: u64) -> Evidence {
        let mut evidence = replaced(read);
        evidence.bounds.stale_repos.insert("r".to_owned(), seconds);
        evidence
    }

    #[test]
    fn fresh_answers_and_true_marks_pass() {
        passes(&StaleIsMarked, &replaced(get(Some("b")).at(40, 41)));
        passes(&StaleIsMarked, &replaced(get(Some("a")).stale(3).at(3_000, 3_001)));
        passes(&StaleIsMarked, &bounded(get(Some("a")).at(5_000, 5_001), 5));
    }

    #[test]
    fn a_stale_answer_without_a_mark_is_caught() {
        let what = "a-1 gave r:t as it was 10 ms before; the answer is not marked, as if it were no older than 0 s";
        caught(&StaleIsMarked, &replaced(get(Some("a")).at(40, 41)), what, 3);
    }

    #[test]
    fn an_answer_beyond_the_bound_is_caught() {
        caught(&StaleIsMarked, &bounded(get(Some("a")).at(5_100, 5_101), 5), "no older than 5 s", 3);
    }

    #[test]
    fn an_answer_that_is_older_than_it_says_is_caught_unless_clocks_jumped() {
        let mut evidence = replaced(get(Some("a")).stale(2).at(3_100, 3_101));
        caught(&StaleIsMarked, &evidence, "as it was 3070 ms before; the answer says that it is no older than 3 s", 3);
        evidence.events.push(event("clock-jump", 1_000, Some(1_001)));
        passes(&StaleIsMarked, &evidence);
    }

    #[test]
    fn half_a_mark_is_caught() {
        let mut no_age = get(Some("b")).stale(0).at(40, 41);
        no_age.0.seen.age = None;
        caught(&StaleIsMarked, &replaced(no_age), "without saying how old", 1);
        let mut no_warning = get(Some("b")).stale(7).at(40, 41);
        no_warning.0.seen.warning = None;
        caught(&StaleIsMarked, &replaced(no_warning), "7 s old without marking", 1);
    }

    #[test]
    fn unknown_said_of_a_stale_state_is_caught() {
        caught(&StaleIsMarked, &evidence([get(None).stale(1).at(0, 1)]), "of a stale state", 1);
    }

    #[test]
    fn a_deleted_tag_that_is_still_read_is_caught() {
        let calls = [put("a").at(0, 10), delete().at(20, 30), get(Some("a")).at(40, 41)];
        caught(&StaleIsMarked, &evidence(calls), "as it was 10 ms before", 3);
        let calls = [put("a").at(0, 10), delete_manifest("a").at(20, 30), get(Some("a")).at(40, 41)];
        caught(&StaleIsMarked, &evidence(calls), "as it was 10 ms before", 3);
    }

    #[test]
    fn a_list_that_lacks_a_tag_or_has_a_deleted_one_is_caught() {
        let lacks = [put("a").at(0, 1), list(None, &[]).at(2, 3)];
        caught(&StaleIsMarked, &evidence(lacks), "does not list r:t", 2);
        let lacks = [put("a").at(0, 1), list(None, &["s", "u"]).at(2, 3)];
        caught(&StaleIsMarked, &evidence(lacks), "does not list r:t", 2);
        let has = [put("a").at(0, 1), delete().at(2, 3), list(None, &["t"]).at(4, 5)];
        caught(&StaleIsMarked, &evidence(has), "lists r:t, which was deleted", 2);
    }

    #[test]
    fn a_page_tells_nothing_of_what_comes_before_or_after_it() {
        let mut page = list(None, &["r", "s"]).at(2, 3);
        caught(&StaleIsMarked, &evidence([put("a").at(0, 1), page.clone()]), "does not list r:t", 2);
        page.0.seen.more = true;
        passes(&StaleIsMarked, &evidence([put("a").at(0, 1), page]));
        passes(&StaleIsMarked, &evidence([put("a").at(0, 1), list(Some("t"), &[]).at(2, 3)]));
        passes(&StaleIsMarked, &evidence([put("a").at(0, 1), list(None, &[]).stale(2).at(2, 3)]));
        passes(&StaleIsMarked, &evidence([put("a").at(0, 5), list(None, &[]).at(2, 3)]));
    }

    #[test]
    fn a_catalog_that_lacks_a_repository_is_caught() {
        let read = |names: &[&str]| {
            let mut step = list(None, names);
            step.0.call = Call::Catalog { last: None };
            step.at(2, 3)
        };
        passes(&StaleIsMarked, &evidence([put("a").at(0, 1), read(&["r"])]));
        let mut lacks = evidence([put("a").at(0, 1), read(&["q"])]);
        caught(&StaleIsMarked, &lacks, "does not list the repository r", 2);
        lacks.bounds.stale_repos.insert(String::new(), 9);
        passes(&StaleIsMarked, &lacks);
        // It may have lost its last manifest.
        passes(&StaleIsMarked, &evidence([put("a").at(0, 1), delete_manifest("a").lost().at(1, 2), read(&[])]));
    }

    #[test]
    fn referrers_that_lack_one_are_caught() {
        let read = |names: &[&str]| {
            let mut step = list(None, names);
            step.0.call = Call::Referrers { repo: "r".to_owned(), subject: "a".to_owned() };
            step.at(2, 3)
        };
        let referred = |steps: Vec<Step>| {
            let mut evidence = evidence(steps);
            evidence.subjects.insert("s".to_owned(), "a".to_owned());
            evidence
        };
        passes(&StaleIsMarked, &referred(vec![put("s").at(0, 1), read(&["s"])]));
        passes(&StaleIsMarked, &referred(vec![put("s").lost().at(0, 1), read(&[])]));
        passes(&StaleIsMarked, &referred(vec![put("x").at(0, 1), read(&[])]));
        caught(&StaleIsMarked, &referred(vec![put("s").at(0, 1), read(&[])]), "does not list s as a referrer of a", 2);
    }

    #[test]
    fn pushes_at_one_time_or_without_an_answer_may_have_come_last() {
        passes(&StaleIsMarked, &evidence([put("a").at(0, 25), put("b").at(20, 30), get(Some("a")).at(40, 41)]));
        passes(&StaleIsMarked, &evidence([put("a").lost().at(0, 1), put("b").at(20, 30), get(Some("a")).at(40, 41)]));
        passes(&StaleIsMarked, &evidence([put("a").at(0, 1), put("b").lost().at(20, 30), get(Some("a")).at(40, 41)]));
    }
}
