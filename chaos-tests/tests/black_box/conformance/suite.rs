//! The two suites as programs: how they are run with every category enabled, and what they report case by case.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::balancer::REQUEST_HEADER;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What a suite may take, also while nodes die.
const WITHIN: Duration = Duration::from_secs(180);

/// The cases of v1.1.1 that the suite itself leaves out, each because its counterpart ran.
const COUNTERPARTS: [&str; 4] = [
    // With OCI_TAG_NAME and OCI_TAG_LIST content is named that is there already; without them the suite pushes it.
    "Get tag name from environment",
    "Populate registry with test tags (no push)",
    // What a mount is answered with if not with 201.
    "Cross-mounting of nonexistent blob should yield session id",
    // OCI_AUTOMATIC_CROSSMOUNT=0.
    "Cross-mounting without from, and automatic content discovery disabled should return a 202",
];

/// The switches of main, below `OCI_`.
const MAIN_SWITCHES: [&str; 30] = [
    "API_PING",
    "API_PULL",
    "API_PUSH",
    "API_BLOBS_ATOMIC",
    "API_BLOBS_DELETE",
    "API_BLOBS_DIGEST_HEADER",
    "API_BLOBS_MOUNT_ANONYMOUS",
    "API_BLOBS_UPLOAD_CANCEL",
    "API_MANIFESTS_ATOMIC",
    "API_MANIFESTS_DELETE",
    "API_MANIFESTS_DIGEST_HEADER",
    "API_MANIFESTS_TAG_PARAM",
    "API_TAGS_ATOMIC",
    "API_TAGS_DELETE",
    "API_TAGS_LIST",
    "API_REFERRER",
    "DATA_IMAGE",
    "DATA_INDEX",
    "DATA_INDEX_LIST",
    "DATA_ARTIFACT",
    "DATA_SUBJECT",
    "DATA_SUBJECT_MISSING",
    "DATA_ARTIFACT_LIST",
    "DATA_SUBJECT_LIST",
    "DATA_DATA_FIELD",
    "DATA_NONDISTRIBUTABLE",
    "DATA_CUSTOM_FIELDS",
    "DATA_NO_LAYERS",
    "DATA_EMPTY_BLOB",
    "DATA_SHA512",
];

/// A suite of the OCI distribution-spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Release v1.1.1.
    Release,
    /// The main branch, with `OCI_VERSION=dev`.
    Main,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// The suite met an answer that the specification allows to those who lack a feature.
    Unsupported,
    /// Not run, since its counterpart was.
    Counterpart,
}

/// Which lines of the balancer's log are a case's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// Those with these ids.
    pub(crate) ids: Vec<String>,
    /// And those that are no other case's and lie within this time, in milliseconds since 1970: v1.1.1 does not tell of an
    /// answer whose body broke off, and tells only of the last of two cases of one name.
    pub(crate) within: Option<(i64, i64)>,
}

/// One case of a suite.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What it may build on: cases of its group that came before it.
    pub(crate) group: String,
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    pub(crate) requests: Requests,
}

