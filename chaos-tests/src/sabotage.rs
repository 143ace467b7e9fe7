//! The harness proven: a test build of the node breaks a promise on purpose, in one of several ways, and the invariant that
//! holds that promise has to notice. The ways are those of the crate `portolan-sabotage`; [`ways`] says how each is shown.

mod ways;

pub use ways::{Way, ways};

use crate::report::Report;
use crate::scenario::Scenario;
use crate::{Result, cluster};
use comfy_table::{CellAlignment, Table, presets};
use futures::{StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The variable that tells a sabotaged node how to be.
const VARIABLE: &str = "PORTOLAN_SABOTAGE";

/// How many clusters run at once: each is small, and waits most of the time.
const AT_ONCE: usize = 3;

/// How often a way may be tried, each time with the next seed. On a busy machine a short run may make too few calls to meet
/// what is wrong.
const RUNS: u64 = 3;

/// How long one may take with everything.
const WITHIN: Duration = Duration::from_secs(240);

/// What came of a way.
pub struct Outcome {
    pub way: &'static str,
    pub nodes: Nodes,
    /// Which of its runs this is of, from 1.
    pub run: u64,
    /// The invariants that were broken, each with the moment of the run at which that could be seen first.
    pub broken: Vec<(String, Duration)>,
    /// The one that noticed, of those that had to.
    pub caught: Option<(String, Duration)>,
    /// Why it could not be run.
    pub error: Option<String>,
}

impl Outcome {
    /// Whether it is as it has to be: noticed by an invariant that has to, or, with sound nodes, by none.
    #[must_use]
    pub fn is_right(&self) -> bool {
        match self.nodes {
            Nodes::Sabotaged => self.caught.is_some(),
            Nodes::Sound => self.error.is_none() && self.broken.is_empty(),
        }
    }
}

/// The scenarios of all ways.
///
/// # Errors
/// When the words of a fault are none.
pub fn scenarios() -> Result<Vec<Scenario>> {
    Ok(ways()?.into_iter().map(|way| way.scenario).collect())
}

/// The sabotaged binary: beside the one under test.
#[must_use]
pub fn binary() -> PathBuf {
    cluster::binary().with_file_name("portolan-sabotaged")
}

/// Which nodes the scenarios of sabotage are run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// Each with nodes that are sabotaged in its way, which has to be noticed.
    Sabotaged,
    /// All with sound nodes, with which nothing may be noticed: else it shows nothing that it is with others.
    Sound,
}

/// Runs each way's scenario, some at once, each in a process and a folder of its own. `program` is the one that runs
/// scenarios.
///
/// # Errors
/// When there is no such binary.
pub async fn run(program: &Path, ways: Vec<Way>, nodes: Nodes, report: &Path, seed: u64) -> Result<Vec<Outcome>> {
    let binary = if nodes == Nodes::Sound { cluster::binary() } else { binary() };
    if !binary.exists() {
        let build = "cargo build --release -p portolan --features sabotage --bin portolan-sabotaged";
        return Err(format!("{} is not there; build it: {build}", binary.display()).into());
    }
    let all = ways.into_iter().map(|way| {
        let binary = &binary;
        async move {
            let mut run = 1;
            loop {
                let ran = one(program, (binary, nodes), &way, report, seed.wrapping_add(run - 1)).await;
                let outcome = Outcome { run, ..judged(&way, nodes, ran) };
                eprintln!("{}", in_words(&outcome));
                let is_missed = nodes == Nodes::Sabotaged && outcome.caught.is_none() && outcome.error.is_none();
                if run == RUNS || !is_missed {
                    return outcome;
                }
                run += 1;
            }
        }
    });
    Ok(stream::iter(all).buffered(AT_ONCE).collect().await)
}

/// Runs one, and reads what it left.
async fn one(program: &Path, (binary, nodes): (&Path, Nodes), way: &Way, report: &Path, seed: u64) -> Result<Report> {
    let folder = report.join(format!("{}-{seed}", way.scenario.name));
    // What an earlier run left is no verdict about this one.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let output = File::create(folder.join("output.txt"))?;
    let mut command = Command::new(program);
    if nodes == Nodes::Sabotaged {
        command.env(VARIABLE, way.name);
    }
    let mut child = command
        .args(["run", way.scenario.name, "--seed", &seed.to_string(), "--report"])
        .arg(report)
        .env("PORTOLAN_BIN", binary)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if tokio::time::timeout(WITHIN, child.wait()).await.is_err() {
        // With the nodes that it started.
        group.map(|group| kill_process_group(group, Signal::KILL)).transpose()?;
        return Err(format!("it goes on after {WITHIN:?}").into());
    }
    let said = || std::fs::read_to_string(folder.join("output.txt")).unwrap_or_default();
    let last = |text: String| text.lines().last().unwrap_or_default().to_owned();
    Ok(Report::read(&folder).map_err(|error| format!("{error}: {}", last(said())))?)
}

