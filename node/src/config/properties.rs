//! What holds for every configuration, however hostile: the fuzz target in `node/oci/fuzz` and the replay of what it has
//! found share this.

use crate::config::{Config, is_name};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// In an input, the line that stands between the file and the environment.
const ENVIRONMENT: &str = "--- environment";
/// In an input, the folder that holds the files below.
const CERTIFICATES: &str = "CERTS";
/// Durations longer than this are refused.
const LONGEST: Duration = Duration::from_millis(366 * 24 * 3600 * 1000);
/// Certificates and keys are looked at as PEM only; what is in them is judged by whoever uses them.
const FILES: [(&str, &str); 3] = [("ca.pem", "CERTIFICATE"), ("node.pem", "CERTIFICATE"), ("node.key", "PRIVATE KEY")];

/// Writes the files that good inputs name.
pub(crate) fn lay_out(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, label) in FILES {
        std::fs::write(folder.join(name), format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"))?;
    }
    Ok(())
}

/// A file's text, then perhaps the line `--- environment` and a `NAME=value` on each further line.
pub(crate) fn check(input: &[u8], certificates: &Path) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    // Such files may never end, or answer.
    if ["/dev", "/proc", "/sys"].iter().any(|folder| input.contains(folder)) {
        return;
    }
    let input = input.replace(CERTIFICATES, &certificates.display().to_string());
    let (text, environment) = input.split_once(&format!("{ENVIRONMENT}\n")).unwrap_or((&input, ""));
    let variables: Vec<(String, String)> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let parsed = read(text, &variables);
    assert_eq!(parsed, read(text, &variables), "two readings of one configuration");
    match Config::parse(text, variables.iter().cloned()) {
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            told_in_order(&problems.0.iter().map(|problem| format!("{:?}", problem.place)).collect::<Vec<_>>());
            one_line_each(&problems.to_string(), problems.0.len(), text);
        }
        Ok(config) => {
            is_valid(&config);
            means_the_same(text, &variables, &config);
        }
    }
}

/// The configuration or its problems, as something to compare.
fn read(text: &str, variables: &[(String, String)]) -> Result<String, String> {
    match Config::parse(text, variables.iter().cloned()) {
        Ok(config) => Ok(format!("{config:?}")),
        Err(problems) => Err(problems.to_string()),
    }
}

/// First the file's lines, then variables, then what is nowhere.
fn told_in_order(places: &[String]) {
    let ranks: Vec<(u8, usize)> = places
        .iter()
        .map(|place| match place.strip_prefix("Line(") {
            Some(line) => (0, line.trim_end_matches(')').parse().expect("a line is a number")),
            None if place.starts_with("Variable") => (1, 0),
            None => (2, 0),
        })
        .collect();
    assert!(ranks.is_sorted(), "{places:?}");
}

/// A problem is one line, in a terminal that nothing in it can confuse, and the line that it names is there.
fn one_line_each(told: &str, count: usize, text: &str) {
    let lines: Vec<&str> = told.split('\n').collect();
    assert_eq!(lines.len(), count + 1, "{told:?}");
    assert!(!told.contains(|character: char| character.is_control() && character != '\n'), "{told:?}");
    assert!(!told.contains("-----BEGIN"), "a key would stand in the log: {told:?}");
    let last = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    for line in lines {
        let number = line.trim_start().strip_prefix("line ").and_then(|rest| rest.split_once(": ")?.0.parse().ok());
        assert!(number.is_none_or(|number: usize| (1..=last).contains(&number)), "{line} of {last}");
    }
}

fn is_valid(config: &Config) {
    let (id, me) = config.me();
    assert_eq!((&me.name, &me.region), (&config.node.name, &config.node.region));
    assert_eq!(config.members[usize::try_from(id).expect("a place in a list") - 1], *me);
    assert!(config.node.zone.is_empty() || is_name(&config.node.zone), "{:?}", config.node.zone);
    for (at, member) in config.members.iter().enumerate() {
        assert!(is_name(&member.name) && is_name(&member.region), "{member:?}");
        let before = &config.members[..at];
        assert!(before.iter().all(|other| other.name != member.name && other.peer != member.peer), "{member:?}");
        let port = member.peer.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        assert!(port.is_some_and(|port| port > 0), "{member:?}");
    }
    assert!(config.auth.is_explicit() || config.public.listen.ip().is_loopback(), "{}", config.public.listen);
    for duration in [config.shutdown, config.bootstrap_report] {
        assert!(duration > Duration::ZERO && duration <= LONGEST, "{duration:?}");
    }
    let listeners = [config.public.listen, config.peer.listen, config.ops_listen];
    for (at, one) in listeners.iter().enumerate() {
        let taken = listeners[..at].iter().any(|other| other == one && one.port() != 0);
        assert!(!taken, "{one} is listened on twice");
    }
    assert!(!config.node.data_dir.as_os_str().is_empty());
}

/// What was read can be said again, in the file or by variables; what nobody knows is refused beside it.
fn means_the_same(text: &str, variables: &[(String, String)], config: &Config) {
    let meaning = Ok(format!("{config:?}"));
    assert_eq!(read(&format!("{text}\n# The end."), variables), meaning, "a comment at the end");
    let unknown = read(&format!("{text}\n[colours]\n"), variables).expect_err("a table that nobody knows");
    assert!(unknown.contains("[colours]"), "{unknown}");
    let said = said_again(config);
    let others = variables.iter().filter(|(name, _)| !said.iter().any(|(own, _)| name.eq_ignore_ascii_case(own)));
    let all: Vec<_> = others.chain(&said).cloned().collect();
    assert_eq!(read(text, &all), meaning, "said again by variables: {said:?}");
}

fn said_again(config: &Config) -> Vec<(String, String)> {
    let mut members = String::from("[");
    for member in &config.members {
        let [name, region, peer] =
            [&member.name, &member.region, &member.peer].map(|text| toml::Value::String(text.clone()));
        let _ = write!(members, "{{ name = {name}, region = {region}, peer = {peer} }}, ");
    }
    members.push(']');
    let values = [
        ("NODE_NAME", config.node.name.clone()),
        ("NODE_REGION", config.node.region.clone()),
        ("NODE_ROLE", format!("{:?}", config.node.role).to_lowercase()),
        ("NODE_DATA_DIR", config.node.data_dir.display().to_string()),
        ("CLUSTER_MEMBERS", members),
        ("PUBLIC_LISTEN", config.public.listen.to_string()),
        ("PEER_LISTEN", config.peer.listen.to_string()),
        ("PEER_ADVERTISE", config.peer.advertise.clone()),
        ("OPS_LISTEN", config.ops_listen.to_string()),
        ("LIMITS_SHUTDOWN_MS", config.shutdown.as_millis().to_string()),
        ("LIMITS_BOOTSTRAP_REPORT_MS", config.bootstrap_report.as_millis().to_string()),
    ];
    values.into_iter().map(|(key, value)| (format!("PORTOLAN_{key}"), value)).collect()
}
