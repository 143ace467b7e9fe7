//! Whoever is refused only for now is told when to come again (P7): each 503 and 429 has `Retry-After`.

use super::evidence::{Evidence, Invariant, Violation};
use crate::history::Record;

/// See the module.
pub struct ComeAgain;

impl Invariant for ComeAgain {
    fn name(&self) -> &'static str {
        "come_again"
    }

    fn promise(&self) -> &'static str {
        "P7"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.history.filter(is_for_now).count()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let refusals = evidence.history.filter(|record| is_for_now(record) && !record.seen.retry_after);
        let violation = |record: &Record| {
            let (node, status) = (evidence.name(record.node), record.seen.status.unwrap_or_default());
            let what = format!("{node} answered {status} and did not say when to come again");
            Violation::shown_by(self.name(), what, [record])
        };
        refusals.map(violation).collect()
    }
}

fn is_for_now(record: &Record) -> bool {
    matches!(record.seen.status, Some(429 | 503))
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, evidence, get, passes, put};
    use super::ComeAgain;

    #[test]
    fn a_refusal_that_says_when_to_come_again_passes_and_one_that_does_not_is_caught() {
        let mut refused = evidence([put("a").status(503).at(0, 1), get(None).status(404).at(2, 3), put("a").at(4, 5)]);
        caught(&ComeAgain, &refused, "a-1 answered 503 and did not say when to come again", 1);
        refused.history.0[0].seen.retry_after = true;
        passes(&ComeAgain, &refused);
    }

    #[test]
    fn a_refusal_for_good_has_no_time() {
        passes(&ComeAgain, &evidence([put("a").status(507).at(0, 1), put("a").lost().at(2, 3)]));
    }
}
