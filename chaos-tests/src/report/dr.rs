//! The table of DR numbers: for each kind of fault what clients saw, what was lost (RPO), and how long it took until writes
//! were acknowledged again (RTO), over one or several runs.

use super::figures::Report;
use super::impact::Impact;
use super::words;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const HEAD: &str = "| fault | times | failed pulls | failed pushes | longest gap, pulls | longest gap, writes | \
    RPO: writes lost | RTO: writes again |\n|---|---:|---:|---:|---:|---:|---:|---:|\n";

/// The numbers of all runs together: one line for each kind of fault, and last one for the time without any.
#[must_use]
pub fn numbers(reports: &[Report]) -> Vec<Impact> {
    let mut kinds: BTreeMap<&str, Impact> = BTreeMap::new();
    for impact in reports.iter().flat_map(|report| &report.impacts) {
        let none = || Impact { kind: impact.kind.clone(), ..Impact::default() };
        kinds.entry(&impact.kind).or_insert_with(none).join(impact);
    }
    let mut calm = Impact { kind: "no fault".to_owned(), ..Impact::default() };
    reports.iter().for_each(|report| calm.join(&report.calm));
    kinds.into_values().chain([calm]).collect()
}

/// The table as Markdown, with the runs that it is of and the command that makes it.
#[must_use]
pub fn markdown(reports: &[Report], command: &str) -> String {
    let numbers = numbers(reports);
    let mut text = HEAD.to_owned();
    for (place, impact) in numbers.iter().enumerate() {
        let (times, lost, rto) = if place + 1 == numbers.len() {
            Default::default()
        } else {
            (words::count(impact.times), impact.lost_in_words(), impact.rto_in_words())
        };
        let cells = [
            impact.kind.clone(),
            times,
            failed(impact.failed_pulls, impact.pulls),
            failed(impact.failed_pushes, impact.pushes),
            impact.pull_gap.in_words(),
            impact.write_gap.in_words(),
            lost,
            rto,
        ];
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", cells.map(|cell| escape(&cell)).join(" | "));
    }
    let _ = write!(text, "\n{}\n\n```console\n{}\n```\n", caption(reports), words::clean(command).trim());
    text
}

fn failed(failed: usize, all: usize) -> String {
    format!("{} of {}", words::count(failed), words::count(all))
}

/// What the table is of, and how it is read.
fn caption(reports: &[Report]) -> String {
    let topologies: BTreeSet<&str> = reports.iter().map(|report| report.run.topology.as_str()).collect();
    let topologies: Vec<String> = topologies.into_iter().map(escape).collect();
    let micros = reports.iter().map(|report| report.run.length.0).sum();
    format!(
        "Of {} over {} ({} under load). A call counts for a fault when it was under way at some moment of it. A gap is that of \
         all clients together, in brackets that of the clients of the region where it was longest. RTO is the longest time that the clients of a \
         region waited for an acknowledged write, from the beginning of the fault on, or from its end where the region was \
         stopped or cut off from every majority.",
        words::many(reports.len(), "run", "runs"),
        if topologies.is_empty() { "no topology".to_owned() } else { topologies.join(", ") },
        words::duration(crate::history::Micros(micros)),
    )
}

/// Text that is a cell, whatever it holds.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for sign in words::clean(text).chars() {
        if matches!(sign, '|' | '\\' | '`' | '*' | '_' | '<' | '[' | ']') {
            escaped.push('\\');
        }
        escaped.push(sign);
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::markdown;
    use crate::history::Micros;
    use crate::report::acks::Gap;
    use crate::report::figures::Report;
    use crate::report::impact::Impact;
    use crate::report::sample;

    fn report(kind: &str, failed_pulls: usize, lost: Option<usize>, open: usize) -> Report {
        let mut report = sample::small();
        let gap = |anywhere, worst| Gap { anywhere: Micros(anywhere), worst: Micros(worst), region: "b".to_owned() };
        report.impacts = vec![Impact {
            kind: kind.to_owned(),
            times: 2,
            pulls: 1_000,
            failed_pulls,
            pushes: 50,
            failed_pushes: 3,
            pull_gap: gap(200_000, 4_000_000),
            write_gap: gap(failed_pulls as u64 * 1_000_000, 7_000_000),
            writes_back: gap(0, 0),
            open,
            rto: Micros(3_400_000),
            lost,
        }];
        report
    }

    #[test]
    fn runs_are_put_together_by_kind_of_fault() {
        let reports = [report("cut", 4, Some(0), 0), report("cut", 5, Some(2), 1), report("kill|all", 0, None, 2)];
        let text = markdown(&reports, "portolan-chaos dr");
        let lines: Vec<&str> = text.lines().collect();
        let cut = "| cut | 4 | 9 of 2,000 | 6 of 100 | 200 ms (b 4.0 s) | 5.0 s (b 7.0 s) | 2 | ≥ 3.4 s |";
        let kill =
            "| kill\\|all | 2 | 0 of 1,000 | 3 of 50 | 200 ms (b 4.0 s) | 0 s (b 7.0 s) | not looked at | not seen |";
        assert_eq!((lines[2], lines[3]), (cut, kill));
        assert!(lines[4].starts_with("| no fault |  | "), "{text}");
        assert!(text.ends_with("```console\nportolan-chaos dr\n```\n"), "{text}");
        assert!(text.contains("Of 3 runs over three \\[test\\] regions (30.0 s under load)."), "{text}");
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(lines[..5].iter().all(|line| columns(line) == 9), "{text}");
    }

    #[test]
    fn no_run_makes_a_table_without_faults() {
        let text = markdown(&[], "x");
        assert_eq!(text.lines().nth(2).unwrap(), "| no fault |  | 0 of 0 | 0 of 0 | 0 s | 0 s |  |  |");
    }
}
