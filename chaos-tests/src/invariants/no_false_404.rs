//! 404 means that there is no committed record (P3): never of what was committed before the call began and could not be
//! deleted before it ended. Also of a tag where staleness is allowed, since "unknown" is always confirmed.

use super::evidence::{Evidence, Invariant, Violation};
use super::facts::Facts;
use super::tags::tags;
use crate::history::{Call, Record};

/// See the module.
pub struct NoFalse404;

impl Invariant for NoFalse404 {
    fn name(&self) -> &'static str {
        "no_false_404"
    }

    fn promise(&self) -> &'static str {
        "P3"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.history.filter(|record| !record.call.is_write()).count()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let facts = Facts::new(evidence);
        let tags = tags(evidence);
        let mut found = Vec::new();
        for record in evidence.history.filter(Record::is_absent) {
            let (push, of) = match &record.call {
                Call::GetManifest { repo, digest } => {
                    (facts.manifest((repo, digest), record.start, record.end), format!("{repo}@{digest}"))
                }
                Call::GetBlob { repo, digest, .. } => {
                    (facts.blob((repo, digest), record.start, record.end), format!("{repo}@{digest}"))
                }
                Call::GetTag { repo, tag } => (
                    tags.get(&(repo.as_str(), tag.as_str())).and_then(|tag| tag.present(record.start, record.end)),
                    format!("{repo}:{tag}"),
                ),
                _ => continue,
            };
            if let Some(push) = push {
                let what =
                    format!("{} says that there is no {of}, which was pushed before", evidence.name(record.node));
                found.push(Violation::shown_by(self.name(), what, [push, record]));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{
        caught, delete, delete_manifest, evidence, get, get_blob, get_manifest, passes, put, put_blob, put_manifest,
    };
    use super::{Evidence, NoFalse404};

    /// The manifest `m` names the blob `b`.
    fn naming(mut evidence: Evidence) -> Evidence {
        evidence.contents.insert("m".to_owned(), vec!["b".to_owned()]);
        evidence
    }

    #[test]
    fn a_404_before_the_push_or_after_the_delete_passes() {
        let calls = [
            get_manifest("m").status(404).at(0, 1),
            put("m").at(2, 3),
            delete_manifest("m").at(10, 11),
            get_manifest("m").status(404).at(12, 13),
            get_blob("b", 0).status(404).at(12, 13),
            get(None).at(12, 13),
        ];
        passes(&NoFalse404, &naming(evidence(calls)));
    }

    #[test]
    fn a_404_for_a_manifest_that_is_there_is_caught() {
        let calls = [put_manifest("m").at(0, 1), get_manifest("m").status(404).on(1).at(2, 3)];
        caught(&NoFalse404, &evidence(calls), "b-1 says that there is no r@m", 2);
    }

    #[test]
    fn a_404_for_a_blob_that_a_manifest_names_is_caught() {
        let calls = [put("m").at(0, 1), get_blob("b", 0).status(404).on(2).at(2, 3)];
        caught(&NoFalse404, &naming(evidence(calls)), "c-1 says that there is no r@b", 2);
    }

    #[test]
    fn a_404_for_a_tag_is_caught_even_where_staleness_is_allowed() {
        let mut evidence = evidence([put("m").at(0, 1), get(None).at(2, 3)]);
        evidence.bounds.stale_repos.insert("r".to_owned(), 60);
        caught(&NoFalse404, &evidence, "there is no r:t", 2);
    }

    #[test]
    fn a_404_after_a_push_that_followed_the_delete_is_caught() {
        let calls = [
            put("m").at(0, 1),
            delete_manifest("m").at(2, 3),
            put("m").at(4, 5),
            get_manifest("m").status(404).at(6, 7),
        ];
        caught(&NoFalse404, &evidence(calls), "r@m", 2);
    }

    #[test]
    fn a_blob_that_nothing_names_is_judged_for_as_long_as_it_is_kept() {
        let calls = [put_blob("b", 9).at(0, 1), get_blob("b", 0).status(404).at(500, 501)];
        let mut evidence = evidence(calls);
        passes(&NoFalse404, &evidence);
        evidence.bounds.unnamed_kept = 1_000_000;
        caught(&NoFalse404, &evidence, "r@b", 2);
        evidence.bounds.unnamed_kept = 400_000;
        passes(&NoFalse404, &evidence);
    }

    #[test]
    fn calls_at_one_time_and_deletes_of_which_nobody_heard_excuse() {
        for delete in [delete_manifest("m").lost().at(2, 3), delete_manifest("m").at(4, 50), delete().at(4, 50)] {
            let is_of_tag = matches!(delete.0.call, crate::history::Call::DeleteTag { .. });
            let read = if is_of_tag { get(None) } else { get_manifest("m").status(404) };
            passes(&NoFalse404, &evidence([put("m").at(0, 1), delete, read.at(5, 6)]));
        }
        // The push was not acknowledged when the read began, or ever.
        passes(&NoFalse404, &evidence([put("m").at(0, 10), get_manifest("m").status(404).at(9, 11)]));
        passes(&NoFalse404, &evidence([put("m").lost().at(0, 1), get_manifest("m").status(404).at(9, 11)]));
    }

    #[test]
    fn deleting_the_tag_keeps_the_manifest() {
        let calls = [put("m").at(0, 1), delete().at(2, 3), get_manifest("m").status(404).at(4, 5)];
        caught(&NoFalse404, &evidence(calls), "r@m", 2);
    }
}
