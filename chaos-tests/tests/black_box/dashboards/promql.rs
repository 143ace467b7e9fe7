//! What a PromQL expression asks for, checked against what nodes tell: names, types and labels.

use crate::metrics::table::{Metric, Table};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr, VectorMatchCardinality, VectorSelector, parse};
use std::collections::BTreeSet;

/// The labels of a result. A scalar has none, and matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A number.
    Scalar,
    /// Series with these labels.
    Series(BTreeSet<String>),
}

/// What Prometheus adds to each series that it scrapes.
const OF_THE_TARGET: [&str; 2] = ["instance", "job"];

/// What Prometheus itself tells of each target.
const OF_PROMETHEUS: [&str; 1] = ["up"];

/// Parts of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Checks an expression of a rule or of a panel, and gives the labels of its result.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(table: &Table, expression: &str) -> Result<BTreeSet<String>, String> {
    // What Grafana puts in before it asks. `$instance` and the like stand inside strings, where anything may.
    let filled = expression.replace("$__rate_interval", "5m").replace("$__range", "1h");
    let parsed = parse(&filled).map_err(|error| format!("{expression}: {error}"))?;
    match shape(table, &parsed).map_err(|reason| format!("{expression}: {reason}"))? {
        Shape::Scalar => Ok(BTreeSet::new()),
        Shape::Series(labels) => Ok(labels),
    }
}

fn shape(table: &Table, expression: &Expr) -> Result<Shape, String> {
    match expression {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(Shape::Scalar),
        Expr::Paren(inner) => shape(table, &inner.expr),
        Expr::Unary(inner) => shape(table, &inner.expr),
        Expr::Subquery(inner) => shape(table, &inner.expr),
        Expr::VectorSelector(selector) => select(table, selector),
        Expr::MatrixSelector(selector) => select(table, &selector.vs),
        Expr::Aggregate(aggregate) => aggregated(table, aggregate),
        Expr::Binary(binary) => combined(table, binary),
        Expr::Call(call) => called(table, call),
        Expr::Extension(_) => Err("an extension".to_owned()),
    }
}

fn select(table: &Table, selector: &VectorSelector) -> Result<Shape, String> {
    let name = selector.name.as_deref().ok_or("a selector without a name")?;
    let mut labels: BTreeSet<String> = OF_THE_TARGET.map(str::to_owned).into();
    if !OF_PROMETHEUS.contains(&name) {
        let (metric, part) = find(table, name)?;
        labels.extend(metric.labels.iter().cloned());
        if part == "_bucket" {
            labels.insert("le".to_owned());
        }
    }
    for matcher in &selector.matchers.matchers {
        want(&labels, &matcher.name, name)?;
    }
    Ok(Shape::Series(labels))
}

/// The metric and which part of it a name means.
fn find<'a>(table: &'a Table, name: &str) -> Result<(&'a Metric, &'static str), String> {
    if let Some(metric) = table.get(name) {
        if metric.kind == "histogram" {
            return Err(format!("{name} is a histogram: its _bucket, _sum or _count can be asked for"));
        }
        return Ok((metric, ""));
    }
    let part = PARTS.into_iter().find(|part| name.ends_with(part));
    let stem = part.and_then(|part| name.strip_suffix(part));
    match stem.and_then(|stem| table.get(stem)) {
        Some(metric) if metric.kind == "histogram" => Ok((metric, part.unwrap_or_default())),
        _ => Err(format!("no node tells {name}")),
    }
}

fn want(labels: &BTreeSet<String>, label: &str, of: &str) -> Result<(), String> {
    if labels.contains(label) { Ok(()) } else { Err(format!("{of} has no label {label}, only {labels:?}")) }
}

fn aggregated(table: &Table, aggregate: &AggregateExpr) -> Result<Shape, String> {
    let Shape::Series(labels) = shape(table, &aggregate.expr)? else { return Err("a sum of a number".to_owned()) };
    if let Some(parameter) = &aggregate.param {
        shape(table, parameter)?;
    }
    let operator = aggregate.op.to_string();
    if operator == "topk" || operator == "bottomk" {
        return Ok(Shape::Series(labels));
    }
    let Some(modifier) = &aggregate.modifier else { return Ok(Shape::Series(BTreeSet::new())) };
    let named = &modifier.labels().labels;
    for label in named {
        want(&labels, label, &format!("what {operator} takes"))?;
    }
    let kept = labels.into_iter().filter(|label| named.contains(label) == modifier.is_include());
    Ok(Shape::Series(kept.collect()))
}

fn combined(table: &Table, binary: &BinaryExpr) -> Result<Shape, String> {
    let (left, right) = match (shape(table, &binary.lhs)?, shape(table, &binary.rhs)?) {
        (Shape::Series(left), Shape::Series(right)) => (left, right),
        (Shape::Scalar, other) | (other, Shape::Scalar) => return Ok(other),
    };
    let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
    let Some(matching) = matching else {
        // Series match when all their labels are the same: of different sets none ever do.
        if left != right {
            return Err(format!("nothing matches: {left:?} on one side, {right:?} on the other"));
        }
        return Ok(Shape::Series(left));
    };
    let named = &matching.labels().labels;
    for label in named {
        want(&left, label, "the left side")?;
        want(&right, label, "the right side")?;
    }
    if binary.op.is_set_operator() {
        return Ok(Shape::Series(left));
    }
    let cardinality = binary.modifier.as_ref().map(|modifier| &modifier.card);
    match cardinality {
        Some(VectorMatchCardinality::ManyToOne(more)) => grouped(left, &right, &more.labels),
        Some(VectorMatchCardinality::OneToMany(more)) => grouped(right, &left, &more.labels),
        _ if matching.is_include() => Ok(Shape::Series(named.iter().cloned().collect())),
        _ => Ok(Shape::Series(left.into_iter().filter(|label| !named.contains(label)).collect())),
    }
}

