//! No wrong byte, and no short answer (P4): a body that ends as if it were whole has all the bytes that were asked for, and
//! the right ones. One whose connection was cut said itself that it is not whole.

use super::evidence::{Evidence, Invariant, Violation};
use crate::history::{Call, Record};
use std::collections::BTreeMap;

/// See the module.
pub struct RightBytes;

impl Invariant for RightBytes {
    fn name(&self) -> &'static str {
        "right_bytes"
    }

    fn promise(&self) -> &'static str {
        "P4"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.history.filter(|record| record.seen.right.is_some()).count()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let sizes: BTreeMap<&str, (u64, &Record)> = evidence
            .history
            .0
            .iter()
            .filter_map(|record| match &record.call {
                Call::PutBlob { digest, size, .. } => Some((digest.as_str(), (*size, record))),
                _ => None,
            })
            .collect();
        evidence.history.0.iter().filter_map(|record| self.judge(evidence, record, &sizes)).collect()
    }
}

impl RightBytes {
    fn judge(&self, evidence: &Evidence, record: &Record, sizes: &BTreeMap<&str, (u64, &Record)>) -> Option<Violation> {
        if record.call.is_write() || !record.seen.whole || !matches!(record.seen.status, Some(200 | 206)) {
            return None;
        }
        let node = evidence.name(record.node);
        let caught = |what: String, push: Option<&Record>| {
            Some(Violation::shown_by(self.name(), what, push.into_iter().chain([record])))
        };
        let asked = record.call.digest();
        if let (Some(asked), Some(named)) = (asked, record.seen.digest.as_deref())
            && asked != named
        {
            return caught(format!("{node} was asked for {asked} and says that it gives {named}"), None);
        }
        let name = asked.or(record.seen.digest.as_deref()).unwrap_or("a manifest");
        if record.seen.right == Some(false) {
            return caught(format!("{node} gave other bytes than those of {name}"), None);
        }
        let Call::GetBlob { digest, range, .. } = &record.call else { return None };
        let (size, push) = sizes.get(digest.as_str())?;
        let expected = match range {
            Some(range) if record.seen.status == Some(206) => range.end.min(*size).saturating_sub(range.start),
            _ => *size,
        };
        let bytes = record.seen.bytes;
        if bytes == expected {
            return None;
        }
        caught(format!("{node} gave {bytes} bytes of {name} as if they were all {expected}"), Some(push))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{Step, caught, evidence, get, get_blob, get_manifest, get_range, passes, put_blob};
    use super::RightBytes;

    fn after_push(step: Step) -> super::Evidence {
        evidence([put_blob("b", 100).at(0, 1), step.on(1).at(2, 3)])
    }

    #[test]
    fn whole_and_right_answers_pass() {
        passes(&RightBytes, &after_push(get_blob("b", 100)));
        passes(&RightBytes, &after_push(get_range("b", 10..20, 10)));
        passes(&RightBytes, &after_push(get_manifest("m")));
        passes(&RightBytes, &after_push(get(Some("m"))));
    }

    #[test]
    fn wrong_bytes_are_caught() {
        caught(&RightBytes, &after_push(get_blob("b", 100).wrong()), "b-1 gave other bytes than those of b", 1);
        caught(&RightBytes, &after_push(get_manifest("m").wrong()), "other bytes than those of m", 1);
        caught(&RightBytes, &after_push(get(Some("m")).wrong()), "other bytes than those of m", 1);
    }

    #[test]
    fn too_few_and_too_many_bytes_are_caught() {
        caught(&RightBytes, &after_push(get_blob("b", 99)), "b-1 gave 99 bytes of b as if they were all 100", 2);
        caught(&RightBytes, &after_push(get_range("b", 10..20, 11)), "gave 11 bytes of b as if they were all 10", 2);
        caught(&RightBytes, &after_push(get_blob("b", 0)), "gave 0 bytes", 2);
    }

    #[test]
    fn another_digest_in_the_header_is_caught() {
        let mut other = get_manifest("m");
        other.0.seen.digest = Some("n".to_owned());
        caught(&RightBytes, &after_push(other), "asked for m and says that it gives n", 1);
    }

    #[test]
    fn a_cut_connection_is_no_wrong_answer() {
        passes(&RightBytes, &after_push(get_blob("b", 50).cut()));
        // Held back is the last chunk; what came before it may have been wrong.
        passes(&RightBytes, &after_push(get_blob("b", 50).wrong().cut()));
    }

    #[test]
    fn a_range_past_the_end_and_a_whole_answer_to_a_range_are_right() {
        passes(&RightBytes, &after_push(get_range("b", 90..200, 10)));
        passes(&RightBytes, &after_push(get_range("b", 90..95, 100).status(200)));
    }

    #[test]
    fn errors_and_blobs_that_nobody_pushed_are_not_measured() {
        passes(&RightBytes, &after_push(get_blob("b", 30).status(503)));
        passes(&RightBytes, &after_push(get_blob("x", 30)));
    }
}
