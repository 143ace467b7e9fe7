//! Everything that is shown of a run, worked out once.

use super::calls::{Failure, Kind};
use super::impact::{self, Impact};
use super::run::{Judged, Run};
use super::series::Series;
use super::words;
use crate::invariants::{Event, Evidence, NodeInfo};
use serde::{Deserialize, Serialize};

/// The file of the figures.
pub const JSON: &str = "report.json";

/// More violations than this have no section on the page; the figures beside it have all.
pub(super) const MOST_SECTIONS: usize = 50;

/// How many calls there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub calls: usize,
    pub pulls: usize,
    pub failed_pulls: usize,
    pub pushes: usize,
    pub failed_pushes: usize,
}

/// Everything that is shown of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether no invariant was broken.
    pub held: bool,
    pub run: Run,
    pub nodes: Vec<NodeInfo>,
    pub counts: Counts,
    /// The faults, in the order in which they began.
    pub events: Vec<Event>,
    /// What each kind of fault did.
    pub impacts: Vec<Impact>,
    /// The same for the time between the faults, to compare with.
    pub calm: Impact,
    /// Acknowledged writes that no node had any more; `None` when nobody looked.
    pub lost: Option<usize>,
    pub series: Series,
}

impl Report {
    /// Works out what is shown.
    #[must_use]
    pub fn new(run: Run, evidence: &Evidence) -> Self {
        let mut events = evidence.events.clone();
        events.sort_by_key(|event| event.begin);
        let series = Series::of(&run, evidence);
        let (impacts, calm) = impact::of(evidence, series.span);
        let mut counts = Counts { calls: evidence.history.0.len(), ..Counts::default() };
        for record in &evidence.history.0 {
            let failed = usize::from(Failure::of(record).is_some());
            match Kind::of(&record.call) {
                Kind::Pull => {
                    (counts.pulls, counts.failed_pulls) = (counts.pulls + 1, counts.failed_pulls + failed);
                }
                Kind::Push => {
                    (counts.pushes, counts.failed_pushes) = (counts.pushes + 1, counts.failed_pushes + failed);
                }
                Kind::Delete | Kind::Listing => {}
            }
        }
        let lost = impact::lost(evidence).map(|lost| lost.len());
        Self {
            held: run.violations.is_empty(),
            run,
            nodes: evidence.nodes.clone(),
            counts,
            events,
            impacts,
            calm,
            lost,
            series,
        }
    }

    /// A node's name.
    pub(super) fn node(&self, node: usize) -> String {
        self.nodes.get(node).map_or_else(|| format!("node {node}"), |info| info.name.clone())
    }

    /// The invariants that were broken, each with how often; those that nobody listed as judged come last.
    pub(super) fn verdicts(&self) -> Vec<(Judged, usize)> {
        let broken = |name: &str| self.run.violations.iter().filter(|violation| violation.invariant == name).count();
        let mut verdicts: Vec<(Judged, usize)> =
            self.run.judged.iter().map(|judged| (judged.clone(), broken(&judged.invariant))).collect();
        for violation in &self.run.violations {
            if verdicts.iter().all(|(judged, _)| judged.invariant != violation.invariant) {
                let judged = Judged { invariant: violation.invariant.clone(), ..Judged::default() };
                verdicts.push((judged, broken(&violation.invariant)));
            }
        }
        verdicts
    }

    /// The verdict in a few words.
    pub(super) fn verdict(&self) -> String {
        let broken = self.verdicts().iter().filter(|(_, times)| *times > 0).count();
        match (self.held, self.verdicts().len()) {
            (true, 0) => "Nothing was judged".to_owned(),
            (true, 1) => "The one invariant held".to_owned(),
            (true, all) => format!("All {all} invariants held"),
            (false, all) => format!(
                "Broken: {} of {}",
                words::many(self.run.violations.len(), "violation", "violations"),
                if all == 1 { "the one invariant".to_owned() } else { format!("{broken} of {all} invariants") }
            ),
        }
    }
}