fn grouped(mut many: BTreeSet<String>, one: &BTreeSet<String>, more: &[String]) -> Result<Shape, String> {
    for label in more {
        want(one, label, "the side with one")?;
        many.insert(label.clone());
    }
    Ok(Shape::Series(many))
}

fn called(table: &Table, call: &Call) -> Result<Shape, String> {
    let name = call.func.name;
    let shapes = call.args.args.iter().map(|argument| shape(table, argument)).collect::<Result<Vec<_>, _>>()?;
    let series = shapes.into_iter().find_map(|shape| match shape {
        Shape::Series(labels) => Some(labels),
        Shape::Scalar => None,
    });
    if ["rate", "irate", "increase"].contains(&name) {
        grows(table, call)?;
    }
    let Some(mut labels) = series else {
        // `vector(0)` has series without labels, `time()` and the like are numbers.
        return Ok(if name == "vector" { Shape::Series(BTreeSet::new()) } else { Shape::Scalar });
    };
    match name {
        "scalar" => Ok(Shape::Scalar),
        "histogram_quantile" => {
            want(&labels, "le", "what histogram_quantile takes")?;
            labels.remove("le");
            Ok(Shape::Series(labels))
        }
        "label_replace" => {
            let text = |index: usize| match call.args.args.get(index).map(AsRef::as_ref) {
                Some(Expr::StringLiteral(text)) => Ok(text.val.clone()),
                _ => Err("label_replace wants strings".to_owned()),
            };
            want(&labels, &text(3)?, "what label_replace takes")?;
            labels.insert(text(1)?);
            Ok(Shape::Series(labels))
        }
        _ => Ok(Shape::Series(labels)),
    }
}

/// A rate of what also goes down is nonsense.
fn grows(table: &Table, call: &Call) -> Result<(), String> {
    let Some(Expr::MatrixSelector(selector)) = call.args.args.first().map(AsRef::as_ref) else { return Ok(()) };
    let name = selector.vs.name.as_deref().unwrap_or_default();
    match find(table, name)? {
        (metric, "") if metric.kind != "counter" => {
            Err(format!("{} of {name}, which is a {}", call.func.name, metric.kind))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Metric, Table, check};

    fn table() -> Table {
        let metric = |kind: &str, labels: &[&str]| Metric {
            kind: kind.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            unit: None,
            meaning: String::new(),
        };
        Table::from([
            ("hits_total".to_owned(), metric("counter", &["kind"])),
            ("depth".to_owned(), metric("gauge", &["kind", "node"])),
            ("took_seconds".to_owned(), metric("histogram", &["call"])),
        ])
    }

    #[test]
    fn what_can_be_answered_passes_with_the_labels_of_its_answer() {
        let cases: &[(&str, &[&str])] = &[
            ("hits_total", &["instance", "job", "kind"]),
            ("sum by (kind) (rate(hits_total{instance=~\"$instance\"}[$__rate_interval]))", &["kind"]),
            ("sum without (job, instance) (depth)", &["kind", "node"]),
            ("histogram_quantile(0.9, sum by (le, call) (rate(took_seconds_bucket[5m])))", &["call"]),
            ("sum(rate(took_seconds_sum[5m])) / sum(rate(took_seconds_count[5m]))", &[]),
            ("max by (kind) (depth and on (instance) topk(1, hits_total)) == 1", &["kind"]),
            (
                "hits_total * on (kind) group_left (node) max by (kind, node) (depth)",
                &["instance", "job", "kind", "node"],
            ),
            ("label_replace(max by (node) (depth), \"peer\", \"$1\", \"node\", \"(.*)\")", &["node", "peer"]),
            ("sum(hits_total) or vector(0)", &[]),
            ("time() - max(depth)", &[]),
            ("up{job=\"x\"} == 0", &["instance", "job"]),
        ];
        for (expression, labels) in cases {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(check(&table(), expression), Ok(labels), "{expression}");
        }
    }

    #[test]
    fn what_can_never_be_answered_is_told() {
        let cases = [
            ("miss_total", "no node tells miss_total"),
            ("hits_total_count", "no node tells hits_total_count"),
            ("took_seconds", "is a histogram"),
            ("hits_total{node=\"1\"}", "hits_total has no label node"),
            ("sum by (region) (hits_total)", "no label region"),
            ("sum by (call) (rate(depth[5m]))", "rate of depth, which is a gauge"),
            ("histogram_quantile(0.9, sum by (call) (rate(took_seconds_bucket[5m])))", "no label le"),
            ("hits_total / depth", "nothing matches"),
            ("hits_total and on (node) depth", "the left side has no label node"),
            ("sum by (kind (hits_total)", "sum by (kind (hits_total)"),
        ];
        for (expression, expected) in cases {
            let reason = check(&table(), expression).expect_err(expression);
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
