//! What a run leaves for being judged again: its history line by line, and the rest of its evidence beside it.

use crate::Result;
use crate::history::History;
use crate::invariants::{After, Bounds, Event, Evidence, NodeInfo, Sample};
use crate::report::Run;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::Path;

/// The file of all calls, one per line.
pub(super) const HISTORY: &str = "history.jsonl";

/// The file of everything else.
const EVIDENCE: &str = "evidence.json";

/// Evidence without its history.
#[derive(Serialize, Deserialize)]
struct Rest {
    run: Run,
    nodes: Vec<NodeInfo>,
    events: Vec<Event>,
    samples: Vec<Sample>,
    after: After,
    bounds: Bounds,
    contents: BTreeMap<String, Vec<String>>,
    subjects: BTreeMap<String, String>,
}

/// Writes what a run knows beside its history, which was written as it grew.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write(folder: &Path, run: &Run, evidence: &Evidence) -> Result<()> {
    let Evidence { nodes, events, samples, after, bounds, contents, subjects, .. } = evidence.clone();
    let rest = Rest { run: run.clone(), nodes, events, samples, after, bounds, contents, subjects };
    Ok(serde_json::to_writer(BufWriter::new(File::create(folder.join(EVIDENCE))?), &rest)?)
}

/// Reads a run again.
///
/// # Errors
/// When there is none, or it is of another version.
pub fn read(folder: &Path) -> Result<(Run, Evidence)> {
    let path = folder.join(EVIDENCE);
    let file = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let rest: Rest = serde_json::from_str(&file).map_err(|error| format!("{}: {error}", path.display()))?;
    let history = History::read(BufReader::new(File::open(folder.join(HISTORY))?))?;
    let Rest { run, nodes, events, samples, after, bounds, contents, subjects } = rest;
    Ok((run, Evidence { nodes, history, events, samples, after, bounds, contents, subjects }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{EVIDENCE, HISTORY, read, write};
    use crate::invariants::hand::{event, evidence, get, pulls, put};
    use crate::report::Run;

    #[test]
    fn a_run_that_was_written_is_read_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut evidence = evidence([put("m").at(0, 10), get(Some("m")).at(20, 30)]);
        evidence.events.push(event("kill", 5, Some(7)));
        evidence.after.pulls = pulls("m", [200; 3]);
        evidence.after.tag_histories.insert(("r".to_owned(), "t".to_owned()), vec![Some("m".to_owned()), None]);
        let run = Run { scenario: "x".to_owned(), seed: 7, ..Run::default() };
        evidence.history.write(std::fs::File::create(folder.path().join(HISTORY)).unwrap()).unwrap();
        write(folder.path(), &run, &evidence).unwrap();
        let (again, found) = read(folder.path()).unwrap();
        assert_eq!((again, found.history, found.events), (run, evidence.history, evidence.events));
        assert_eq!((found.after, found.bounds, found.nodes), (evidence.after, evidence.bounds, evidence.nodes));
    }

    #[test]
    fn a_folder_without_a_run_is_refused_with_the_file_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(EVIDENCE), "{error}");
    }
}