fn judged(way: &Way, nodes: Nodes, ran: Result<Report>) -> Outcome {
    let none = Outcome { way: way.name, nodes, run: 1, broken: Vec::new(), caught: None, error: None };
    let report = match ran {
        Ok(report) if (nodes == Nodes::Sabotaged) != report.run.version.contains(way.name) => {
            return Outcome { error: Some(format!("the nodes are {}", report.run.version)), ..none };
        }
        Ok(report) => report,
        Err(error) => return Outcome { error: Some(error.to_string()), ..none },
    };
    let mut broken: Vec<(String, Duration)> = Vec::new();
    for violation in &report.run.violations {
        let at = Duration::from_micros(violation.at.0);
        match broken.iter_mut().find(|(name, _)| *name == violation.invariant) {
            Some((_, first)) => *first = at.min(*first),
            None => broken.push((violation.invariant.clone(), at)),
        }
    }
    let is_meant = |name: &str| way.caught_by.contains(&name);
    let caught = broken.iter().filter(|(name, _)| is_meant(name)).min_by_key(|(_, at)| *at).cloned();
    Outcome { broken, caught, ..none }
}

fn in_words(outcome: &Outcome) -> String {
    match (&outcome.caught, &outcome.error) {
        _ if outcome.nodes == Nodes::Sound && outcome.is_right() => format!("{}: nothing without it", outcome.way),
        (Some((by, at)), _) => format!("{}: caught by {by} after {}", outcome.way, after(outcome, *at)),
        (None, Some(error)) => format!("{}: NOT RUN: {error}", outcome.way),
        (None, None) => format!("{}: NOT CAUGHT in run {}", outcome.way, outcome.run),
    }
}

fn after(outcome: &Outcome, at: Duration) -> String {
    let seconds = at.as_secs_f64();
    if outcome.run == 1 { format!("{seconds:.1} s") } else { format!("{seconds:.1} s of run {}", outcome.run) }
}

/// All outcomes for people.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["sabotaged", "caught by", "after", "others that noticed"]);
    for outcome in outcomes {
        let (by, after) = match (&outcome.caught, &outcome.error) {
            _ if outcome.nodes == Nodes::Sound && outcome.is_right() => ("(sound nodes)".to_owned(), String::new()),
            (Some((by, at)), _) => (by.clone(), after(outcome, *at)),
            (None, Some(_)) => ("NOT RUN".to_owned(), String::new()),
            (None, None) => ("NOT CAUGHT".to_owned(), String::new()),
        };
        let is_other = |name: &String| outcome.caught.as_ref().is_none_or(|(by, _)| by != name);
        let others: Vec<_> =
            outcome.broken.iter().map(|(name, _)| name).filter(|name| is_other(name)).cloned().collect();
        table.add_row([outcome.way.to_owned(), by, after, others.join(", ")]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Nodes, Outcome, in_words, judged, table, ways};
    use crate::history::Micros;
    use crate::invariants::{ALL, Violation};
    use crate::report::{Report, Run};
    use std::collections::BTreeSet;

    /// The report of a run of sabotaged nodes, with these violations and the seconds when they could be seen.
    fn report(version: &str, broken: &[(&str, u64)]) -> Report {
        let violation = |(name, at): &(&str, u64)| Violation {
            at: Micros(at * 1_000_000),
            ..Violation::shown_by(name, "wrong".to_owned(), [])
        };
        let violations = broken.iter().map(violation).collect();
        let run = Run { version: version.to_owned(), violations, ..Run::default() };
        Report::new(run, &crate::invariants::Evidence::default())
    }

    #[test]
    fn every_way_is_there_once_and_caught_by_invariants_that_exist() {
        let ways = ways().unwrap();
        let names: BTreeSet<&str> = ways.iter().map(|way| way.name).collect();
        assert!(names.len() == ways.len() && names.len() >= 12, "{names:?}");
        for way in &ways {
            assert!(!way.caught_by.is_empty(), "{}", way.name);
            for name in way.caught_by {
                assert!(ALL.iter().any(|invariant| invariant.name() == *name), "{}: {name}", way.name);
            }
        }
    }

    #[test]
    fn only_an_invariant_that_has_to_notice_catches_and_the_first_moment_counts() {
        let ways = ways().unwrap();
        let way = ways.iter().find(|way| way.name == "guess-unknown").unwrap();
        let version = "portolan 0.1.0 SABOTAGED (guess-unknown)";
        let caught = judged(
            way,
            Nodes::Sabotaged,
            Ok(report(version, &[("no_false_404", 9), ("no_false_404", 4), ("right_bytes", 1)])),
        );
        assert_eq!(in_words(&caught), "guess-unknown: caught by no_false_404 after 4.0 s");
        assert!(table(&[caught]).contains("right_bytes"));
        let other = judged(way, Nodes::Sabotaged, Ok(report(version, &[("right_bytes", 1)])));
        assert_eq!(in_words(&other), "guess-unknown: NOT CAUGHT in run 1");
        let second = Outcome { run: 2, ..judged(way, Nodes::Sabotaged, Ok(report(version, &[("no_false_404", 3)]))) };
        assert_eq!(in_words(&second), "guess-unknown: caught by no_false_404 after 3.0 s of run 2");
        let plain = judged(way, Nodes::Sabotaged, Ok(report("portolan 0.1.0", &[("no_false_404", 9)])));
        assert!(in_words(&plain).contains("NOT RUN: the nodes are portolan 0.1.0"), "{}", in_words(&plain));
        let sound = judged(way, Nodes::Sound, Ok(report("portolan 0.1.0", &[])));
        assert!(sound.is_right() && table(&[sound]).contains("(sound nodes)"));
        assert!(!judged(way, Nodes::Sound, Ok(report("portolan 0.1.0", &[("right_bytes", 1)]))).is_right());
        let failed = judged(way, Nodes::Sabotaged, Err("no cluster".into()));
        assert!(table(&[failed]).contains("NOT RUN"));
    }
}
