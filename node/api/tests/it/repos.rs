//! What is wanted for repositories: set, shown, inherited, refused.

use crate::raw::{exchange, request};
use crate::support::{Client, LEADERLESS_READ_MS, Server, header, refused};
use futures::{StreamExt, stream};
use portolan_registry::Config;
use portolan_registry::config::Uploads;
use portolan_registry::testing::{self, PATIENCE, Setup};
use reqwest::Response;
use serde_json::{Value, json};
use std::time::Instant;

const ADMIN: &str = "s3cret";

/// Three nodes, each a voter in a region of its own: r1, r2, r3.
fn three() -> Setup {
    Setup { nodes: 3, ..Setup::default() }
}

async fn put(client: &Client, prefix: &str, settings: &Value) -> Response {
    let request = client.ask("PUT", &format!("/api/v1/repos?prefix={prefix}"));
    request.bearer_auth(ADMIN).body(settings.to_string()).send().await.unwrap()
}

async fn set(client: &Client, prefix: &str, settings: Value) -> Value {
    let response = put(client, prefix, &settings).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{prefix} {settings}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn clear(client: &Client, prefix: &str) -> Response {
    let request = client.ask("DELETE", &format!("/api/v1/repos?prefix={prefix}"));
    request.bearer_auth(ADMIN).send().await.unwrap()
}

async fn get(client: &Client, query: &str) -> Value {
    let response = client.get(&format!("/api/v1/repos{query}")).await;
    assert_eq!(response.status(), 200, "{query}");
    response.json().await.unwrap()
}

/// Settings with everything that is not said inherited.
fn settings(said: &Value) -> Value {
    let mut all = json!({"regions": null, "copies": null, "ack": null, "tag_reads": null, "partition": null});
    for (name, value) in said.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

#[tokio::test]
async fn settings_are_inherited_field_by_field_and_the_same_at_every_node() {
    let server = Server::with(three()).await;
    let (first, third) = (server.client(1), server.client(3));
    let change = set(&first, "", json!({"copies": 1, "partition": "fail"})).await;
    assert_eq!(change["before"], settings(&json!({})));
    set(&third, "team", json!({"regions": {"only": ["r1", "r2"]}, "ack": {"regions": 2, "copies": 1}})).await;
    let change = set(&first, "team/prod/", json!({"tag_reads": {"bounded_ms": 2000}, "ack": null})).await;
    assert_eq!(change["prefix"], "team/prod");
    assert_eq!(change["settings"], settings(&json!({"tag_reads": {"bounded_ms": 2000}})));
    assert_eq!(change["warnings"], json!([]));

    let want = json!({
        "name": "team/prod/app",
        "known": false,
        "settings": {"regions": {"only": ["r1", "r2"]}, "copies": 1, "ack": {"regions": 2, "copies": 1},
            "tag_reads": {"bounded_ms": 2000}, "partition": "fail"},
        "from": {"regions": "team", "copies": "", "ack": "team", "tag_reads": "team/prod", "partition": ""},
    });
    for node in [1, 2, 3] {
        let report = get(&server.client(node), "?name=team/prod/app").await;
        assert_eq!(report["repositories"], json!([want]), "node {node}");
        let covering: Vec<&Value> = report["prefixes"].as_array().unwrap().iter().map(|one| &one["prefix"]).collect();
        assert_eq!(covering, ["", "team", "team/prod"]);
    }
    // Whole components only, and nothing from a sibling.
    let other = get(&first, "?name=teams/app").await;
    assert_eq!(other["repositories"][0]["from"]["regions"], Value::Null);
    assert_eq!(other["repositories"][0]["settings"]["regions"], "all");
    // One prefix says what it sets itself.
    let own = get(&first, "?prefix=team").await;
    let team = settings(&json!({"regions": {"only": ["r1", "r2"]}, "ack": {"regions": 2, "copies": 1}}));
    assert_eq!(own["prefixes"], json!([{"prefix": "team", "settings": team}]));
    assert_eq!(get(&first, "?prefix=team/test").await["prefixes"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn what_is_set_again_replaces_and_what_is_removed_is_inherited() {
    let server = Server::with(three()).await;
    let client = server.client(2);
    set(&client, "team", json!({"regions": {"never_outside": ["r1"]}, "partition": "fail"})).await;
    let change = set(&client, "team", json!({"regions": {"only": ["r1", "r3"]}})).await;
    assert_eq!(change["before"], settings(&json!({"regions": {"never_outside": ["r1"]}, "partition": "fail"})));
    let now = get(&client, "?prefix=team").await;
    assert_eq!(now["prefixes"][0]["settings"], settings(&json!({"regions": {"only": ["r1", "r3"]}})));
    let gone = clear(&client, "team").await;
    assert_eq!(gone.status(), 200);
    let gone: Value = gone.json().await.unwrap();
    assert_eq!(gone["settings"], settings(&json!({})));
    assert_eq!(get(&client, "").await["prefixes"], json!([]));
    refused(clear(&client, "team").await, 404, "NAME_UNKNOWN").await;
    // Nothing that is set is nothing.
    set(&client, "team", json!({})).await;
    assert_eq!(get(&client, "").await["prefixes"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn repositories_are_listed_page_by_page_with_what_holds_for_them() {
    let server = Server::start().await;
    let client = server.client(1);
    for (seed, repo) in (1..).zip(["a", "b/c", "b/d"]) {
        client.push_image(repo, "t", seed).await;
    }
    set(&client, "b", json!({"partition": "fail"})).await;
    let all = get(&client, "").await;
    let listed = |report: &Value| -> Vec<(String, Value)> {
        let repos = report["repositories"].as_array().unwrap().iter();
        repos.map(|repo| (repo["name"].as_str().unwrap().to_owned(), repo["settings"]["partition"].clone())).collect()
    };
    let fail = || json!("fail");
    let want = [("a".to_owned(), Value::Null), ("b/c".to_owned(), fail()), ("b/d".to_owned(), fail())];
    assert_eq!(listed(&all), want);
    assert_eq!((&all["next"], &all["stale_ms"]), (&Value::Null, &Value::Null));
    let response = client.get("/api/v1/repos?n=2").await;
    let next = header(&response, "Link");
    assert_eq!(next, "</api/v1/repos?n=2&last=b/c>; rel=\"next\"");
    let page: Value = response.json().await.unwrap();
    assert_eq!((listed(&page), &page["next"]), (want[..2].to_vec(), &json!("b/c")));
    let page = get(&client, "?n=2&last=b/c").await;
    assert_eq!((listed(&page), &page["next"]), (want[2..].to_vec(), &Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn changing_settings_needs_the_admin_token_and_reading_none() {
    let server = Server::start().await;
    let client = server.client(1);
    for method in ["PUT", "DELETE", "POST", "PATCH"] {
        let stranger = client.ask(method, "/api/v1/repos?prefix=a").body("{}").send().await.unwrap();
        refused(stranger, 401, "UNAUTHORIZED").await;
    }
    assert_eq!(get(&client, "").await["prefixes"], json!([]));
    for method in ["POST", "PATCH"] {
        let admin = client.ask(method, "/api/v1/repos?prefix=a").bearer_auth(ADMIN).send().await.unwrap();
        assert_eq!(header(&admin, "Allow"), "GET, HEAD, PUT, DELETE");
        refused(admin, 405, "UNSUPPORTED").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_what_is_wrong_and_what_to_do() {
    let server = Server::with(three()).await;
    let client = server.client(1);
    set(&client, "held", json!({"ack": {"regions": 2, "copies": 1}})).await;
    let many: Vec<String> = (0..65).map(|index| format!("r{index}")).collect();
    // prefix, settings, status, code, what the message says
    let cases: Vec<(&str, Value, u16, &str, &[&str])> = vec![
        ("a", json!({"regions": {"only": ["r1", "mars"]}}), 409, "POLICY_INVALID", &["\"mars\"", "r1, r2, r3"]),
        ("a", json!({"regions": {"never_outside": []}}), 400, "POLICY_INVALID", &["0 are named", "\"all\""]),
        ("a", json!({"regions": {"only": many}}), 400, "POLICY_INVALID", &["65 are named"]),
        ("a", json!({"copies": 0}), 400, "POLICY_INVALID", &["copies: 0", "1 to 16"]),
        ("a", json!({"copies": 17}), 400, "POLICY_INVALID", &["copies: 17", "1 to 16"]),
        ("a", json!({"ack": {"regions": 0, "copies": 1}}), 400, "POLICY_INVALID", &["promise nothing"]),
        ("a", json!({"ack": {"regions": 1, "copies": 0}}), 400, "POLICY_INVALID", &["promise nothing"]),
        (
            "a",
            json!({"ack": {"regions": 4, "copies": 1}}),
            409,
            "POLICY_INVALID",
            &["wait for 4 regions", "wanted in 3"],
        ),
        (
            "a",
            json!({"regions": {"only": ["r2"]}, "ack": {"regions": 2, "copies": 1}}),
            409,
            "POLICY_INVALID",
            &["to a would wait for 2 regions", "wanted in 1"],
        ),
        ("a", json!({"copies": 1, "ack": {"regions": 1, "copies": 2}}), 409, "POLICY_INVALID", &["wait for 2 copies"]),
        // What lies below would be left with an ack that nothing meets.
        ("", json!({"regions": {"only": ["r2"]}}), 409, "POLICY_INVALID", &["to held would wait for 2 regions"]),
        ("a", json!({"tag_reads": {"bounded_ms": 0}}), 400, "POLICY_INVALID", &["0 ms", "linearizable"]),
        ("a", json!({"tag_reads": {"bounded_ms": 3_600_001}}), 400, "POLICY_INVALID", &["3600001 ms"]),
        ("A", json!({}), 400, "NAME_INVALID", &["\"A\"", "upper-case"]),
        ("a//b", json!({}), 400, "NAME_INVALID", &["empty component"]),
        // Nobody means all repositories by that.
        ("/", json!({"copies": 1}), 400, "NAME_INVALID", &["empty component"]),
        ("a", json!({"region": "all"}), 400, "REQUEST_INVALID", &["unknown field `region`"]),
        ("a", json!({"regions": "some"}), 400, "REQUEST_INVALID", &["some"]),
        ("a", json!({"partition": "guess"}), 400, "REQUEST_INVALID", &["guess", "serve-stale"]),
        ("a", json!({"copies": "one"}), 400, "REQUEST_INVALID", &["one"]),
        ("a", json!({"ack": {"regions": 1, "copies": 1, "nodes": 1}}), 400, "REQUEST_INVALID", &["nodes"]),
        ("a", json!([1]), 400, "REQUEST_INVALID", &["the body"]),
        ("a", json!([null, null]), 400, "REQUEST_INVALID", &["named fields"]),
        ("a", json!({"ack": [1, 1]}), 400, "REQUEST_INVALID", &["named fields"]),
    ];
    for (prefix, wanted, status, code, says) in cases {
        let body = refused(put(&client, prefix, &wanted).await, status, code).await;
        for part in says {
            assert!(body.errors[0].message.contains(part), "{wanted}: {part} in {:?}", body.errors[0].message);
        }
    }
    let request = || client.ask("PUT", "/api/v1/repos?prefix=a").bearer_auth(ADMIN);
    refused(request().body("{").send().await.unwrap(), 400, "REQUEST_INVALID").await;
    let long = format!("{{\"regions\": \"{}\"}}", "x".repeat(70_000));
    refused(request().body(long).send().await.unwrap(), 413, "REQUEST_INVALID").await;
    for method in ["PUT", "DELETE"] {
        let nowhere = client.ask(method, "/api/v1/repos").bearer_auth(ADMIN).body("{}").send().await.unwrap();
        let body = refused(nowhere, 400, "REQUEST_INVALID").await;
        assert!(body.errors[0].message.contains("prefix"), "{body:?}");
    }
    for query in ["?n=x", "?last=X", "?name=X", "?prefix=X"] {
        let status = client.get(&format!("/api/v1/repos{query}")).await.status();
        assert_eq!(status, 400, "{query}");
    }
    assert_eq!(get(&client, "").await["prefixes"].as_array().unwrap().len(), 1, "nothing else was kept");
    server.stop().await;
}

#[tokio::test]
async fn a_promise_of_several_regions_needs_voters_in_several() {
    let server = Server::with(Setup { nodes: 3, one_region: true, ..Setup::default() }).await;
    let client = server.client(1);
    let wanted = json!({"ack": {"regions": 2, "copies": 1}});
    let body = refused(put(&client, "a", &wanted).await, 409, "POLICY_INVALID").await;
    let message = &body.errors[0].message;
    assert!(message.contains("3 of the 3 voters are in r1") && message.contains("three regions"), "{message}");
    // Three nodes in one region can hold three copies; a fourth waits for a node more.
    let change = set(&client, "a", json!({"copies": 3, "ack": {"regions": 1, "copies": 3}})).await;
    assert_eq!(change["warnings"], json!([]));
    let change = set(&client, "a", json!({"copies": 4})).await;
    let warning = "fewer than 4 full nodes in r1: as many copies as it has nodes there";
    assert_eq!(change["warnings"], json!([warning]));
    server.stop().await;
}

#[tokio::test]
async fn without_a_leader_nothing_is_set_and_what_is_known_is_shown_as_stale() {
    let mut setup = Setup { nodes: 2, ..Setup::default() };
    setup.registry.reads.linearizable_timeout_ms = LEADERLESS_READ_MS;
    let server = Server::with(setup).await;
    let client = server.client(1);
    set(&client, "a", json!({"regions": {"only": ["r1"]}})).await;
    server.cluster.cut(2);
    refused(put(&client, "a", &json!({"regions": "all"})).await, 503, "UNAVAILABLE").await;
    let answer = client.get("/api/v1/repos?name=a").await;
    assert!(header(&answer, "Warning").starts_with("299 ") && answer.headers().contains_key("Age"));
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["repositories"][0]["settings"]["regions"], json!({"only": ["r1"]}));
    assert!(answer["stale_ms"].is_u64(), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn more_prefixes_than_allowed_are_refused_as_settings_are() {
    let server = Server::start().await;
    let client = server.client(1);
    let filled = (0..1024).map(|index| {
        let client = client.clone();
        async move { put(&client, &format!("p{index}"), &json!({"copies": 1})).await.status() }
    });
    let filled: Vec<_> = stream::iter(filled).buffer_unordered(64).collect().await;
    assert!(filled.iter().all(|status| *status == 200), "{filled:?}");
    let body = refused(put(&client, "more", &json!({"copies": 1})).await, 409, "POLICY_INVALID").await;
    assert!(body.errors[0].message.contains("1024 prefixes"), "{body:?}");
    // One of them can still be changed.
    set(&client, "p7", json!({"copies": 2})).await;
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_or_does_not_come_is_no_upload() {
    let registry = Config { uploads: Uploads { idle_timeout_ms: 200, ..Uploads::default() }, ..testing::config() };
    let server = Server::with(Setup { registry, ..Setup::default() }).await;
    for target in ["/api/v1/repos?prefix=a", "/api/v1/bandwidth"] {
        let headers = [("Authorization", "Bearer s3cret"), ("Content-Length", "100")];
        let silent = exchange(server.ports(1).public, &request("PUT", target, &headers, b"{")).await.unwrap();
        assert_eq!((silent.status, silent.code().as_str()), (408, "REQUEST_INVALID"), "{target}");
        let headers = [("Authorization", "Bearer s3cret"), ("Transfer-Encoding", "chunked")];
        let broken =
            exchange(server.ports(1).public, &request("PUT", target, &headers, b"no length\r\n")).await.unwrap();
        assert_eq!((broken.status, broken.code().as_str()), (400, "REQUEST_INVALID"), "{target}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_change_of_settings_waits_for_the_other_nodes_and_names_those_that_may_go_by_older_ones() {
    let mut setup = three();
    setup.registry.deletes.fence_timeout_ms = 5_000;
    let server = Server::with(setup).await;
    let (first, third) = (server.client(1), server.client(3));
    // So that the third node tells what it goes by itself, once one read was confirmed.
    set(&third, "", json!({"tag_reads": {"bounded_ms": 3_600_000}})).await;
    assert_eq!(third.get("/v2/_catalog").await.status(), 200);
    for step in 0..20 {
        let reads = if step % 2 == 0 { json!("linearizable") } else { json!({"bounded_ms": 3_600_000}) };
        let change = set(&first, "a", json!({ "tag_reads": reads })).await;
        assert_eq!(change["warnings"], json!([]), "step {step}");
        let own = get(&third, "?name=a/b").await;
        assert_eq!(own["repositories"][0]["settings"]["tag_reads"], reads, "step {step}");
    }
    server.cluster.cut(3);
    let change = set(&first, "a", json!({"tag_reads": "linearizable"})).await;
    let warnings = change["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{change}");
    let said = warnings[0].as_str().unwrap();
    assert!(said.contains("n3") && !said.contains("n2") && said.contains("older settings"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn limits_of_bandwidth_are_never_shown_as_they_were() {
    let mut setup = three();
    setup.registry.reads.linearizable_timeout_ms = LEADERLESS_READ_MS;
    let server = Server::with(setup).await;
    let (first, third) = (server.client(1), server.client(3));
    // What concerns all repositories is read as the shortest prefix says.
    set(&first, "", json!({"tag_reads": {"bounded_ms": 3_600_000}})).await;
    assert_eq!(third.get("/v2/_catalog").await.status(), 200);
    server.cluster.cut(3);
    let limits = json!({"limits": [{"from": null, "to": null, "class": "pull", "bytes_per_second": 7}]});
    let put = first.ask("PUT", "/api/v1/bandwidth").bearer_auth(ADMIN).body(limits.to_string());
    assert_eq!(put.send().await.unwrap().status(), 200);
    refused(third.get("/api/v1/bandwidth").await, 503, "UNAVAILABLE").await;
    server.cluster.heal(3);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = third.get("/api/v1/bandwidth").await;
        if answer.status() == 200 {
            assert_eq!(answer.json::<Value>().await.unwrap(), limits);
            break;
        }
        assert!(Instant::now() < deadline, "the node is not back");
    }
    server.stop().await;
}

#[tokio::test]
async fn limits_of_bandwidth_are_replaced_as_a_whole_and_the_same_everywhere() {
    let server = Server::with(three()).await;
    let (first, third) = (server.client(1), server.client(3));
    let put = async |limits: Value| {
        let request = first.ask("PUT", "/api/v1/bandwidth").bearer_auth(ADMIN);
        request.body(json!({ "limits": limits }).to_string()).send().await.unwrap()
    };
    let shown = async |client: &Client| -> Value { client.get("/api/v1/bandwidth").await.json().await.unwrap() };
    assert_eq!(shown(&third).await, json!({"limits": []}));
    let answer = put(json!([{"from": "r1", "to": "r2", "class": "repair", "bytes_per_second": 5}])).await;
    assert_eq!(answer.status(), 200);
    let want = json!([{"from": "r1", "to": "r2", "class": "repair", "bytes_per_second": 5}]);
    assert_eq!(shown(&third).await, json!({ "limits": want }));
    for (limits, status, says) in [
        (json!([{"from": "mars", "bytes_per_second": 5}]), 409, "r1, r2, r3"),
        (json!([{"bytes_per_second": 0}]), 400, "leave the limit out"),
        (json!([{"bytes_per_second": 1_000_000_000_001_u64}]), 400, "1000000000001"),
        (json!(vec![json!({"bytes_per_second": 1}); 257]), 400, "257 are given; 256 may be"),
    ] {
        let body = refused(put(limits.clone()).await, status, "POLICY_INVALID").await;
        assert!(body.errors[0].message.contains(says), "{limits}: {:?}", body.errors[0].message);
    }
    refused(put(json!([{"class": "gossip", "bytes_per_second": 1}])).await, 400, "REQUEST_INVALID").await;
    let stranger = first.ask("PUT", "/api/v1/bandwidth").body("{\"limits\":[]}").send().await.unwrap();
    refused(stranger, 401, "UNAUTHORIZED").await;
    let gone = first.ask("DELETE", "/api/v1/bandwidth").bearer_auth(ADMIN).send().await.unwrap();
    assert_eq!(header(&gone, "Allow"), "GET, HEAD, PUT");
    refused(gone, 405, "UNSUPPORTED").await;
    assert_eq!(shown(&first).await, json!({ "limits": want }));
    assert_eq!(put(json!([])).await.status(), 200);
    assert_eq!(shown(&third).await, json!({"limits": []}));
    server.stop().await;
}