impl Suite {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "v1.1.1",
            Self::Main => "main",
        }
    }

    /// The least number of cases that it has: fewer were not all of it.
    pub(crate) fn least_cases(self) -> usize {
        match self {
            Self::Release => 79,
            Self::Main => 793,
        }
    }

    /// Its program, as `deploy/conformance.sh` leaves or names it. Without one, says so.
    pub(crate) fn program(self, test: &str) -> Option<PathBuf> {
        let (variable, file) = match self {
            Self::Release => ("CONFORMANCE_RELEASE", "conformance-v1.1.1"),
            Self::Main => ("CONFORMANCE_MAIN", "conformance-main"),
        };
        let built = || Some(Path::new(&std::env::var_os("HOME")?).join(".cache/portolan/tools").join(file));
        let program = std::env::var_os(variable).map(PathBuf::from).or_else(built).filter(|path| path.is_file());
        if program.is_none() {
            let why = "the module proxy does not give it out, or there is no Go: see deploy/conformance.sh";
            eprintln!("skipped: {test} (no conformance suite {} here: {why})", self.name());
        }
        program
    }

    /// Runs it against a registry, in repositories whose names begin with `repo`. Its reports stay in `folder`.
    /// Manifests are deleted before blobs, or after them: each order has answers of its own.
    pub(crate) async fn run(
        self,
        program: &Path,
        registry: &str,
        repo: &str,
        manifests_first: bool,
        folder: &Path,
    ) -> Result<Vec<Case>> {
        std::fs::create_dir_all(folder)?;
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("OCI_") {
                command.env_remove(variable);
            }
        }
        match self {
            Self::Release => release(&mut command, registry, repo, manifests_first, folder),
            Self::Main => main_branch(&mut command, registry, repo, folder),
        }
        let output = std::fs::File::create(folder.join("output.txt"))?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let status = tokio::time::timeout(WITHIN, command.kill_on_drop(true).status())
            .await
            .map_err(|_| format!("the suite {} is not done after {WITHIN:?}", self.name()))??;
        let cases = match self {
            Self::Release => release_cases(folder),
            Self::Main => main_cases(folder),
        };
        cases.map_err(|error| format!("suite {} ({status}), {}: {error}", self.name(), folder.display()).into())
    }
}

fn release(command: &mut Command, registry: &str, repo: &str, manifests_first: bool, folder: &Path) {
    command.arg("--ginkgo.no-color").arg(format!("--ginkgo.json-report={}", folder.join("report.json").display()));
    command
        .env("OCI_ROOT_URL", format!("http://{registry}"))
        .env("OCI_NAMESPACE", format!("{repo}/one"))
        .env("OCI_CROSSMOUNT_NAMESPACE", format!("{repo}/other"))
        .env("OCI_AUTOMATIC_CROSSMOUNT", "1")
        .env("OCI_HIDE_SKIPPED_WORKFLOWS", "0")
        .env("OCI_DELETE_MANIFEST_BEFORE_BLOBS", if manifests_first { "1" } else { "0" })
        .env("OCI_REPORT_DIR", folder)
        // Times in the report end in Z.
        .env("TZ", "UTC");
    for category in ["PULL", "PUSH", "CONTENT_DISCOVERY", "CONTENT_MANAGEMENT"] {
        command.env(format!("OCI_TEST_{category}"), "1");
    }
}

fn main_branch(command: &mut Command, registry: &str, repo: &str, folder: &Path) {
    command
        .env("OCI_VERSION", "dev")
        .env("OCI_TLS", "disabled")
        .env("OCI_REGISTRY", registry)
        .env("OCI_REPO1", format!("{repo}/one"))
        .env("OCI_REPO2", format!("{repo}/other"))
        .env("OCI_RESULTS_DIR", folder)
        .env("OCI_DATA_SPARSE", "false");
    for switch in MAIN_SWITCHES {
        command.env(format!("OCI_{switch}"), "true");
    }
}

/// What Ginkgo reports of a run.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    spec_reports: Vec<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    leaf_node_location: Location,
    state: String,
    start_time: String,
    end_time: String,
    failure: Option<Failure>,
}

/// A line of the suite's source.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Location {
    file_name: String,
    line_number: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    message: String,
}

fn release_cases(folder: &Path) -> Result<Vec<Case>> {
    let reports: Vec<Report> = serde_json::from_slice(&std::fs::read(folder.join("report.json"))?)?;
    let page = std::fs::read(folder.join("report.html"))?;
    let mut answered = answered_by_case(&String::from_utf8_lossy(&page));
    let mut cases = Vec::new();
    // Ginkgo counts its own writing of reports as well.
    let specs = reports.into_iter().flat_map(|report| report.spec_reports).filter(|spec| spec.leaf_node_type == "It");
    let specs: Vec<Spec> = specs.collect();
    let mut lacks = lacks_by_case(&std::fs::read_to_string(folder.join("output.txt"))?, &specs)?;
    let begins: Vec<i64> = specs.iter().map(|spec| epoch_ms(&spec.start_time)).collect::<Result<_>>()?;
    for (number, spec) in specs.into_iter().enumerate() {
        // Until the next case: the balancer's clock may be a little behind.
        let end = begins.get(number + 1).copied().unwrap_or(0).max(epoch_ms(&spec.end_time)?);
        let lack = lacks.remove(&number);
        let outcome = match spec.state.as_str() {
            "passed" if lack.is_some() => Outcome::Unsupported,
            "passed" => Outcome::Passed,
            "skipped" if COUNTERPARTS.contains(&spec.leaf_node_text.as_str()) => Outcome::Counterpart,
            "skipped" => Outcome::Unsupported,
            _ => Outcome::Failed,
        };
        let containers = spec.container_hierarchy_texts.unwrap_or_default();
        cases.push(Case {
            name: format!("{}/{}", containers.join("/"), spec.leaf_node_text),
            // The workflow: what its setup pushes, the rest of it uses.
            group: containers.get(1).cloned().unwrap_or_default(),
            outcome,
            detail: spec.failure.map(|failure| failure.message).or(lack).unwrap_or_default(),
            requests: Requests {
                ids: answered.remove(&number).unwrap_or_default(),
                within: Some((begins[number], end)),
            },
        });
    }
    Ok(cases)
}

