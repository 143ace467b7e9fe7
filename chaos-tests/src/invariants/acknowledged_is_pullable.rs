//! What was acknowledged and not deleted is there, whole and right, at every node once all has healed (P1, P3). Blobs of
//! which every copy that their repository asked for lay on disks that were lost are excused; manifests lie on every node.

use super::evidence::{Evidence, Invariant, Violation};
use super::facts::{Facts, Pulls};
use super::losses;
use std::collections::BTreeSet;

/// See the module.
pub struct AcknowledgedIsPullable;

impl Invariant for AcknowledgedIsPullable {
    fn name(&self) -> &'static str {
        "acknowledged_is_pullable"
    }

    fn promise(&self) -> &'static str {
        "P1, P3"
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
            let regions = evidence.bounds.ack_regions.get(key.0).copied().unwrap_or(1).max(1);
            let blobs = facts.blobs_of(key).filter(|_| losses::leave_a_copy(evidence, push.end, regions));
            for (repo, digest) in std::iter::once(key).chain(blobs) {
                if judged.insert((repo, digest))
                    && let Some(wrong) = pulls.wrong((repo, digest))
                {
                    let what = format!("{repo}@{digest} was acknowledged, but after healing {wrong}");
                    found.push(Violation::shown_by(self.name(), what, [push]));
                }
            }
        }
        // An upload is acknowledged by the node that took it.
        for (key, upload) in facts.uploads().filter(|(_, upload)| losses::leave_a_copy(evidence, upload.end, 1)) {
            if judged.insert(key)
                && let Some(wrong) = pulls.wrong(key)
            {
                let what = format!("the upload of {}@{} was acknowledged, but after healing {wrong}", key.0, key.1);
                found.push(Violation::shown_by(self.name(), what, [upload]));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, delete_manifest, event, evidence, passes, pulls, put, put_blob, put_manifest};
    use super::AcknowledgedIsPullable;
    use super::Evidence;

    /// A manifest `m` that names the blob `b`; every node was asked for both.
    fn pushed(manifest: [u16; 3], blob: [u16; 3]) -> Evidence {
        let mut evidence = evidence([put("m").at(0, 10)]);
        evidence.contents.insert("m".to_owned(), vec!["b".to_owned()]);
        evidence.after.pulls = [pulls("m", manifest), pulls("b", blob)].concat();
        evidence
    }

    #[test]
    fn what_every_node_gives_passes() {
        passes(&AcknowledgedIsPullable, &pushed([200; 3], [200; 3]));
    }

    #[test]
    fn a_manifest_that_one_node_does_not_know_is_caught() {
        caught(
            &AcknowledgedIsPullable,
            &pushed([200, 404, 200], [200; 3]),
            "r@m was acknowledged, but after healing b-1 answers 404",
            1,
        );
    }

    #[test]
    fn a_blob_that_one_node_cannot_give_is_caught() {
        caught(
            &AcknowledgedIsPullable,
            &pushed([200; 3], [200, 200, 503]),
            "r@b was acknowledged, but after healing c-1 answers 503",
            1,
        );
    }

    #[test]
    fn wrong_bytes_silence_and_a_node_that_nobody_asked_are_caught() {
        let mut wrong = pushed([200; 3], [200; 3]);
        wrong.after.pulls[1].right = false;
        caught(&AcknowledgedIsPullable, &wrong, "b-1 gives other bytes", 1);
        let mut silent = pushed([200; 3], [200; 3]);
        silent.after.pulls[1].status = None;
        caught(&AcknowledgedIsPullable, &silent, "b-1 does not answer", 1);
        let mut unasked = pushed([200; 3], [200; 3]);
        unasked.after.pulls.remove(1);
        caught(&AcknowledgedIsPullable, &unasked, "b-1 was not asked", 1);
    }

    #[test]
    fn an_upload_that_no_manifest_names_is_missed_only_for_as_long_as_it_stays() {
        let mut evidence = pushed([200; 3], [200; 3]);
        evidence.history = super::super::hand::evidence([put("m").at(0, 10), put_blob("x", 9).at(20, 30)]).history;
        evidence.after.pulls.extend(pulls("x", [200, 404, 404]));
        passes(&AcknowledgedIsPullable, &evidence);
        evidence.bounds.unnamed_kept = 1_000;
        caught(&AcknowledgedIsPullable, &evidence, "the upload of r@x was acknowledged, but after healing b-1", 1);
    }

    #[test]
    fn a_push_after_a_delete_counts_again() {
        let mut evidence = pushed([404; 3], [404; 3]);
        let again = [put("m").at(0, 10), delete_manifest("m").at(20, 30), put_manifest("m").at(40, 50)];
        evidence.history = super::super::hand::evidence(again).history;
        assert_eq!(super::Invariant::check(&AcknowledgedIsPullable, &evidence).len(), 2);
    }

    #[test]
    fn what_was_deleted_or_may_be_or_was_never_acknowledged_is_not_missed() {
        for history in [
            vec![put("m").at(0, 10), delete_manifest("m").at(20, 30)],
            vec![put("m").at(0, 10), delete_manifest("m").lost().at(20, 30)],
            // The delete may have come last.
            vec![put("m").at(0, 10), delete_manifest("m").at(20, 40), put("m").at(30, 50)],
            // Long after it was given up, it may take effect.
            vec![delete_manifest("m").lost().at(0, 10), put("m").at(30, 50)],
            vec![put("m").lost().at(0, 10)],
        ] {
            let mut evidence = pushed([404; 3], [404; 3]);
            evidence.history = super::super::hand::evidence(history).history;
            passes(&AcknowledgedIsPullable, &evidence);
        }
    }

    #[test]
    fn a_node_that_is_gone_for_good_is_not_asked() {
        let mut evidence = pushed([200; 3], [200; 3]);
        evidence.after.pulls.retain(|pull| pull.node != 2);
        evidence.after.gone.insert(2);
        passes(&AcknowledgedIsPullable, &evidence);
    }

    #[test]
    fn a_blob_on_lost_disks_is_excused_but_its_manifest_is_not() {
        let mut lost = pushed([200; 3], [503; 3]);
        let mut wipe = event("wipe", 20, Some(30));
        wipe.wiped = vec![0];
        lost.events.push(wipe.clone());
        passes(&AcknowledgedIsPullable, &lost);
        // With copies in two regions the loss of one is no excuse; and none is one that was over before the push.
        lost.bounds.ack_regions.insert("r".to_owned(), 2);
        caught(&AcknowledgedIsPullable, &lost, "r@b", 1);
        let mut manifest = pushed([200, 200, 404], [200; 3]);
        manifest.events.push(wipe);
        caught(&AcknowledgedIsPullable, &manifest, "r@m", 1);
    }

    #[test]
    fn nothing_is_judged_where_nothing_was_pulled() {
        passes(&AcknowledgedIsPullable, &evidence([put("m").at(0, 10)]));
    }
}
