//! Once all is quiet, no file, session or pin is left that nobody needs (P8, P10).

use super::evidence::{Evidence, Invariant, Violation};

/// See the module.
pub struct NothingLeftOver;

impl Invariant for NothingLeftOver {
    fn name(&self) -> &'static str {
        "nothing_left_over"
    }

    fn promise(&self) -> &'static str {
        "P8, P10"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.nodes.len()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let at = evidence.last_end();
        let violation = |(node, left): &(usize, String)| {
            let what = format!("{} still has {left}", evidence.name(*node));
            Violation { at, ..Violation::shown_by(self.name(), what, []) }
        };
        evidence.after.leftovers.iter().map(violation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, evidence, passes};
    use super::NothingLeftOver;

    #[test]
    fn nodes_without_leftovers_pass() {
        passes(&NothingLeftOver, &evidence([]));
    }

    #[test]
    fn each_leftover_is_caught_with_its_node() {
        let mut evidence = evidence([]);
        evidence.after.leftovers.push((1, "an upload file of no session".to_owned()));
        caught(&NothingLeftOver, &evidence, "b-1 ", 0);
        caught(&NothingLeftOver, &evidence, "an upload file of no session", 0);
    }
}
