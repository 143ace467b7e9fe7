//! What is known of a run beside the evidence that it left.

use crate::history::Micros;
use crate::invariants::Violation;
use serde::{Deserialize, Serialize};

/// A run, and how it was judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub scenario: String,
    pub seed: u64,
    /// The topology's name.
    pub topology: String,
    /// When it began, in seconds since 1970.
    pub began_unix: u64,
    /// How long it was under load.
    pub length: Micros,
    /// What the nodes say that they are.
    pub version: String,
    /// What replays it.
    pub command: String,
    /// Who leads from when on; `None`: nobody that anyone knew of.
    pub leaders: Vec<(Micros, Option<usize>)>,
    /// Every invariant that was judged, held or not.
    pub judged: Vec<Judged>,
    pub violations: Vec<Violation>,
}

/// An invariant that a run was held to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The invariant's name, as in its violations.
    pub invariant: String,
    /// The promise behind it.
    pub promise: String,
    /// How many calls it looked at: one that looked at none has shown nothing.
    pub calls: usize,
}
