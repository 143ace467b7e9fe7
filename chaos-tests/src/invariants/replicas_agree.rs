//! Every node has the same state at the same applied index (design, section 3), and once all is quiet all have the same
//! index.

use super::evidence::{Evidence, Invariant, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
pub struct ReplicasAgree;

impl Invariant for ReplicasAgree {
    fn name(&self) -> &'static str {
        "replicas_agree"
    }

    fn promise(&self) -> &'static str {
        "section 3"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.after.hashes.len()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let after = &evidence.after;
        let mut whats = Vec::new();
        let mut by_index: BTreeMap<u64, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
        for (&node, (index, hash)) in &after.hashes {
            by_index.entry(*index).or_default().entry(hash).or_default().push(evidence.name(node));
        }
        for (index, hashes) in by_index.iter().filter(|(_, hashes)| hashes.len() > 1) {
            let sides: Vec<String> =
                hashes.iter().map(|(hash, nodes)| format!("{} ({})", nodes.join(", "), short(hash))).collect();
            whats.push(format!("different states at index {index}: {}", sides.join(" and ")));
        }
        if by_index.len() > 1 {
            let places: Vec<String> =
                after.hashes.iter().map(|(&node, (index, _))| format!("{} at {index}", evidence.name(node))).collect();
            whats.push(format!("the nodes did not come to the same index: {}", places.join(", ")));
        }
        let expected: BTreeSet<usize> = (0..evidence.nodes.len()).filter(|node| !after.gone.contains(node)).collect();
        for node in expected.into_iter().filter(|node| !after.hashes.contains_key(node)) {
            whats.push(format!("{} did not tell its state", evidence.name(node)));
        }
        let at = evidence.last_end();
        let violation = |what| Violation { at, ..Violation::shown_by(self.name(), what, []) };
        whats.into_iter().map(violation).collect()
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, evidence, passes};
    use super::{Evidence, ReplicasAgree};

    fn hashes(hashes: &[(usize, u64, &str)]) -> Evidence {
        let mut evidence = evidence([]);
        evidence.after.hashes = hashes.iter().map(|&(node, index, hash)| (node, (index, hash.to_owned()))).collect();
        evidence
    }

    #[test]
    fn equal_states_pass() {
        passes(&ReplicasAgree, &hashes(&[(0, 7, "x"), (1, 7, "x"), (2, 7, "x")]));
    }

    #[test]
    fn different_states_at_one_index_are_caught() {
        let found = hashes(&[(0, 7, "x"), (1, 7, "y"), (2, 7, "x")]);
        caught(&ReplicasAgree, &found, "different states at index 7: a-1, c-1 (x) and b-1 (y)", 0);
    }

    #[test]
    fn a_node_that_never_caught_up_is_caught() {
        caught(&ReplicasAgree, &hashes(&[(0, 7, "x"), (1, 6, "y"), (2, 7, "x")]), "b-1 at 6", 0);
    }

    #[test]
    fn nodes_that_tell_nothing_at_all_are_caught() {
        assert_eq!(super::Invariant::check(&ReplicasAgree, &hashes(&[])).len(), 3);
    }

    #[test]
    fn a_node_that_tells_nothing_is_caught_unless_it_is_gone() {
        let mut silent = hashes(&[(0, 7, "x"), (1, 7, "x")]);
        caught(&ReplicasAgree, &silent, "c-1 did not tell its state", 0);
        silent.after.gone.insert(2);
        passes(&ReplicasAgree, &silent);
    }
}
