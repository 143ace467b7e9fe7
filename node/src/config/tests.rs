//! Every kind of mistake in a configuration, and what is said about it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::{Config, Problems};
use portolan_consensus::Profile;
use std::path::Path;

const GOOD: &str = r#"
[node]
name = "a"
region = "eu-west"
data_dir = "/var/lib/portolan"

[cluster]
members = [
  { name = "a", region = "eu-west", peer = "10.0.0.1:7000" },
  { name = "b", region = "us-east", peer = "10.0.0.2:7000" },
]

[public]
plain_http = true

[peer]
ca = "CERTS/ca.pem"
cert = "CERTS/node.pem"
key = "CERTS/node.key"

[auth]
mode = "open"
"#;

/// A folder with one certificate under the names that `GOOD` uses.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["portolan-peer".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("node.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("node.key"), made.signing_key.serialize_pem()).unwrap();
    folder
}

fn parse(text: &str, certs: &Path, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let text = text.replace("CERTS", &certs.display().to_string());
    Config::parse(&text, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// Replaces `from` in the good configuration and expects every one of `said` among the problems.
fn check(certs: &Path, from: &str, to: &str, said: &[&str]) {
    assert!(GOOD.contains(from), "{from:?} is not in the good configuration");
    let problems = parse(&GOOD.replacen(from, to, 1), certs, &[]).expect_err(to).to_string();
    for words in said {
        assert!(problems.contains(words), "{to:?}: {words:?} is not in\n{problems}");
    }
    assert_eq!(problems.lines().count(), said.len() + 1, "{to:?}: more or less problems than expected in\n{problems}");
}

#[test]
fn a_good_configuration_gets_the_documented_defaults() {
    let certs = certificates();
    let config = parse(GOOD, certs.path(), &[]).unwrap();
    assert_eq!(config.me().0, 1);
    assert_eq!(config.public.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.peer.listen.to_string(), "0.0.0.0:7000");
    assert_eq!(config.peer.advertise, "10.0.0.1:7000");
    assert_eq!(config.ops_listen.to_string(), "127.0.0.1:9100");
    assert_eq!(config.consensus.profile, Profile::Wan);
    assert!(config.auth.is_explicit() && config.public.tls.is_none());
    assert_eq!(config.public.tls_reload.as_secs(), 10);
    let limits = config.registry.limits;
    assert_eq!((limits.blob_bytes, limits.uploads, limits.downloads), (1 << 40, 256, 1024));
}

#[test]
fn the_limits_of_clients_are_settings() {
    let certs = certificates();
    let text = GOOD.replace("[auth]", "[limits]\nblob_bytes = 1000\nuploads = 3\ndownloads = 4\n[auth]");
    let text = text.replace("plain_http = true", "tls_cert = \"CERTS/node.pem\"\ntls_key = \"CERTS/node.key\"");
    let config = parse(&text, certs.path(), &[("PORTOLAN_PUBLIC_TLS_RELOAD_MS", "250")]).unwrap();
    let limits = config.registry.limits;
    assert_eq!((limits.blob_bytes, limits.uploads, limits.downloads), (1000, 3, 4));
    assert!(config.public.tls.is_some());
    assert_eq!(config.public.tls_reload.as_millis(), 250);
}

#[test]
fn without_auth_mode_only_loopback_is_listened_on() {
    let certs = certificates();
    let closed = GOOD.replace("[auth]\nmode = \"open\"", "");
    let config = parse(&closed, certs.path(), &[]).unwrap();
    assert_eq!(config.public.listen.to_string(), "127.0.0.1:5000");
    let anywhere = closed.replace("plain_http = true", "plain_http = true\nlisten = \"0.0.0.0:5000\"");
    let problems = parse(&anywhere, certs.path(), &[]).unwrap_err().to_string();
    assert!(problems.contains("public.listen = \"0.0.0.0:5000\": must be a loopback address"), "{problems}");
}

#[test]
fn every_mistake_is_named_with_its_line_its_value_and_what_is_allowed() {
    let certs = certificates();
    let table: &[(&str, &str, &[&str])] = &[
        (
            "name = \"a\"",
            "nmae = \"a\"",
            &["line 3: node.nmae = \"a\": unknown key; did you mean name?", "node.name: is missing"],
        ),
        (
            "[public]",
            "[publik]",
            &["line 13: [publik]: unknown table; did you mean public?", "public.plain_http: must be true"],
        ),
        (
            "[node]",
            "colour = 3\n[node]",
            &["line 2: colour: stands outside of any table; the tables are node, cluster"],
        ),
        ("[public]", "[colours]\n[public]", &["line 13: [colours]: unknown table; known are node, cluster, public"]),
        (
            "name = \"a\"",
            "name = \"A b\"",
            &[
                "line 3: node.name = \"A b\": must be 1 to 63 lower-case",
                "node.name = \"A b\": is not in cluster.members",
            ],
        ),
        ("name = \"a\"", "name = \"c\"", &["line 3: node.name = \"c\": is not in cluster.members"]),
        ("name = \"a\"", "name = 7", &["line 3: node.name = 7: must be a string"]),
        (
            "region = \"eu-west\"\n",
            "region = \"mars\"\n",
            &["line 4: node.region = \"mars\": differs from cluster.members, which says eu-west"],
        ),
        (
            "region = \"eu-west\"\n",
            "region = \"eu-west\"\nrole = \"king\"\n",
            &["line 5: node.role = \"king\": must be \"full\", \"witness\" or \"edge\""],
        ),
        ("data_dir = \"/var/lib/portolan\"", "", &["node.data_dir: is missing"]),
        (
            "[cluster]",
            "[cluster]\nprofile = \"moon\"",
            &["line 8: cluster.profile = \"moon\": must be \"lan\", \"wan\" or \"global\""],
        ),
        ("10.0.0.2:7000", "10.0.0.1:7000", &["line 8: cluster.members[2]: a and b have the same peer address"]),
        ("10.0.0.2:7000", "10.0.0.2", &["the peer address \"10.0.0.2\" of b must be host:port"]),
        ("{ name = \"b\",", "{ name = \"a\",", &["the name a is there twice"]),
        (
            "peer = \"10.0.0.2:7000\" }",
            "peers = \"10.0.0.2:7000\" }",
            &[
                "line 8: cluster.members[2] = { name = \"b\", peers = \"10.0.0.2:7000\", region = \"us-east\" }: unknown field peers, expected one of",
            ],
        ),
    ];
    for (from, to, said) in table {
        check(certs.path(), from, to, said);
    }
}

#[test]
fn mistakes_about_ports_files_numbers_and_syntax_are_named_alike() {
    let certs = certificates();
    let table: &[(&str, &str, &[&str])] = &[
        ("plain_http = true", "", &["public.plain_http: must be true (no TLS), or public.tls_cert"]),
        ("plain_http = true", "plain_http = 1", &["line 14: public.plain_http = 1: must be true or false"]),
        (
            "plain_http = true",
            "plain_http = true\nlisten = \"here\"",
            &["line 15: public.listen = \"here\": must be an IP address and a port"],
        ),
        (
            "plain_http = true",
            "plain_http = true\nlisten = \"0.0.0.0:7000\"",
            &["peer.listen: must not take the port of public.listen"],
        ),
        ("plain_http = true", "tls_cert = \"CERTS/node.pem\"", &["line 14: public.tls_cert"]),
        (
            "plain_http = true",
            "plain_http = true\ntls_reload_ms = 0",
            &["line 15: public.tls_reload_ms = 0: must be from 1 to"],
        ),
        ("CERTS/ca.pem", "CERTS/none.pem", &["peer.ca = "]),
        ("CERTS/ca.pem", "CERTS/node.key", &["the file holds no certificate"]),
        ("key = \"CERTS/node.key\"", "key = \"CERTS/ca.pem\"", &["line 19: peer.key = "]),
        ("key = \"CERTS/node.key\"", "", &["peer.key: is missing"]),
        ("mode = \"open\"", "mode = \"closed\"", &["auth.mode = \"closed\": must be \"open\""]),
        ("[auth]", "[storage]\nreserve_bytes = -1\n[auth]", &["line 22: storage.reserve_bytes = -1: must be"]),
        ("[auth]", "[uploads]\nsession_ttl_ms = 0\n[auth]", &["uploads.session_ttl_ms = 0: must be from 1 to"]),
        ("[auth]", "[limits]\nuploads = 0\n[auth]", &["limits.uploads = 0: must be from 1 to"]),
        ("[auth]", "[limits]\ndownload = 7\n[auth]", &["unknown key; did you mean downloads?"]),
        (
            "[auth]",
            "[limits]\nblob_bytes = 2000000000000000\n[auth]",
            &["limits.blob_bytes = 2000000000000000: must be from 1 to"],
        ),
        (
            "[auth]",
            "[uploads]\nsession_ttl_ms = \"1h\"\n[auth]",
            &["uploads.session_ttl_ms = \"1h\": must be a whole number"],
        ),
        (
            "[auth]",
            "[routing]\nmode = \"redirect\"\n[auth]",
            &["routing.mode = \"redirect\": unknown key; this table has no keys yet"],
        ),
        ("[auth]", "[limits]\nshutdown = 3\n[auth]", &["limits.shutdown = 3: unknown key; did you mean shutdown_ms?"]),
        ("[auth]", "[auth", &["line 21: TOML: "]),
    ];
    for (from, to, said) in table {
        check(certs.path(), from, to, said);
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let certs = certificates();
    let text = GOOD.replace("name = \"a\"\n", "name = 7\n").replace("mode = \"open\"", "mod = \"open\"");
    let problems = parse(&text, certs.path(), &[("PORTOLAN_OPS_LISTEN", "nowhere")]).unwrap_err();
    let keys: Vec<&str> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["node.name", "auth.mod", "ops.listen"]);
}

#[test]
fn variables_override_the_file_and_are_checked_alike() {
    let certs = certificates();
    let overrides = [
        ("PORTOLAN_OPS_LISTEN", "127.0.0.1:9999"),
        ("PORTOLAN_NODE_ZONE", "1"),
        ("PORTOLAN_LIMITS_SHUTDOWN_MS", "1500"),
        ("PORTOLAN_PUBLIC_PLAIN_HTTP", "true"),
        ("PORTOLAN_SERVER", "127.0.0.1:5003"),
        // A Service `portolan-peer` in the same Kubernetes namespace.
        ("PORTOLAN_PEER_SERVICE_HOST", "10.0.0.1"),
        ("PORTOLAN_PEER_SERVICE_PORT_GRPC", "7000"),
        ("PORTOLAN_PEER_PORT", "tcp://10.0.0.1:7000"),
        ("PORTOLAN_PEER_PORT_7000_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    let config = parse(GOOD, certs.path(), &overrides).unwrap();
    assert_eq!(config.ops_listen.port(), 9999);
    assert_eq!(config.node.zone, "1");
    assert_eq!(config.shutdown.as_millis(), 1500);
    for (name, value, said) in [
        ("PORTOLAN_OPS_LISTEN", "x", "PORTOLAN_OPS_LISTEN: ops.listen = \"x\": must be an IP address"),
        ("PORTOLAN_OPS_LISTNE", "x", "did you mean listen?"),
        ("PORTOLAN_STORGE_RESERVE_BYTES", "1", "did you mean PORTOLAN_STORAGE_RESERVE_BYTES?"),
    ] {
        let problems = parse(GOOD, certs.path(), &[(name, value)]).unwrap_err().to_string();
        assert!(problems.contains(said), "{name}: {problems}");
    }
}
