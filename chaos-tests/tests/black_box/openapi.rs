//! The admin API is what its description says: real answers are compared with it field by field, and schemathesis
//! (Python, pinned in `chaos-tests/schemathesis.txt`) asks a node whatever the description allows, and what it does not.

use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::{Result, wait};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const WITHIN: Duration = Duration::from_secs(30);
/// How long schemathesis may take; it takes seconds.
const ASKED_WITHIN: Duration = Duration::from_secs(300);
/// Where its examples begin.
const SEED: &str = "20";
/// How many examples it draws for each operation.
const EXAMPLES: usize = 100;
const CLUSTER: &str = "/api/v1/cluster";
const DESCRIPTION: &str = "/api/v1/openapi.json";
/// What can be looked at and not be changed.
const READ_ONLY: [&str; 6] =
    [CLUSTER, "/api/v1/replication", "/api/v1/wait", "/api/v1/history", "/api/v1/rpo", DESCRIPTION];
const REPOS: &str = "/api/v1/repos";
const BANDWIDTH: &str = "/api/v1/bandwidth";
const LEADER: &str = "/api/v1/cluster/leader";

/// A cluster that every node knows all about, and a client of one node.
struct Asked {
    cluster: Cluster,
    base: String,
    http: Client,
    description: Value,
}

impl Asked {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(Options::patient()).await?;
        let base = format!("http://{}", cluster.nodes()[0].registry);
        let http = Client::builder().timeout(WITHIN).build()?;
        let answer = http.get(format!("{base}{DESCRIPTION}")).send().await?;
        assert_eq!(answer.headers()["content-type"], "application/json");
        let description = answer.error_for_status()?.json().await?;
        Ok(Self { cluster, base, http, description })
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>) -> Result<Response> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        Ok(match token {
            Some(token) => request.bearer_auth(token).send().await?,
            None => request.send().await?,
        })
    }

    fn token(&self) -> Result<String> {
        let file = self.cluster.nodes()[0].data.join("admin.token");
        Ok(std::fs::read_to_string(file)?.trim().to_owned())
    }

    /// The value that a place in the description holds or refers to.
    fn described<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(path) => self.description.pointer(path.trim_start_matches('#')).unwrap_or(&Value::Null),
            None => value,
        }
    }

    /// Every field that a schema has, as `nodes[].load.queue`.
    fn fields_of_schema(&self, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
        let schema = self.described(schema);
        for choice in schema["anyOf"].as_array().into_iter().flatten() {
            self.fields_of_schema(choice, at, found);
        }
        if !schema["items"].is_null() {
            self.fields_of_schema(&schema["items"], &format!("{at}[]"), found);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            self.fields_of_schema(field, &at, found);
            found.insert(at);
        }
    }
}

