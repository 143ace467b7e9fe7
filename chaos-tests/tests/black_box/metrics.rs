//! What nodes tell at `/metrics` is what `deploy/METRICS.md` says, and the other way round.

pub(crate) mod exposition;
pub(crate) mod table;

use exposition::Family;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, wait};
use std::collections::BTreeMap;
use std::time::Duration;
use table::Table;

const REPO: &str = "metrics/image";

/// Units that a name ends with, before `_total`.
const UNITS: [&str; 5] = ["seconds", "microseconds", "bytes", "bytes_per_second", "entries"];

#[test]
fn names_end_with_their_unit_and_counters_with_total() {
    for (name, metric) in table::read() {
        assert_eq!(name.ends_with("_total"), metric.kind == "counter", "{name} is a {}", metric.kind);
        let stem = name.strip_suffix("_total").unwrap_or(&name);
        let unit = UNITS.iter().filter(|unit| stem.ends_with(&format!("_{unit}"))).max_by_key(|unit| unit.len());
        let said = metric.unit.as_ref().map(|unit| unit.replace(' ', "_"));
        assert_eq!(unit.map(|unit| (*unit).to_owned()), said, "the unit of {name}");
        assert!(metric.meaning.ends_with('.') && metric.meaning.len() > 10, "what does {name} mean?");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_tell_what_the_table_says_and_nothing_else() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let image = Image::seeded(1, &[300_000, 1_000]);
    cluster.registry(0).push(REPO, "v1", &image).await?;
    for node in 0..3 {
        let registry = cluster.registry(node);
        registry.pull_and_compare(REPO, "v1", &image).await?;
        registry.get(&format!("/v2/{REPO}/tags/list")).await?;
    }
    let table = table::read();
    // Some gauges are set now and then; nothing here needs a bad day.
    wait::until("every metric of the table on some node", Duration::from_secs(30), async || {
        let mut missing: Vec<&String> = table.keys().collect();
        for node in 0..3 {
            let told = told(&cluster, node).await?;
            let name = &cluster.nodes()[node].name;
            if let Some(wrong) = differences(&table, &told).first() {
                return Err(format!("{name}: {wrong}"));
            }
            missing.retain(|name| !told.contains_key(*name));
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("no node tells {missing:?}")) }
    })
    .await?;
    cluster.stop().await?;
    Ok(())
}

async fn told(cluster: &Cluster, node: usize) -> std::result::Result<BTreeMap<String, Family>, String> {
    let answer = cluster.ops(node).get("/metrics").await.map_err(|error| error.to_string())?;
    exposition::parse(&answer.text().await.map_err(|error| error.to_string())?)
}

/// Where a node and the table disagree.
fn differences(table: &Table, told: &BTreeMap<String, Family>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, family) in told {
        let Some(metric) = table.get(name) else {
            found.push(format!("{name} is not in the table"));
            continue;
        };
        if metric.kind != family.kind {
            found.push(format!("{name} is a {}, not a {}", family.kind, metric.kind));
        }
        match &family.help {
            None => found.push(format!("{name} does not say what it means")),
            Some(help) if *help != metric.meaning => found.push(format!("{name} means {help:?}")),
            Some(_) => {}
        }
        for labels in family.labels.iter().filter(|labels| **labels != metric.labels) {
            found.push(format!("{name} has the labels {labels:?}, not {:?}", metric.labels));
        }
    }
    found
}