/// The lacks that v1.1.1 passes over with a word in its output, `WARNING: ... is not supported` and then `FILE:LINE`, by the
/// place of the case that this line belongs to: the last one that begins before it.
fn lacks_by_case(output: &str, specs: &[Spec]) -> Result<HashMap<usize, String>> {
    let mut lacks = HashMap::new();
    let mut lines = output.lines().map(str::trim);
    while let Some(said) = lines.by_ref().find(|line| line.contains("is not supported")) {
        let place = lines.by_ref().find_map(|line| line.rsplit_once(':').filter(|(file, _)| file.ends_with(".go")));
        let (file, line) = place.ok_or_else(|| format!("it does not say where: {said}"))?;
        let line: usize = line.parse()?;
        let begun =
            |spec: &Spec| spec.leaf_node_location.file_name == file && spec.leaf_node_location.line_number <= line;
        let before = specs.iter().enumerate().filter(|(_, spec)| begun(spec));
        let last = before.max_by_key(|(_, spec)| spec.leaf_node_location.line_number);
        let (number, _) = last.ok_or_else(|| format!("no case has line {line} of {file}: {said}"))?;
        lacks.insert(number, said.to_owned());
    }
    Ok(lacks)
}

/// The balancer's ids in what v1.1.1's page tells of each case's requests, by the case's place in the order of running.
/// Of two cases of one name below one heading the page has lost the first.
fn answered_by_case(page: &str) -> HashMap<usize, Vec<String>> {
    let boxes = page.split("<div id=\"output-box-").skip(1).filter_map(|rest| rest.split_once('"'));
    let numbered = boxes.filter_map(|(number, output)| Some((number.parse().ok()?, output)));
    let mark = format!("{REQUEST_HEADER}: ");
    let ids =
        |output: &str| output.lines().filter_map(|line| Some(line.trim().strip_prefix(&mark)?.to_owned())).collect();
    numbered.map(|(number, output)| (number, ids(output))).collect()
}

/// Milliseconds since 1970 of `2026-11-21T14:24:31.340483123Z`.
fn epoch_ms(time: &str) -> Result<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> { time.get(range)?.parse().ok() };
    let parse = || {
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let fraction = time.get(19..)?.strip_suffix('Z')?;
        let ms: i64 = format!("{:0<3}", fraction.trim_start_matches('.')).get(..3)?.parse().ok()?;
        // Years begin in March, so that the day that some of them lack is the last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
        Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
    };
    parse().ok_or_else(|| format!("no time: {time}").into())
}

fn main_cases(folder: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(folder.join("junit.xml"))?;
    let document = roxmltree::Document::parse(&text)?;
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    Ok(cases.map(main_case).collect())
}

fn main_case(node: roxmltree::Node<'_, '_>) -> Case {
    let text = |tag| node.children().find(|child| child.has_tag_name(tag)).and_then(|child| child.text());
    let name = node.attribute("name").unwrap_or_default().to_owned();
    Case {
        // `OCI Conformance Test/GROUP/...`: each group makes the content that it tests.
        group: name.split('/').nth(1).unwrap_or_default().to_owned(),
        name,
        outcome: match node.attribute("status") {
            Some("passed") => Outcome::Passed,
            Some("skipped") => Outcome::Unsupported,
            _ => Outcome::Failed,
        },
        detail: text("system-out").unwrap_or_default().to_owned(),
        requests: Requests { ids: answered(text("system-err").unwrap_or_default()), within: None },
    }
}