/// Every field that an answer has, in all entries of a list together.
fn fields_of_answer(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    for entry in value.as_array().into_iter().flatten() {
        fields_of_answer(entry, &format!("{at}[]"), found);
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        fields_of_answer(field, &at, found);
        found.insert(at);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_the_cluster_is_described_and_there() -> Result<()> {
    // Of images and settings the api's own tests compare every field.
    let mut asked = Asked::start().await?;
    let schema =
        &asked.description["paths"][CLUSTER]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    let mut described = BTreeSet::new();
    asked.fields_of_schema(schema, "cluster", &mut described);
    for deep in ["cluster.nodes[].load.queue_bytes", "cluster.lags[].age_ms", "cluster.links[].rtt_ms"] {
        assert!(described.contains(deep), "{described:?}");
    }
    for node in 0..asked.cluster.nodes().len() {
        let registry = asked.cluster.registry(node);
        wait::until("all fields, and no other", WITHIN, async || {
            let answer = registry.get(CLUSTER).await.map_err(|error| error.to_string())?;
            let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
            let mut there = BTreeSet::new();
            fields_of_answer(&answer, "cluster", &mut there);
            let differences: Vec<_> = described.symmetric_difference(&there).collect();
            if differences.is_empty() { Ok(()) } else { Err(format!("{differences:?} of {answer}")) }
        })
        .await?;
    }
    asked.cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_refused_as_described() -> Result<()> {
    let mut asked = Asked::start().await?;
    let token = asked.token()?;
    let others = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
    for path in READ_ONLY.into_iter().chain([REPOS, BANDWIDTH, LEADER]) {
        for method in others {
            if (path == REPOS && method == "DELETE") || ([REPOS, BANDWIDTH, LEADER].contains(&path) && method == "PUT")
            {
                continue;
            }
            for (status, token) in [("401", None), ("401", Some("a guess")), ("405", Some(token.as_str()))] {
                let described = &asked.description["paths"][path]["x-other-methods"][status];
                let answer = asked.ask(Method::from_bytes(method.as_bytes())?, path, token).await?;
                refused(&asked, described, status, answer, &format!("{method} {path}")).await?;
            }
        }
    }
    // What is described as a change is one, and is the admin's.
    for method in [Method::PUT, Method::DELETE] {
        let described = &asked.description["paths"][REPOS][method.as_str().to_lowercase()]["responses"]["401"];
        let answer = asked.ask(method.clone(), &format!("{REPOS}?prefix=a"), None).await?;
        refused(&asked, described, "401", answer, &format!("{method} {REPOS}")).await?;
    }
    for path in
        ["/api/v1/", "/api/v1/clusters", "/api/v1/cluster/", "/api/v1/cluster/leaders", "/api/v1/openapi.json/x"]
    {
        for method in ["GET", "DELETE"] {
            let described = &asked.description["x-other-paths"]["404"];
            let answer = asked.ask(Method::from_bytes(method.as_bytes())?, path, None).await?;
            refused(&asked, described, "404", answer, &format!("{method} {path}")).await?;
        }
    }
    asked.cluster.stop().await?;
    Ok(())
}

/// Status, headers and body of a refusal, against the description of it.
async fn refused(asked: &Asked, described: &Value, status: &str, answer: Response, what: &str) -> Result<()> {
    assert_eq!(answer.status().as_str(), status, "{what}");
    let described = asked.described(described);
    for (name, header) in described["headers"].as_object().ok_or("no headers are described")? {
        let found = answer.headers().get(name).ok_or_else(|| format!("{what}: no {name}"))?.to_str()?;
        let wanted = &asked.described(header)["schema"]["const"];
        assert!(wanted.is_null() || wanted == found, "{what}: {name} is {found}, described as {wanted}");
    }
    assert_eq!(answer.headers()["content-type"], "application/json", "{what}");
    let body: Value = answer.json().await?;
    let first = &body["errors"][0];
    let code = first["code"].as_str().ok_or_else(|| format!("{what}: {body}"))?;
    let words = described["description"].as_str().unwrap_or_default();
    assert!(words.contains(&format!("The code is {code}.")), "{what}: {body}, described as {words:?}");
    assert!(first["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {body}");
    Ok(())
}

/// The program, where `deploy/test.sh` installs it. When it is not there, says so in the form that the script counts.
fn schemathesis(test: &str) -> Option<PathBuf> {
    let installed = || {
        let home = std::env::var_os("HOME").unwrap_or_default();
        Path::new(&home).join(".cache/portolan/tools/schemathesis/bin/schemathesis")
    };
    let program = std::env::var_os("PORTOLAN_SCHEMATHESIS").map_or_else(installed, PathBuf::from);
    if !program.is_file() {
        eprintln!("skipped: {test} (no schemathesis on this machine)");
        return None;
    }
    Some(program)
}

/// Has schemathesis ask with further arguments, and gives its report.
async fn report(program: &Path, asked: &Asked, arguments: &[&str]) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let [settings, report, description] =
        ["settings.toml", "report.json", "openapi.json"].map(|name| folder.path().join(name));
    let methods =
        "[phases.coverage]\nunexpected-methods = [\"POST\", \"PUT\", \"PATCH\", \"DELETE\", \"OPTIONS\", \"TRACE\"]\n";
    std::fs::write(&settings, methods)?;
    // From a file, because the address that a description comes from is not asked again.
    std::fs::write(&description, serde_json::to_vec(&asked.description)?)?;
    let mut command = Command::new(program);
    command.arg("--config-file").arg(&settings).arg("run").arg(&description).args(["--url", &asked.base]);
    command.args(["--seed", SEED, "--max-examples", &EXAMPLES.to_string(), "--checks", "all"]);
    command.args(["--workers", "1", "--generation-database", "none", "--no-color", "--report", "json"]);
    command.arg("--report-json-path").arg(&report).args(arguments);
    command.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ASKED_WITHIN, command.output()).await??;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "schemathesis, seed {SEED}: {}\n{told}", output.status);
    Ok(serde_json::from_slice(&std::fs::read(&report)?)?)
}

/// Changes that need the admin token: PUT and DELETE of `repos`, PUT of `bandwidth` and of `cluster/leader`.
const CHANGES: usize = 4;

/// Nothing was found, and that is because everything was asked. `unjudged` requests have no checks of their own: those with
/// which schemathesis compares what a change answers with and without its credentials.
fn found_nothing(report: &Value, who: &str, unjudged: usize) {
    let (operations, cases) = (&report["operations"], &report["test_cases"]);
    eprintln!("schemathesis, {who}, seed {SEED}: operations {operations}, examples {cases}");
    let all = Value::from(2 * READ_ONLY.len() + 3 * 2 + CHANGES);
    assert_eq!((&operations["total"], &operations["tested"]), (&all, &all), "{report}");
    for count in ["errored", "skipped"] {
        assert_eq!(operations[count], 0, "{report}");
    }
    assert!(cases["generated"].as_u64().is_some_and(|examples| examples > 2 * EXAMPLES as u64), "{report}");
    for (count, wanted) in [("with_failures", 0), ("without_checks", unjudged), ("errored", 0)] {
        assert_eq!(cases[count], wanted, "{count} in {report}");
    }
    for phase in ["examples", "coverage", "fuzzing"] {
        assert_eq!(report["phases"][phase]["status"], "success", "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_is_answered_as_described() -> Result<()> {
    let Some(program) = schemathesis("schemathesis_is_answered_as_described") else { return Ok(()) };
    let mut asked = Asked::start().await?;
    let admin = format!("Authorization: Bearer {}", asked.token()?);
    found_nothing(&report(&program, &asked, &["--header", &admin]).await?, "admin", 2 * CHANGES);
    // To a stranger every other method is 401, whatever the path has: that check wants 405 and is left out.
    found_nothing(&report(&program, &asked, &["--exclude-checks", "unsupported_method"]).await?, "stranger", 0);
    asked.cluster.stop().await?;
    Ok(())
}
