//! The result as tables for the terminal.

use super::chart::number;
use super::outcome::{Better, Chart};
use super::stats;
use super::target::{DOCKER_REGISTRY, PORTOLAN_1};
use comfy_table::{CellAlignment, Table, presets};

/// Charts of the same targets: a line for each case, a column with the median of each target, and how many times
/// docker-registry's value Portolan's is.
#[must_use]
pub fn compared(charts: &[Chart]) -> String {
    let mut targets: Vec<&str> = Vec::new();
    for bar in charts.iter().flat_map(|chart| &chart.cases).flat_map(|case| &case.bars) {
        if !targets.contains(&bar.name.as_str()) {
            targets.push(&bar.name);
        }
    }
    let ratio = targets.contains(&PORTOLAN_1) && targets.contains(&DOCKER_REGISTRY);
    let mut table = Table::new();
    let head = ["load", "unit"].into_iter().chain(targets.iter().copied()).chain(ratio.then_some("1 node / registry"));
    table.load_preset(presets::NOTHING).set_header(head);
    for chart in charts {
        for case in &chart.cases {
            let mut row = vec![format!("{}, {}", chart.title, case.name), chart.unit.to_owned()];
            row.extend(targets.iter().map(|target| match case.of(target) {
                Some(bar) if bar.values.is_empty() => "no result".to_owned(),
                Some(bar) => number(bar.median()),
                None => String::new(),
            }));
            if let (true, Some(ours), Some(theirs)) = (ratio, case.of(PORTOLAN_1), case.of(DOCKER_REGISTRY)) {
                row.push(stats::median_ratio(&ours.values, &theirs.values).map_or_else(String::new, number));
            }
            table.add_row(row);
        }
    }
    to_the_right(table, 2)
}

/// Charts of anything: below each one's title a line for each bar, with its least, middle and greatest value.
#[must_use]
pub fn listed(charts: &[Chart]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["", "unit", "min", "median", "max", "goal", "errors", "busy %"]);
    for chart in charts {
        table.add_row([chart.title.clone(), chart.unit.to_owned()]);
        for case in &chart.cases {
            for bar in &case.bars {
                let (least, greatest) = stats::range(&bar.values);
                let mut row = vec![format!("  {}: {}", case.name, bar.name), String::new()];
                row.extend([least, bar.median(), greatest].map(number));
                row.push(chart.goal.map_or_else(String::new, |goal| goal_of(chart.better, goal)));
                row.push(bar.errors.to_string());
                row.push(bar.busy().map_or_else(String::new, |busy| format!("{:.0}", busy * 100.0)));
                table.add_row(row);
            }
        }
    }
    to_the_right(table, 2)
}

/// What is aimed at, as it is read: `≤ 1.05`.
fn goal_of(better: Better, goal: f64) -> String {
    format!("{} {}", if better == Better::Higher { '≥' } else { '≤' }, number(goal))
}

/// Numbers end in the same column, from the given one on.
fn to_the_right(mut table: Table, from: usize) -> String {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::{Better, Chart, DOCKER_REGISTRY, PORTOLAN_1, compared, listed};

    #[test]
    fn each_case_is_a_line_with_the_middle_of_every_target_and_their_ratio() {
        let mut chart = Chart::new("x", "Reads".to_owned(), ("1/s", Better::Higher), String::new());
        chart.bar("small", PORTOLAN_1).values = vec![9_000.0, 3_000.0, 6_000.0];
        chart.bar("small", DOCKER_REGISTRY).values = vec![1_000.0, 1_000.0, 1_500.0];
        chart.bar("large", PORTOLAN_1).errors = 1;
        let table = compared(&[chart]);
        let line = |name: &str| table.lines().find(|line| line.contains(name)).map(str::to_owned).unwrap_or_default();
        let small = line("small");
        assert!(["Reads, small", "6,000", "1,000", "4.00"].iter().all(|part| small.contains(part)), "{table}");
        assert!(line("large").contains("no result"), "{table}");
    }

    #[test]
    fn a_list_has_the_least_the_middle_and_the_greatest_of_every_bar() {
        let mut chart = Chart::new("x", "Commits".to_owned(), ("s", Better::Lower), String::new());
        chart.goal = Some(2.5);
        let bar = chart.bar("far", "p50");
        (bar.values, bar.core_seconds, bar.cpu_seconds, bar.other_cpu_seconds) = (vec![3.0, 1.0, 2.0], 4.0, 1.0, 2.0);
        let table = listed(&[chart]);
        let line = table.lines().last().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["far:", "p50", "1.00", "2.00", "3.00", "≤", "2.50", "0", "75"], "{table}");
    }
}
