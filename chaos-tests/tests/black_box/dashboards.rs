//! The dashboard and the alert rules of `deploy/` ask for what nodes tell, and for nothing else.

mod promql;

use crate::metrics::table::{self, Table, deploy};
use promql::check;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Grafana's grid.
const COLUMNS: u64 = 24;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dashboard {
    title: String,
    uid: String,
    schema_version: u64,
    templating: Templating,
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Templating {
    list: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    definition: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    title: String,
    grid_pos: Grid,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Grid {
    x: u64,
    y: u64,
    w: u64,
    h: u64,
}

impl Grid {
    fn overlaps(self, other: Self) -> bool {
        let apart = self.x + self.w <= other.x
            || other.x + other.w <= self.x
            || self.y + self.h <= other.y
            || other.y + other.h <= self.y;
        !apart
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    expr: String,
    ref_id: String,
    #[serde(default)]
    legend_format: String,
}

fn dashboard() -> Dashboard {
    let text = std::fs::read_to_string(deploy("grafana-dashboard.json")).expect("the dashboard");
    serde_json::from_str(&text).expect("a dashboard as Grafana imports it")
}

#[test]
fn every_panel_asks_for_what_nodes_tell() {
    let (table, dashboard) = (table::read(), dashboard());
    assert!(dashboard.schema_version >= 36 && !dashboard.title.is_empty() && !dashboard.uid.is_empty());
    let mut wrong = Vec::new();
    for panel in dashboard.panels.iter().filter(|panel| panel.kind != "row") {
        assert!(!panel.targets.is_empty(), "{} asks for nothing", panel.title);
        for target in &panel.targets {
            let legend = match check(&table, &target.expr) {
                Ok(labels) => unknown_in(&target.legend_format, "{{", "", &labels),
                Err(reason) => vec![reason],
            };
            wrong.extend(legend.iter().map(|what| format!("{} ({}): {what}", panel.title, target.ref_id)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_variables_are_filled_from_what_nodes_tell_and_every_variable_used_is_there() {
    let (table, dashboard) = (table::read(), dashboard());
    let mut names = BTreeSet::new();
    for variable in dashboard.templating.list {
        if variable.kind == "query" {
            let asked = variable.definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (expression, label) = asked.and_then(|asked| asked.rsplit_once(',')).expect("label_values(…, …)");
            let labels = check(&table, expression).expect("what fills a variable");
            assert!(labels.contains(label.trim()), "{}: no label {label}", variable.name);
        }
        names.insert(variable.name);
    }
    // Grafana's own begin with two underscores.
    let text = std::fs::read_to_string(deploy("grafana-dashboard.json")).expect("the dashboard");
    for used in text.split('$').skip(1) {
        let used = used.trim_start_matches('{');
        let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        assert!(used.starts_with("__") || names.contains(&used), "${used} is no variable of the dashboard");
    }
}

#[test]
fn panels_lie_on_the_grid_and_not_on_each_other() {
    let panels = dashboard().panels;
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel.id).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for (index, panel) in panels.iter().enumerate() {
        let grid = panel.grid_pos;
        assert!(grid.w > 0 && grid.h > 0 && grid.x + grid.w <= COLUMNS, "{}: {grid:?}", panel.title);
        for other in &panels[..index] {
            assert!(!grid.overlaps(other.grid_pos), "{} lies on {}", panel.title, other.title);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    lasting: String,
    labels: RuleLabels,
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleLabels {
    severity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    description: String,
}

#[test]
fn every_alert_asks_for_what_nodes_tell_and_says_what_to_do() {
    let table = table::read();
    let text = std::fs::read_to_string(deploy("prometheus-alerts.yaml")).expect("the alert rules");
    let rules: Rules = serde_yaml_ng::from_str(&text).expect("rules as Prometheus reads them");
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for group in &rules.groups {
        assert!(!group.rules.is_empty(), "{} is empty", group.name);
        for rule in &group.rules {
            assert!(names.insert(&rule.alert), "{} is there twice", rule.alert);
            wrong.extend(faults(&table, rule).into_iter().map(|fault| format!("{}: {fault}", rule.alert)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn faults(table: &Table, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    if !["critical", "warning"].contains(&rule.labels.severity.as_str()) {
        faults.push(format!("severity {}", rule.labels.severity));
    }
    let (number, unit) = rule.lasting.split_at(rule.lasting.len().saturating_sub(1));
    if number.parse::<u32>().is_err() || !["s", "m", "h", "d"].contains(&unit) {
        faults.push(format!("for {}", rule.lasting));
    }
    for text in [&rule.annotations.summary, &rule.annotations.description] {
        if text.len() < 20 || !text.ends_with('.') {
            faults.push(format!("no sentence: {text:?}"));
        }
    }
    match check(table, &rule.expr) {
        Ok(labels) => {
            faults.extend(unknown_in(&rule.annotations.summary, "{{", "$labels.", &labels));
            faults.extend(unknown_in(&rule.annotations.description, "{{", "$labels.", &labels));
        }
        Err(reason) => faults.push(reason),
    }
    faults
}

/// The labels that a template names and the series do not have.
fn unknown_in(template: &str, open: &str, prefix: &str, labels: &BTreeSet<String>) -> Vec<String> {
    let names = template.split(open).skip(1).filter_map(|rest| {
        let name = rest.split(['}', '|']).next()?.trim();
        name.strip_prefix(prefix)
    });
    names.filter(|name| !labels.contains(*name)).map(|name| format!("no label {name} in {labels:?}")).collect()
}

#[test]
fn the_dashboard_names_no_data_source_of_its_own() {
    let text = std::fs::read_to_string(deploy("grafana-dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut sources = Vec::new();
    collect(&dashboard, &mut sources);
    let other = sources.iter().find(|uid| **uid != "${datasource}" && **uid != "-- Grafana --");
    assert_eq!(other, None, "it could not be imported elsewhere");
}

/// The data sources that anything below names.
fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("datasource").and_then(|source| source["uid"].as_str()));
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}
