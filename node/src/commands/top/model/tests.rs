#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::{Memory, Model};
use serde_json::{Value, json};

fn load(up_ms: u64, requests: u64) -> Value {
    json!({"up_ms": up_ms, "requests": requests, "faults": 0, "received_bytes": requests * 1_000, "sent_bytes": 0,
        "queue": 0, "queue_bytes": 0, "fetches": 0, "uploads": 0, "disk_free_bytes": null})
}

fn node(id: u64, region: &str, load: &Value) -> Value {
    json!({"id": id, "name": format!("{region}-{id}"), "region": region, "zone": "", "role": "full", "voter": true,
        "state": "up", "applied": 9, "lag": 0, "last_seen_ms": 0, "version": "0.1.0", "load": load})
}

fn answer(nodes: &[Value], links: &Value) -> Value {
    json!({"cluster_id": "c", "epoch": 0, "term": 3, "leader": 2, "asked": 1, "nodes": nodes, "links": links,
        "lags": [{"from": "eu", "to": "us", "blobs": 1, "bytes": 10, "age_ms": 5}], "warnings": ["one copy in us"]})
}

fn take(memory: &mut Memory, answer: Value) -> Model {
    memory.take("here:5000", 0, serde_json::from_value(answer).unwrap())
}

#[test]
fn a_region_does_what_its_nodes_do_together_and_remembers_it() {
    let mut memory = Memory::default();
    let sample = |first: &Value, second: &Value| {
        answer(&[node(1, "eu", first), node(2, "us", &Value::Null), node(3, "eu", second)], &json!([]))
    };
    let model = take(&mut memory, sample(&load(1_000, 0), &load(9_000, 100)));
    assert!(!model.is_rated() && model.regions.iter().all(|region| region.rates.is_none()));
    let model = take(&mut memory, sample(&load(2_000, 10), &load(10_000, 105)));
    assert!(model.is_rated(), "a silent node has no rate, and nobody waits for one");
    let names: Vec<&str> = model.regions.iter().map(|region| region.name.as_str()).collect();
    assert_eq!(names, ["eu", "us"], "in the order of their first nodes");
    let eu = model.regions[0].rates.unwrap();
    assert_eq!((eu.requests_per_s, eu.received_bytes_per_s), (15.0, 15_000.0));
    assert_eq!(model.regions[1].rates, None);
    assert_eq!(model.regions[0].past, [None, Some(eu)]);
    assert_eq!((model.leader, model.node(2).unwrap().rates), (Some(2), None));
    assert_eq!(model.lag("eu", "us").map(|lag| lag.bytes), Some(10));
}

#[test]
fn the_curve_of_a_region_is_bounded_and_goes_with_the_region() {
    let mut memory = Memory::default();
    for second in 0..1_000 {
        take(&mut memory, answer(&[node(1, "eu", &load(second * 1_000, second))], &json!([])));
    }
    let model = take(&mut memory, answer(&[node(1, "us", &load(1_000_000, 0))], &json!([])));
    assert_eq!(memory.past.keys().collect::<Vec<_>>(), ["us"]);
    assert_eq!(model.regions[0].past.len(), 1);
    for second in 1_001..2_000 {
        take(&mut memory, answer(&[node(1, "us", &load(second * 1_000, second))], &json!([])));
    }
    assert_eq!(memory.past["us"].len(), super::REMEMBERED);
}

#[test]
fn the_way_between_regions_is_the_median_of_those_between_their_nodes() {
    let nodes = [node(1, "eu", &Value::Null), node(2, "us", &Value::Null), node(3, "us", &Value::Null)];
    let links = json!([
        {"from": 1, "to": 2, "rtt_ms": 80.0}, {"from": 1, "to": 3, "rtt_ms": 90.0}, {"from": 2, "to": 1, "rtt_ms": null},
        {"from": 3, "to": 1, "rtt_ms": 85.0}, {"from": 2, "to": 3, "rtt_ms": 0.3}, {"from": 3, "to": 2, "rtt_ms": null},
        {"from": 3, "to": 77, "rtt_ms": 1.0}
    ]);
    let model = take(&mut Memory::default(), answer(&nodes, &links));
    let seen: Vec<_> = model
        .region_links
        .iter()
        .map(|link| (link.from.as_str(), link.to.as_str(), link.rtt_ms, link.links, link.silent))
        .collect();
    assert_eq!(
        seen,
        [("eu", "us", Some(90.0), 2, 0), ("us", "eu", Some(85.0), 2, 1), ("us", "us", Some(0.3), 2, 1)],
        "a region with one node has no way inside of it"
    );
}

#[test]
fn a_node_that_went_silent_is_told_before_it_is_declared_down() {
    let mut silent = node(2, "us", &Value::Null);
    silent["last_seen_ms"] = json!(4_200);
    let mut down = node(3, "ap", &Value::Null);
    (down["state"], down["last_seen_ms"]) = (json!("down"), json!(60_000));
    let mut new = node(4, "ap", &Value::Null);
    new["last_seen_ms"] = Value::Null;
    let model = take(&mut Memory::default(), answer(&[node(1, "eu", &load(1, 1)), silent, down, new], &json!([])));
    assert_eq!(
        model.warnings,
        ["one copy in us", "us-2 has not answered for 4 s", "ap-4 has never answered the asked node"]
    );
}

#[test]
fn an_answer_of_an_older_node_without_load_and_links_is_shown_all_the_same() {
    let mut old = node(1, "eu", &Value::Null);
    old.as_object_mut().unwrap().remove("load");
    let old = json!({"cluster_id": null, "epoch": 0, "term": 0, "leader": null, "nodes": [old]});
    let model = take(&mut Memory::default(), old);
    assert_eq!((model.leader, model.asked, model.nodes.len()), (None, None, 1));
    assert!(model.lags.is_empty() && model.region_links.is_empty());
}
