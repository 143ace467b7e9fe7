//! The description says what is answered: each field, and nothing that is not there.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::DESCRIPTION;
use crate::listing::Marked;
use crate::route;
use http::Method;
use portolan_auth::{Action, AdminResource};
use portolan_oci::Digest;
use portolan_registry::{
    Bandwidth, ClusterReport, DamagedImage, HealthReport, HealthState, ImageRegion, ImageReport, LagReport,
    LeaderReport, LeaderWanted, LinkReport, LoadReport, NodeReport, OrderReport, PrefixReport, RateLimit,
    RegionLinkReport, RegionRpo, RepoReport, RepoSettings, ReposReport, RpoReport, SettingsChange, SettingsFrom,
    TagHistory, TagMove,
};
use serde::Serialize;
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
        health: HealthReport { state: HealthState::Ok, phi: full.then_some(9.3), ejected_ms: full.then_some(1) },
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
        region_links: vec![RegionLinkReport {
            from: "eu".to_owned(),
            to: "us".to_owned(),
            rtt_ms: full.then_some(0.5),
        }],
        orders: vec![OrderReport { region: "eu".to_owned(), nodes: vec![1] }],
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
        let tried = choices.iter().filter(fits).map(|choice| {
            let mut wrong = Vec::new();
            compare(root, choice, answer, path, &mut wrong);
            wrong
        });
        match tried.min_by_key(Vec::len) {
            Some(least) => wrong.extend(least),
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

/// Where an answer is not as the schema of that name says.
fn differences_from(root: &Value, schema: &str, answer: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    compare(root, &root["components"]["schemas"][schema], answer, &schema.to_lowercase(), &mut wrong);
    wrong
}

fn differences(root: &Value, answer: &Value) -> Vec<String> {
    differences_from(root, "Cluster", answer)
}

/// Settings with something in every field, in one of the two ways that some have, or with nothing in any.
fn settings(full: bool, other: bool) -> RepoSettings {
    let value = match (full, other) {
        (false, _) => json!({}),
        (true, false) => json!({"regions": {"only": ["eu"]}, "copies": 2, "ack": {"regions": 2, "copies": 1},
            "tag_reads": {"bounded_ms": 5}, "partition": "fail"}),
        (true, true) => json!({"regions": {"never_outside": ["eu"]}, "copies": 1, "ack": null,
            "tag_reads": "linearizable", "partition": "serve-stale"}),
    };
    serde_json::from_value(value).unwrap()
}

fn repos(full: bool, other: bool) -> ReposReport {
    let prefix = || full.then(|| "team".to_owned().try_into().unwrap());
    let from =
        SettingsFrom { regions: prefix(), copies: prefix(), ack: prefix(), tag_reads: prefix(), partition: prefix() };
    let settings = || settings(full, other);
    ReposReport {
        prefixes: vec![PrefixReport { prefix: String::new().try_into().unwrap(), settings: settings() }],
        repositories: vec![RepoReport { name: "a".parse().unwrap(), known: true, settings: settings(), from }],
        next: full.then(|| "a".to_owned()),
    }
}

fn image(full: bool) -> ImageReport {
    let digest = Digest::sha256_of(b"x");
    let region = ImageRegion {
        region: "eu".to_owned(),
        copies: 1,
        done: false,
        blobs: 1,
        bytes: 1,
        missing_bytes: 1,
        received_bytes: 1,
        bytes_per_second: 1,
        eta_ms: full.then_some(1),
        sources: vec!["a".to_owned()],
    };
    ImageReport {
        repository: "a".to_owned(),
        reference: "t".to_owned(),
        digest,
        manifests: 1,
        blobs: 1,
        bytes: 1,
        done: false,
        lost_blobs: 1,
        lost: vec![digest],
        regions: vec![region],
    }
}

fn tag_history(full: bool) -> TagHistory {
    let digest = full.then(|| Digest::sha256_of(b"x"));
    let at = "2025-11-21T11:20:31.999Z".to_owned();
    let moves = vec![TagMove { revision: 2, digest, by: "anonymous".to_owned(), at }];
    TagHistory { repository: "a".to_owned(), tag: "t".to_owned(), moves, truncated: full }
}

/// A report as it is told: with how old it may be.
fn marked(report: &impl Serialize, stale: bool) -> Value {
    serde_json::to_value(Marked { report, stale_ms: stale.then_some(1) }).unwrap()
}

fn rpo(full: bool) -> RpoReport {
    let region = RegionRpo {
        region: "eu".to_owned(),
        blobs: 1,
        bytes: 1,
        oldest_ms: full.then_some(1),
        images: vec!["a:t".to_owned()],
        more_images: 1,
        all_named: true,
    };
    let damaged = vec![DamagedImage { image: "a:t".to_owned(), digest: Digest::sha256_of(b"x") }];
    RpoReport {
        regions: vec![region.clone()],
        unreachable_blobs: 1,
        unreachable_bytes: 1,
        unreachable: vec![region],
        damaged_blobs: 1,
        damaged,
        all_damaged_named: true,
        incomplete: false,
    }
}

fn bandwidth(full: bool) -> Bandwidth {
    let region = || full.then(|| "eu".to_owned());
    let class = serde_json::from_value(if full { json!("repair") } else { Value::Null }).unwrap();
    Bandwidth { limits: vec![RateLimit { from: region(), to: region(), class, bytes_per_second: 1 }] }
}

fn leader(full: bool) -> LeaderReport {
    LeaderReport { leader: full.then(|| "a".to_owned()), term: 1 }
}

#[test]
fn every_answer_is_described_field_by_field() {
    let root = description();
    let change = |full: bool| SettingsChange {
        prefix: "a".to_owned().try_into().unwrap(),
        before: settings(!full, false),
        settings: settings(full, true),
        warnings: vec!["beware".to_owned()],
    };
    for full in [true, false] {
        let answers = [
            ("Repos", marked(&repos(full, false), full)),
            ("Repos", marked(&repos(full, true), full)),
            ("SettingsChange", serde_json::to_value(change(full)).unwrap()),
            ("Image", marked(&image(full), full)),
            ("TagHistory", marked(&tag_history(full), full)),
            ("Rpo", serde_json::to_value(rpo(full)).unwrap()),
            ("Bandwidth", serde_json::to_value(bandwidth(full)).unwrap()),
            ("Leader", serde_json::to_value(leader(full)).unwrap()),
            ("LeaderChange", json!({"before": "a", "leader": "b"})),
        ];
        for (schema, answer) in answers {
            assert_eq!(differences_from(&root, schema, &answer), [""; 0], "{answer}");
        }
    }
    let mut answer = marked(&repos(true, false), true);
    answer["prefixes"][0]["settings"]["regions"] = json!({"everywhere": []});
    assert_eq!(differences_from(&root, "Repos", &answer).len(), 2, "one too many and one too few");
}

#[test]
fn what_may_be_sent_is_what_is_taken() {
    let root = description();
    let wanted = &root["components"]["schemas"]["SettingsWanted"];
    let taken = serde_json::to_value(RepoSettings::default()).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&wanted["properties"]), names(&taken));
    assert!(serde_json::from_value::<RepoSettings>(wanted["example"].clone()).is_ok());
    assert!(serde_json::from_value::<RepoSettings>(json!({"region": "all"})).is_err());
    let wanted = &root["components"]["schemas"]["BandwidthWanted"];
    assert!(serde_json::from_value::<Bandwidth>(wanted["example"].clone()).is_ok());
    let wanted = &root["components"]["schemas"]["LeaderWanted"];
    assert_eq!(names(&wanted["properties"]), names(&serde_json::to_value(LeaderWanted::default()).unwrap()));
    assert!(serde_json::from_value::<LeaderWanted>(wanted["example"].clone()).is_ok());
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
    let states: BTreeSet<String> =
        serde_json::from_value(root["components"]["schemas"]["Health"]["properties"]["state"]["enum"].clone()).unwrap();
    let known = [
        HealthState::Ok,
        HealthState::Suspect,
        HealthState::Gone,
        HealthState::NotReady,
        HealthState::Returning,
        HealthState::Ejected,
    ];
    let known = known.map(|state| serde_json::to_value(state).unwrap().as_str().unwrap().to_owned());
    assert_eq!(states, known.into());
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
        let want: &[&str] = match path.as_str() {
            "/api/v1/repos" => &["delete", "get", "head", "put"],
            "/api/v1/bandwidth" | "/api/v1/cluster/leader" => &["get", "head", "put"],
            _ => &["get", "head"],
        };
        assert_eq!(methods, want, "{path}");
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
