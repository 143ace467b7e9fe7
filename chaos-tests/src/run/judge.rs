//! Holds evidence to all invariants.

use crate::invariants::{ALL, Evidence, Violation};
use crate::report::Judged;
use crate::shrink;

/// Of how many violations of one invariant the shortest history is looked for.
const SHOWN: usize = 3;

/// What came of judging.
#[derive(Default)]
pub struct Verdict {
    pub judged: Vec<Judged>,
    pub violations: Vec<Violation>,
    /// The first few violations of each invariant in words.
    pub failures: Vec<String>,
}

/// Judges.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    for invariant in ALL {
        let violations = invariant.check(evidence);
        verdict.judged.push(Judged {
            invariant: invariant.name().to_owned(),
            promise: invariant.promise().to_owned(),
            calls: invariant.looks_at(evidence),
        });
        let shown = violations.iter().take(SHOWN);
        verdict.failures.extend(shown.map(|violation| shrink::failure(*invariant, evidence, violation)));
        if violations.len() > SHOWN {
            let more = violations.len() - SHOWN;
            verdict.failures.push(format!("{}: and {more} more\n", invariant.name()));
        }
        verdict.violations.extend(violations);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::{SHOWN, judge};
    use crate::invariants::ALL;
    use crate::invariants::hand::{evidence, get, put};

    #[test]
    fn what_holds_is_judged_by_every_invariant_and_breaks_none() {
        let mut evidence = evidence([put("m").at(0, 10), get(Some("m")).at(20, 30)]);
        evidence.contents.insert("m".to_owned(), Vec::new());
        let verdict = judge(&evidence);
        assert_eq!(verdict.judged.len(), ALL.len());
        assert!(verdict.violations.is_empty() && verdict.failures.is_empty(), "{:?}", verdict.failures);
    }

    #[test]
    fn of_many_violations_all_count_and_a_few_are_shown() {
        let mut evidence = evidence([]);
        evidence.after.leftovers = (0..SHOWN + 2).map(|at| (0, format!("file {at}"))).collect();
        let verdict = judge(&evidence);
        assert_eq!(verdict.violations.len(), SHOWN + 2);
        assert_eq!(verdict.failures.len(), SHOWN + 1);
        assert!(verdict.failures[SHOWN].contains("and 2 more"), "{:?}", verdict.failures);
    }
}
