#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::acks::Gap;
use super::calls::Failure;
use super::figures::Counts;
use super::impact::Impact;
use super::sample::{self, micros};
use super::{Report, Run, page, table};
use crate::history::Micros;
use crate::invariants::Evidence;
use roxmltree::{Document, Node, ParsingOptions};
use std::time::{Duration, Instant};

const SEED: u64 = 20_260_101;

/// The page as XML: every tag is closed, every name escaped.
fn parsed(page: &str) -> Document<'_> {
    Document::parse_with_options(page, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() }).unwrap()
}

fn words(node: Node) -> String {
    let text: Vec<&str> = node.descendants().filter_map(|node| node.is_text().then(|| node.text()).flatten()).collect();
    text.join("").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The cells of the table of a class, line by line.
fn cells(page: &Document, class: &str) -> Vec<Vec<String>> {
    let table =
        page.descendants().find(|node| node.has_tag_name("table") && node.attribute("class") == Some(class)).unwrap();
    let lines = table.descendants().filter(|node| node.has_tag_name("tbody")).flat_map(|body| body.children());
    lines.map(|line| line.children().filter(Node::is_element).map(words).collect()).collect()
}

fn gap(anywhere: f64, worst: f64, region: &str) -> Gap {
    Gap { anywhere: micros(anywhere), worst: micros(worst), region: region.to_owned() }
}

#[test]
fn the_figures_of_a_small_run_are_those_worked_out_by_hand() {
    let report = sample::small();
    assert!(report.held);
    assert_eq!(report.counts, Counts { calls: 26, pulls: 15, failed_pulls: 2, pushes: 11, failed_pushes: 2 });
    assert_eq!(report.lost, Some(2));
    let faults: Vec<&str> = report.events.iter().map(|event| event.fault.as_str()).collect();
    assert_eq!(faults, ["kill a-1", "cut c from all"]);
    let series = &report.series;
    assert_eq!((series.step, series.span), (Micros(1_000_000), Micros(10_000_000)));
    assert_eq!(series.pulls, [0, 4, 1, 1, 1, 2, 1, 0, 1, 2]);
    assert_eq!(series.pushes, [0, 2, 0, 1, 1, 2, 0, 0, 1, 2]);
    assert_eq!(series.failures[&Failure::NoAnswer], [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(series.failures[&Failure::Unavailable], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
    assert_eq!(series.failures.len(), 2);
    let (none, tenth) = (None, Some(100_000));
    assert_eq!(series.regions[2].region, "c");
    assert_eq!(series.regions[2].pulls.p99, [none, tenth, none, none, none, tenth, none, none, tenth, none]);
    assert_eq!(series.regions[2].writes.p50, [none, none, none, none, none, tenth, none, none, tenth, none]);
}

#[test]
fn what_faults_did_is_as_worked_out_by_hand() {
    let report = sample::small();
    let cut = Impact {
        kind: "cut".to_owned(),
        times: 1,
        pulls: 2,
        failed_pulls: 1,
        pushes: 1,
        failed_pushes: 1,
        pull_gap: gap(1.7, 5.0, "a"),
        write_gap: gap(2.6, 4.7, "a"),
        writes_back: gap(0.4, 1.2, "b"),
        open: 0,
        rto: micros(3.2),
        lost: Some(1),
    };
    let kill = Impact {
        kind: "kill".to_owned(),
        pulls: 3,
        pushes: 2,
        pull_gap: gap(1.5, 4.0, "c"),
        write_gap: gap(2.1, 3.3, "a"),
        writes_back: gap(0.3, 1.8, "b"),
        rto: micros(2.2),
        ..cut.clone()
    };
    assert_eq!(report.impacts, [cut, kill]);
    let calm = Impact {
        kind: "no fault".to_owned(),
        pulls: 9,
        pushes: 6,
        pull_gap: gap(0.6, 1.5, "a"),
        write_gap: gap(0.8, 1.7, "a"),
        ..Impact::default()
    };
    assert_eq!(report.calm, calm);
}

#[test]
fn the_tables_of_the_page_show_these_figures() {
    let page = page::draw(&sample::small());
    let page = parsed(&page);
    let lines: Vec<String> = cells(&page, "impacts").iter().map(|line| line.join(" | ")).collect();
    assert_eq!(
        lines,
        [
            "cut | 1 | 1 50.0 % | 1 100.0 % | 1.7 s (a 5.0 s) | 2.6 s (a 4.7 s) | 400 ms (b 1.2 s) | 3.2 s | 1",
            "kill | 1 | 1 33.3 % | 1 50.0 % | 1.5 s (c 4.0 s) | 2.1 s (a 3.3 s) | 300 ms (b 1.8 s) | 2.2 s | 1",
            "no fault |  | 0 | 0 | 600 ms (a 1.5 s) | 800 ms (a 1.7 s) |  |  | ",
        ]
    );
    assert_eq!(
        cells(&page, "verdicts"),
        [["right_bytes", "P4", "held", "13"], ["tags_linearizable", "P2", "nothing to judge", "0"]]
    );
    let text = words(page.root_element());
    for part in [
        "All 2 invariants held",
        "small, seed 7",
        "portolan-chaos replay small --seed 7",
        "2027-01-15 08:00:00 UTC",
        "pulls15, failed: 2 (13.3 %)",
        "2 acknowledged writes",
        "three [test] regions: 3 nodes in a, b, c",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn writes_that_do_not_come_back_are_told() {
    let mut evidence = sample::evidence();
    evidence.events.push(sample::event("kill b-1", 9.3, Some(9.5), &[1], &[]));
    evidence.events.push(sample::event("pause b-1", 9.4, None, &[1], &[]));
    let report = Report::new(sample::run(), &evidence);
    let page = page::draw(&report);
    let column =
        |at: usize| cells(&parsed(&page), "impacts").into_iter().map(|line| line[at].clone()).collect::<Vec<_>>();
    assert_eq!(column(6)[1..3], ["300 ms (b 1.8 s), 1 × not before the end", "1 × not before the end"]);
    assert_eq!(column(7)[1..3], ["≥ 2.2 s", "not seen"]);
    assert_eq!(column(1)[1], "2");
}

#[test]
fn rto_counts_from_the_end_of_a_fault_that_no_majority_survived() {
    let mut evidence = sample::evidence();
    evidence.events[1].stops_writes = true;
    let report = Report::new(sample::run(), &evidence);
    assert_eq!((report.impacts[1].kind.as_str(), report.impacts[1].rto), ("kill", micros(1.8)));
    // The same holds for a region whose nodes were all stopped.
    evidence.events[1].stops_writes = false;
    evidence.events[1].nodes = vec![0, 1];
    assert_eq!(Report::new(sample::run(), &evidence).impacts[1].rto, micros(1.8));
}

#[test]
fn a_violation_has_a_mark_a_section_a_drawing_and_its_calls() {
    eprintln!("seed {SEED}");
    let (run, evidence) = sample::made(SEED, 120, 2_000);
    let report = Report::new(run, &evidence);
    assert_eq!(report.impacts.iter().map(|impact| impact.times).sum::<usize>(), 4);
    let page = page::draw(&report);
    let page = parsed(&page);
    let with = |name: &'static str, value: &'static str| {
        page.descendants().filter(move |node| node.attribute(name) == Some(value)).collect::<Vec<_>>()
    };
    assert_eq!(with("href", "#violation-1").len(), 2, "from the timeline and from the table");
    let section = with("id", "violation-1")[0];
    let drawn =
        |tag: &'static str| section.descendants().filter(move |node| node.has_tag_name(tag)).collect::<Vec<_>>();
    let tones: Vec<_> = drawn("rect").iter().filter_map(|bar| bar.attribute("class")).collect();
    assert_eq!(tones, ["bar good", "bar good", "bar good", "bar good", "bar open", "bar absent", "bar failed"]);
    let calls = cells(&page, "calls");
    assert_eq!(
        calls[0],
        ["1", "0 eu-west", "eu-west-1", "0:46.012", "0:46.134", "PUT team/<b>app</b>:stable = a1a1a1a1", "201"]
    );
    assert_eq!(calls[3][6], "200 = a1a1a1a1");
    assert_eq!(calls[4][6], "no answer connection reset [31mby peer");
    assert!(words(section).contains("nobody had moved it back"));
    assert_eq!(cells(&page, "verdicts")[0][2], "broken 1 ×");
    assert!(words(page.root_element()).contains("Broken: 1 violation of 1 of 5 invariants"));
}

#[test]
fn names_are_escaped_and_nothing_is_loaded_from_elsewhere() {
    let (run, evidence) = sample::made(SEED, 120, 500);
    let page = page::draw(&Report::new(run, &evidence));
    assert!(page.contains("mixed &lt;faults&gt; &amp; &quot;more&quot;"));
    for word in ["<faults>", "<b>app", "\u{1b}", "http://", "https://", "url(", "@import"] {
        assert!(!page.contains(word), "{word}");
    }
    let title = words(parsed(&page).descendants().find(|node| node.has_tag_name("title")).unwrap());
    assert!(title.ends_with(&format!("{}, seed {SEED}", sample::SCENARIO)), "{title}");
}

#[test]
fn an_empty_run_and_one_without_faults_have_a_page_too() {
    let empty = Report::new(Run::default(), &Evidence::default());
    let page = page::draw(&empty);
    let text = words(parsed(&page).root_element());
    for part in ["Nothing was judged", "Nothing was broken in this run.", "No invariant was judged.", "no call failed"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let mut evidence = sample::evidence();
    evidence.events.clear();
    let calm = Report::new(sample::run(), &evidence);
    assert_eq!((calm.impacts.len(), calm.calm.failed_pulls, calm.calm.pulls), (0, 2, 15));
    assert_eq!(calm.calm.pull_gap, gap(1.7, 5.0, "a"));
    parsed(&page::draw(&calm));
    assert!(!table::summary(&empty).is_empty());
}

#[test]
fn violations_of_what_nobody_listed_are_told_as_well() {
    let mut run = sample::run();
    run.violations = vec![sample::violation()];
    run.violations[0].invariant = "replicas_agree".to_owned();
    run.violations[0].records.clear();
    let page = page::draw(&Report::new(run, &sample::evidence()));
    let page = parsed(&page);
    assert_eq!(cells(&page, "verdicts")[2], ["replicas_agree", "", "broken 1 ×", "0"]);
    let text = words(page.root_element());
    assert!(text.contains("Broken: 1 violation of 1 of 3 invariants"), "{text}");
    assert!(text.contains("No single call shows it."), "{text}");
}

#[test]
fn the_files_are_there_and_the_figures_read_back_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    // A folder named here keeps the page, to look at.
    let kept = std::env::var_os("PORTOLAN_CHAOS_SAMPLE").map(std::path::PathBuf::from);
    let folder = kept.unwrap_or_else(|| folder.path().join("deep/below"));
    let (run, evidence) = sample::made(SEED, 120, 18_000);
    let report = Report::new(run, &evidence);
    report.write(&folder).unwrap();
    assert_eq!(Report::read(&folder).unwrap(), report);
    assert_eq!(std::fs::read_to_string(folder.join("report.html")).unwrap(), page::draw(&report));
    let missing = Report::read(&folder.join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere/report.json"), "{missing}");
}

#[test]
fn half_a_million_calls_of_two_hours_make_a_small_page_soon() {
    let (run, evidence) = sample::made(SEED, 7_200, 500_000);
    let began = Instant::now();
    let report = Report::new(run, &evidence);
    let page = page::draw(&report);
    let took = began.elapsed();
    eprintln!("{} bytes in {took:?}, {} faults", page.len(), report.events.len());
    assert_eq!((report.series.pulls.len(), report.series.step), (720, Micros(10_000_000)));
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(took < Duration::from_secs(10), "{took:?}");
    parsed(&page);
    if let Some(folder) = std::env::var_os("PORTOLAN_CHAOS_SAMPLE") {
        report.write(&std::path::Path::new(&folder).join("long")).unwrap();
    }
}

#[test]
fn the_summary_for_a_terminal_has_colours_only_there() {
    let (run, evidence) = sample::made(SEED, 120, 500);
    let summary = table::summary(&Report::new(run, &evidence));
    assert!(summary.contains("\u{1b}[1m\u{1b}[31mBroken: 1 violation of 1 of 5 invariants"), "{summary:?}");
    let plain = anstream::adapter::strip_str(&summary).to_string();
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let line = |begin: &str| plain.lines().find(|line| line.trim_start().starts_with(begin)).unwrap().to_owned();
    assert!(line("tags_linearizable ").contains("broken 1 ×"), "{plain}");
    assert!(line("right_bytes").contains("held"), "{plain}");
    assert!(line("0:46.012").ends_with("client 0 at eu-west-1: PUT team/<b>app</b>:stable = a1a1a1a1: 201"), "{plain}");
    assert_eq!(line("replay:"), format!("replay: portolan-chaos replay mixed --seed {SEED}"));
    let small = anstream::adapter::strip_str(&table::summary(&sample::small())).to_string();
    let kill = small.lines().find(|line| line.trim_start().starts_with("kill")).unwrap();
    let cells: Vec<&str> = kill.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells, ["kill", "1", "1", "1", "1.5 s (c 4.0 s)", "2.1 s (a 3.3 s)", "300 ms (b 1.8 s)", "1"]);
}
