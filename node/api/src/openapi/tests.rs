//! The description says what is answered: each field, and nothing that is not there.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::DESCRIPTION;
use crate::route;
use http::Method;
use portolan_auth::{Action, AdminResource};
use portolan_registry::{ClusterReport, LagReport, LinkReport, LoadReport, NodeReport};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

/// A report with something in every field, or with as little as there may be.
fn report(full: bool) -> ClusterReport {
    let load = LoadReport { disk_free_bytes: full.then_some(1), ..LoadReport::default() };
    let node = NodeReport {
        id: 1,
        name: "a".to_owned(),
        region: "eu".to_owned(),
        zone: String::new(),
        role: serde_json::from_value(json!("full")).unwrap(),
        voter: true,
        state: serde_json::from_value(json!("up")).unwrap(),
        applied: full.then_some(7),
        lag: full.then_some(0),
        last_seen_ms: full.then_some(0),
        version: "1".to_owned(),
        load: full.then_some(load),
    };
    let lag = LagReport { from: "eu".to_owned(), to: "us".to_owned(), blobs: 1, bytes: 2, age_ms: 3 };
    ClusterReport {
        cluster_id: "c".to_owned(),
        epoch: 0,
        term: 1,
        leader: full.then_some(1),
        asked: 1,
        nodes: vec![node],
        lags: vec![lag],
        links: vec![LinkReport { from: 1, to: 2, rtt_ms: full.then_some(0.5) }],
        warnings: vec!["beware".to_owned()],
    }
}

/// Follows a reference within the description.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => root.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path} leads nowhere")),
        None => schema,
    }
}

/// Where an answer is not as its schema says, and which fields of the schema it has.
fn compare(root: &Value, schema: &Value, answer: &Value, path: &str, wrong: &mut Vec<String>) {
    let schema = resolved(root, schema);
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = |choice: &&Value| types(resolved(root, choice)).contains(kind(answer));
        match choices.iter().find(fits) {
            Some(choice) => compare(root, choice, answer, path, wrong),
            None => wrong.push(format!("{path} is none of its choices")),
        }
        return;
    }
    let fits = types(schema).contains(kind(answer)) || (answer.is_u64() && types(schema).contains("number"));
    if !fits {
        wrong.push(format!("{path} is {answer}, described as {}", schema["type"]));
    }
    match answer {
        Value::Object(fields) => {
            let described = schema["properties"].as_object().unwrap();
            let required: BTreeSet<&str> =
                schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            for (name, value) in fields {
                match described.get(name) {
                    Some(schema) => compare(root, schema, value, &format!("{path}.{name}"), wrong),
                    None => wrong.push(format!("{path}.{name} is not described")),
                }
            }
            for name in described.keys() {
                if !fields.contains_key(name) || !required.contains(name.as_str()) {
                    wrong.push(format!("{path}.{name} is described and not there, or not required"));
                }
            }
        }
        Value::Array(entries) => {
            for (at, entry) in entries.iter().enumerate() {
                compare(root, &schema["items"], entry, &format!("{path}[{at}]"), wrong);
            }
        }
        _ => {}
    }
}

fn types(schema: &Value) -> BTreeSet<&str> {
    match &schema["type"] {
        Value::String(one) => BTreeSet::from([one.as_str()]),
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap()).collect(),
        _ => BTreeSet::new(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn differences(root: &Value, answer: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    compare(root, &root["components"]["schemas"]["Cluster"], answer, "cluster", &mut wrong);
    wrong
}

#[test]
fn the_cluster_is_described_field_by_field() {
    let root = description();
    for full in [true, false] {
        let answer = serde_json::to_value(report(full)).unwrap();
        assert_eq!(differences(&root, &answer), [""; 0], "{answer}");
    }
}

#[test]
fn a_field_too_many_or_too_few_or_of_another_kind_is_noticed() {
    let root = description();
    let mut answer = serde_json::to_value(report(true)).unwrap();
    answer["nodes"][0]["load"]["rumours"] = json!(1);
    answer["nodes"][0]["voter"] = json!("yes");
    answer.as_object_mut().unwrap().remove("epoch");
    let found = differences(&root, &answer);
    let want = [
        "cluster.nodes[0].load.rumours is not described",
        "cluster.nodes[0].voter is \"yes\", described as \"boolean\"",
        "cluster.epoch is described and not there, or not required",
    ];
    assert_eq!(found, want);
}

/// The names that a type of the answer has, as serde tells them.
fn names<T: DeserializeOwned>(_: &T) -> BTreeSet<String> {
    let told = serde_json::from_value::<T>(json!("?")).err().unwrap().to_string();
    let (_, expected) = told.split_once("expected").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn roles_and_states_are_described_by_all_their_names() {
    let (root, report) = (description(), report(true));
    let described = |field: &str| -> BTreeSet<String> {
        serde_json::from_value(root["components"]["schemas"]["Node"]["properties"][field]["enum"].clone()).unwrap()
    };
    assert_eq!(described("role"), names(&report.nodes[0].role));
    assert_eq!(described("state"), names(&report.nodes[0].state));
}

#[test]
fn each_resource_is_described_and_nothing_else() {
    let root = description();
    let paths = root["paths"].as_object().unwrap();
    let described: BTreeSet<&str> =
        paths.keys().map(|path| path.strip_prefix("/api/v1/").expect("below the prefix")).collect();
    assert_eq!(described, AdminResource::ALL.map(AdminResource::path).into());
    for (path, item) in paths {
        let beside = |name: &&String| name.starts_with("x-") || *name == "parameters";
        let methods: Vec<&String> = item.as_object().unwrap().keys().filter(|name| !beside(name)).collect();
        assert_eq!(methods, ["get", "head"], "{path}");
        for method in [Method::GET, Method::HEAD] {
            let action = route::admin(&method, path.trim_start_matches("/api/v1/")).unwrap();
            assert!(matches!(action, Action::ReadAdmin { .. }), "{method} {path}");
        }
    }
}

/// Every reference of a value, however deep.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(entries) => entries.iter().for_each(|entry| references(entry, found)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere_and_every_component_is_used() {
    let root = description();
    let mut found = Vec::new();
    references(&root, &mut found);
    for path in &found {
        assert!(root.pointer(path.trim_start_matches('#')).is_some(), "{path} leads nowhere");
    }
    for kind in ["headers", "parameters", "responses", "schemas"] {
        for name in root["components"][kind].as_object().unwrap().keys() {
            let path = format!("#/components/{kind}/{name}");
            assert!(found.contains(&path), "{path} is used nowhere");
        }
    }
}
