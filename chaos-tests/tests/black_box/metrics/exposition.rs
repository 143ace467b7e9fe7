//! What a node tells at `/metrics`, in Prometheus' text format.

use std::collections::{BTreeMap, BTreeSet};

/// A metric as a node tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    /// Its type.
    pub(crate) kind: String,
    /// What it means, if it says so.
    pub(crate) help: Option<String>,
    /// The label names of each of its series, `le` aside.
    pub(crate) labels: BTreeSet<BTreeSet<String>>,
}

/// Reads all metrics of a node, by name.
///
/// # Errors
/// The line that cannot be read, or belongs to no metric.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let wrong = || format!("cannot be read: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(wrong)?;
            families.entry(name.to_owned()).or_default().help = Some(help.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(wrong)?;
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').ok_or_else(wrong)?;
            value.parse::<f64>().map_err(|_| wrong())?;
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, label_names(labels.strip_suffix('}').ok_or_else(wrong)?)),
                None => (series, BTreeSet::new()),
            };
            let family = ["", "_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix).filter(|name| families.contains_key(*name)));
            let family = family.ok_or_else(|| format!("without a type: {line}"))?.to_owned();
            families.entry(family).or_default().labels.insert(labels);
        }
    }
    Ok(families)
}

/// The names in `a="x",b="y"`, `le` aside. A value may hold commas, and quotes behind a backslash.
fn label_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        if name != "le" {
            names.insert(name.to_owned());
        }
        let mut escaped = false;
        let end = after.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        rest = end.map_or("", |end| after[end + 1..].trim_start_matches(','));
    }
    names
}

#[test]
fn labels_are_read_past_commas_and_quotes_in_values() {
    let text =
        "# TYPE a counter\n# HELP a b c\na{x=\"1,y=\\\"2\",z=\"3\"} 4\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\n";
    let families = parse(text).expect("it is right");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(families["a"].labels, BTreeSet::from([names(&["x", "z"])]));
    assert_eq!(families["a"].help.as_deref(), Some("b c"));
    assert_eq!(families["h"].labels, BTreeSet::from([names(&[])]));
    assert_eq!(parse("b 1"), Err("without a type: b 1".to_owned()));
}
