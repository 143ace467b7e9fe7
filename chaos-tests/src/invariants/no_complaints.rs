//! No node panicked, or found its own state wrong (P9).

use super::evidence::{Evidence, Invariant, Violation};

/// See the module.
pub struct NoComplaints;

impl Invariant for NoComplaints {
    fn name(&self) -> &'static str {
        "no_complaints"
    }

    fn promise(&self) -> &'static str {
        "P9"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.nodes.len()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let at = evidence.last_end();
        let violation = |(node, line): &(usize, String)| {
            let what = format!("{} wrote: {line}", evidence.name(*node));
            Violation { at, ..Violation::shown_by(self.name(), what, []) }
        };
        evidence.after.complaints.iter().map(violation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, evidence, passes};
    use super::NoComplaints;

    #[test]
    fn nodes_without_complaints_pass() {
        passes(&NoComplaints, &evidence([]));
    }

    #[test]
    fn each_complaint_is_caught_with_its_node() {
        let mut evidence = evidence([]);
        evidence.after.complaints.push((1, "panicked at 'apply'".to_owned()));
        caught(&NoComplaints, &evidence, "b-1 ", 0);
        caught(&NoComplaints, &evidence, "panicked at 'apply'", 0);
    }
}