/// The balancer's ids in what a case of main tells of its requests: a header per line, its values in brackets.
fn answered(output: &str) -> Vec<String> {
    let mark = format!("{REQUEST_HEADER}: [");
    let values = output.lines().filter_map(|line| line.trim_start().strip_prefix(&mark));
    values.map(|rest| rest.trim_end().trim_end_matches(']').to_owned()).collect()
}

/// What main says of whole features: everything that neither passed nor was left out on purpose.
pub(crate) fn unsupported_features(folder: &Path) -> Result<Vec<String>> {
    let results: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&std::fs::read_to_string(folder.join("results.yaml"))?)?;
    let mut found = Vec::new();
    for table in ["apis", "data"] {
        let features = results.get(table).and_then(serde_yaml_ng::Value::as_mapping).ok_or("no table of features")?;
        for (feature, status) in features {
            let (feature, status) = (feature.as_str().unwrap_or_default(), status.as_str().unwrap_or_default());
            // Images whose layers were never pushed: a manifest that names what is not there is refused here.
            if status != "Pass" && feature != "Sparse Manifests" {
                found.push(format!("{table}: {feature}: {status}"));
            }
        }
    }
    Ok(found)
}

#[test]
fn times_of_a_report_are_told_in_milliseconds() -> Result<()> {
    for (time, want) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-02-29T12:30:15.5Z", 1_709_209_815_500),
        ("2026-11-21T14:24:31.340483123Z", 1_795_271_071_340),
    ] {
        assert_eq!(epoch_ms(time)?, want, "{time}");
    }
    assert!(epoch_ms("2026-11-21T14:24:31.34+01:00").is_err());
    Ok(())
}

#[test]
fn a_case_of_main_names_its_requests() {
    let output = "Headers:\n        X-Balancer-Request: [6ba7-1]\n      Date: [x]\n   X-Balancer-Request: [6ba7-2]\n";
    assert_eq!(answered(output), ["6ba7-1", "6ba7-2"]);
}

#[test]
fn a_case_of_the_release_names_its_requests_by_its_place() {
    let page = "<div id=\"output-box-7-button\" class=\"toggle\">+</div>\n<div id=\"output-box-7\" style=\"\">\n\
                \tX-Balancer-Request: 6ba7-1\n\tX-Balancer-Request: 6ba7-2\n</div>\n<div id=\"output-box-8\">none</div>";
    let found = answered_by_case(page);
    assert_eq!(found.len(), 2);
    assert_eq!((found[&7].as_slice(), found[&8].len()), (["6ba7-1".to_owned(), "6ba7-2".to_owned()].as_slice(), 0));
}

#[test]
fn a_lack_that_the_release_passes_over_is_that_of_the_case_that_says_so() -> Result<()> {
    let spec = |file: &str, line: usize| Spec {
        container_hierarchy_texts: None,
        leaf_node_type: "It".to_owned(),
        leaf_node_text: String::new(),
        leaf_node_location: Location { file_name: file.to_owned(), line_number: line },
        state: "passed".to_owned(),
        start_time: String::new(),
        end_time: String::new(),
        failure: None,
    };
    let specs = [spec("m/01.go", 300), spec("m/02.go", 354), spec("m/02.go", 380), spec("m/02.go", 340)];
    let output = "\u{2022}S\u{2022}\n  WARNING: no layers is not supported\n\n  m/02.go:368\n\u{2022}\n";
    let found = lacks_by_case(output, &specs)?;
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(1, "WARNING: no layers is not supported".to_owned())]);
    assert!(lacks_by_case("x is not supported\nm/03.go:1\n", &specs).is_err(), "of no case");
    assert!(lacks_by_case("x is not supported\n", &specs).is_err(), "without a place");
    assert!(lacks_by_case("SUCCESS! 75 passed\n", &specs)?.is_empty());
    Ok(())
}
