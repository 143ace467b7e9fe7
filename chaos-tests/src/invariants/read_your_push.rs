//! A read of a tag that begins, at any node, after a push's 201 sees that push or a later one (P2), unless it is marked
//! stale or its repository allows a bound. This is weaker than [`super::tags_linearizable`], and its three calls at most
//! say at once what is wrong.

use super::evidence::{Evidence, Invariant, Violation};
use super::facts::may_undo;
use super::tags::{Tag, tags};
use crate::history::{Outcome, Record};

/// See the module.
pub struct ReadYourPush;

impl Invariant for ReadYourPush {
    fn name(&self) -> &'static str {
        "read_your_push"
    }

    fn promise(&self) -> &'static str {
        "P2"
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let judged =
            tags(evidence).into_iter().filter(|((repo, _), _)| !evidence.bounds.stale_repos.contains_key(*repo));
        let mut found = Vec::new();
        for (key, tag) in judged {
            let reads = tag.reads.iter().filter(|read| !read.is_marked());
            found.extend(reads.filter_map(|read| self.judge(evidence, key, &tag, read)));
        }
        found
    }
}

impl ReadYourPush {
    fn judge(&self, evidence: &Evidence, (repo, name): (&str, &str), tag: &Tag, read: &Record) -> Option<Violation> {
        let before = tag.pushes.iter().filter(|push| push.is_ok() && push.end < read.start);
        let push = before.max_by_key(|push| push.start)?;
        let node = evidence.name(read.node);
        let pushed = push.call.digest().unwrap_or_default();
        let Some(seen) = read.seen.digest.as_deref().filter(|_| read.is_ok()) else {
            let may_be_gone = tag.deletes.iter().any(|delete| may_undo(delete, push) && delete.start <= read.end);
            return (read.is_absent() && !may_be_gone).then(|| {
                let what = format!("{node} says that there is no {repo}:{name}, after the push of {pushed}");
                Violation::shown_by(self.name(), what, [*push, read])
            });
        };
        // Any push of what was seen may have been the later one, unless it was over before the other began.
        let may_be_later = |seen: &Record| seen.outcome() == Outcome::Unknown || push.start <= seen.end;
        if tag.pushes_of(seen).any(|seen| may_be_later(seen) && seen.start <= read.end) {
            return None;
        }
        let what = format!("{node} says that {repo}:{name} is {seen}, after the push of {pushed}");
        let earlier = tag.pushes_of(seen).max_by_key(|push| push.end);
        Some(Violation::shown_by(self.name(), what, earlier.into_iter().chain([*push, read])))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, delete, delete_manifest, evidence, get, passes, put};
    use super::ReadYourPush;

    #[test]
    fn reads_of_the_last_push_at_every_node_pass() {
        let reads = (0..3).map(|node| get(Some("b")).on(node).at(40, 41));
        passes(&ReadYourPush, &evidence([put("a").at(0, 10), put("b").at(20, 30)].into_iter().chain(reads)));
    }

    #[test]
    fn an_older_push_at_another_node_is_caught_by_three_calls() {
        let calls =
            [put("a").at(0, 10), put("b").at(20, 30), get(Some("a")).on(2).at(31, 32), get(Some("b")).at(33, 34)];
        caught(&ReadYourPush, &evidence(calls), "c-1 says that r:t is a, after the push of b", 3);
    }

    #[test]
    fn a_404_after_a_push_is_caught() {
        caught(
            &ReadYourPush,
            &evidence([put("a").at(0, 10), get(None).at(11, 12)]),
            "there is no r:t, after the push of a",
            2,
        );
    }

    #[test]
    fn what_nobody_ever_pushed_is_caught() {
        caught(&ReadYourPush, &evidence([put("a").at(0, 10), get(Some("x")).at(11, 12)]), "r:t is x", 2);
    }

    #[test]
    fn a_404_after_a_push_that_followed_the_delete_is_caught() {
        let calls = [put("a").at(0, 1), delete().at(2, 3), put("b").at(4, 5), get(None).at(6, 7)];
        caught(&ReadYourPush, &evidence(calls), "after the push of b", 2);
    }

    #[test]
    fn deletes_of_the_tag_or_of_its_manifest_explain_a_404() {
        passes(&ReadYourPush, &evidence([put("a").at(0, 1), delete().lost().at(2, 3), get(None).at(6, 7)]));
        passes(&ReadYourPush, &evidence([put("a").at(0, 1), delete_manifest("a").at(2, 3), get(None).at(6, 7)]));
        let other = [put("a").at(0, 1), delete_manifest("x").at(2, 3), get(None).at(6, 7)];
        caught(&ReadYourPush, &evidence(other), "there is no r:t", 2);
    }

    #[test]
    fn pushes_at_one_time_and_pushes_of_which_nobody_heard_may_come_last() {
        passes(&ReadYourPush, &evidence([put("a").at(0, 25), put("b").at(20, 30), get(Some("a")).at(31, 32)]));
        passes(&ReadYourPush, &evidence([put("a").lost().at(0, 1), put("b").at(20, 30), get(Some("a")).at(31, 32)]));
        // The read began before the answer.
        passes(&ReadYourPush, &evidence([put("a").at(0, 1), put("b").at(20, 30), get(Some("a")).at(29, 35)]));
    }

    #[test]
    fn marked_reads_and_repositories_with_a_bound_are_not_judged() {
        let calls = |read| [put("a").at(0, 10), put("b").at(20, 30), read];
        passes(&ReadYourPush, &evidence(calls(get(Some("a")).stale(3).at(31, 32))));
        let mut bounded = evidence(calls(get(Some("a")).at(31, 32)));
        bounded.bounds.stale_repos.insert("r".to_owned(), 5);
        passes(&ReadYourPush, &bounded);
    }
}
