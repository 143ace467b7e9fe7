//! Once all is quiet, every region has a copy of what was acknowledged, as placement wants it where no policy says
//! otherwise (P1, P6). Not judged where a region is gone, or policies keep copies out of some.

use super::evidence::{Evidence, Invariant, Violation};
use std::collections::BTreeMap;

/// How many digests a violation names.
const SHOWN: usize = 3;

/// See the module.
pub struct CopiesMade;

impl Invariant for CopiesMade {
    fn name(&self) -> &'static str {
        "copies_made"
    }

    fn promise(&self) -> &'static str {
        "P1, P6"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        if evidence.after.missing.is_some() { evidence.after.pulls.len() } else { 0 }
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let mut by_region: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (region, digest) in evidence.after.missing.iter().flatten() {
            by_region.entry(region).or_default().push(digest);
        }
        let at = evidence.last_end();
        let violation = |(region, digests): (&str, Vec<&str>)| {
            let shown = digests.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
            let more = if digests.len() > SHOWN { ", ..." } else { "" };
            let what = format!("{region} has no copy of {} blobs: {shown}{more}", digests.len());
            Violation { at, ..Violation::shown_by(self.name(), what, []) }
        };
        by_region.into_iter().map(violation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, evidence, passes};
    use super::CopiesMade;

    #[test]
    fn a_run_after_which_nothing_is_missing_passes() {
        passes(&CopiesMade, &evidence([]));
    }

    #[test]
    fn what_a_region_lacks_is_caught_once_for_the_region() {
        let mut evidence = evidence([]);
        evidence.after.missing = Some((0..5).map(|at| ("c".to_owned(), format!("sha256:{at}"))).collect());
        caught(&CopiesMade, &evidence, "c has no copy of 5 blobs: sha256:0, sha256:1, sha256:2, ...", 0);
    }
}
