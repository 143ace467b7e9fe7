//! What a repository with acknowledgements from `k` regions acknowledged survives the loss of all disks in fewer (P1, P6).
//! Losses count as one while the copies of the earlier one are not restored.

use super::evidence::{Evidence, Invariant, Violation};
use super::facts::{Facts, Pulls};
use super::losses;
use std::collections::BTreeSet;

/// See the module.
pub struct AckedByPolicy;

impl Invariant for AckedByPolicy {
    fn name(&self) -> &'static str {
        "acked_by_policy"
    }

    fn promise(&self) -> &'static str {
        "P1, P6"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.after.pulls.len()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let Some(pulls) = Pulls::new(evidence) else { return Vec::new() };
        let facts = Facts::new(evidence);
        let mut judged = BTreeSet::new();
        let mut found = Vec::new();
        for (key, push) in facts.remaining() {
            let Some(&regions) = evidence.bounds.ack_regions.get(key.0).filter(|&&regions| regions > 1) else {
                continue;
            };
            let Some(loss) = losses::since(evidence, push.end).find(|loss| push.end < loss.begin) else { continue };
            if !losses::leave_a_copy(evidence, push.end, regions) {
                continue;
            }
            for (repo, digest) in std::iter::once(key).chain(facts.blobs_of(key)) {
                if judged.insert((repo, digest))
                    && let Some(wrong) = pulls.wrong((repo, digest))
                {
                    let fault = &loss.fault;
                    let what =
                        format!("{repo}@{digest} was acknowledged by {regions} regions, but after `{fault}` {wrong}");
                    found.push(Violation::shown_by(self.name(), what, [push]));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, event, evidence, passes, pulls, put};
    use super::{AckedByPolicy, Evidence};

    /// A push to a repository with two regions, after which all disks of some nodes are lost.
    fn wiped(nodes: &[usize], blob: [u16; 3]) -> Evidence {
        let mut evidence = evidence([put("m").at(0, 10)]);
        evidence.contents.insert("m".to_owned(), vec!["b".to_owned()]);
        evidence.bounds.ack_regions.insert("r".to_owned(), 2);
        evidence.after.pulls = [pulls("m", [200; 3]), pulls("b", blob)].concat();
        let mut wipe = event("wipe", 20, Some(30));
        wipe.wiped = nodes.to_vec();
        evidence.events.push(wipe);
        evidence
    }

    #[test]
    fn what_survives_the_loss_of_a_region_passes() {
        passes(&AckedByPolicy, &wiped(&[0], [200; 3]));
    }

    #[test]
    fn a_blob_that_is_lost_with_one_region_is_caught() {
        caught(
            &AckedByPolicy,
            &wiped(&[0], [503; 3]),
            "acknowledged by 2 regions, but after `wipe` a-1 answers 503",
            1,
        );
    }

    #[test]
    fn a_manifest_that_is_lost_with_one_region_is_caught() {
        let mut evidence = wiped(&[0], [200; 3]);
        evidence.after.pulls[0].status = Some(404);
        caught(&AckedByPolicy, &evidence, "r@m was acknowledged by 2 regions", 1);
    }

    #[test]
    fn two_regions_one_after_the_other_lose_nothing_either() {
        let mut evidence = wiped(&[0], [503; 3]);
        let mut second = event("wipe", 40, Some(50));
        second.wiped = vec![1];
        evidence.events.push(second);
        caught(&AckedByPolicy, &evidence, "r@b", 1);
    }

    #[test]
    fn two_regions_at_once_may_lose_it() {
        passes(&AckedByPolicy, &wiped(&[0, 1], [503; 3]));
        let mut evidence = wiped(&[0], [503; 3]);
        // The copies of the first were not restored yet.
        let mut second = event("wipe", 25, Some(50));
        second.wiped = vec![1];
        evidence.events.push(second);
        passes(&AckedByPolicy, &evidence);
    }

    #[test]
    fn nothing_is_promised_for_one_region_nor_before_the_push() {
        let mut evidence = wiped(&[0], [503; 3]);
        evidence.bounds.ack_regions.insert("r".to_owned(), 1);
        passes(&AckedByPolicy, &evidence);
        let mut early = wiped(&[0], [503; 3]);
        early.history.0[0].end = crate::history::Micros(25_000);
        passes(&AckedByPolicy, &early);
    }
}
