//! What must hold between keys, and of the files that they name.

use super::load::Settings;
use super::tables::{ClusterTable, MemberTable, NodeTable, PeerTable, PublicTable};
use super::values::allowed;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::path::Path;

/// Whether a string can name a node, a zone or a region: it appears in metrics, file names and URLs.
pub(crate) fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// What a name looks like.
pub(crate) const A_NAME: &str = "1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end";

/// Whether a string is `host:port`.
pub(crate) fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let host_is_plain = !host.is_empty() && !host.contains(char::is_whitespace) && !host.contains('/');
        host_is_plain && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// `[node]`.
pub(crate) fn node(settings: &mut Settings, table: &NodeTable) {
    for (key, value) in [("node.name", &table.name), ("node.region", &table.region), ("node.zone", &table.zone)] {
        match value {
            Some(value) if !is_name(value) => settings.wrong(key, format!("must be {A_NAME}")),
            None if key != "node.zone" && !settings.is_written(key) => settings.problems.missing(key, A_NAME),
            Some(_) | None => {}
        }
    }
    let folder_is_empty = table.data_dir.as_ref().is_some_and(|folder| folder.as_os_str().is_empty());
    if folder_is_empty {
        settings.wrong("node.data_dir", "must be a folder");
    } else if table.data_dir.is_none() && !settings.is_written("node.data_dir") {
        settings.problems.missing("node.data_dir", "the folder that this node keeps its data in");
    }
}

/// `[cluster]`, and that this node is in it.
pub(crate) fn cluster(settings: &mut Settings, table: &ClusterTable, node: &NodeTable) {
    let key = "cluster.members";
    if table.members.is_empty() {
        if !settings.is_written(key) {
            settings.problems.missing(key, allowed("cluster", "members").unwrap_or_default());
        } else if !settings.is_wrong(key) {
            settings.wrong(key, "must name at least one node");
        }
        return;
    }
    let mut names: BTreeMap<&str, &MemberTable> = BTreeMap::new();
    let mut peers: BTreeMap<&str, &str> = BTreeMap::new();
    for (at, member) in (1..).zip(&table.members) {
        for (what, value) in [("name", &member.name), ("region", &member.region)] {
            if !is_name(value) {
                settings.wrong_at(key, at, format!("the {what} {value:?} must be {A_NAME}"));
            }
        }
        if !is_host_and_port(&member.peer) {
            let words = format!("the peer address {:?} of {} must be host:port", member.peer, member.name);
            settings.wrong_at(key, at, words);
        }
        if names.contains_key(member.name.as_str()) {
            settings.wrong_at(key, at, format!("the name {} is there twice", member.name));
        } else {
            names.insert(&member.name, member);
        }
        if let Some(other) = peers.insert(&member.peer, &member.name) {
            let words = format!("{other} and {} have the same peer address {}", member.name, member.peer);
            settings.wrong_at(key, at, words);
        }
    }
    let (Some(name), Some(region)) = (&node.name, &node.region) else { return };
    match names.get(name.as_str()) {
        None => {
            let listed: Vec<&str> = table.members.iter().map(|member| member.name.as_str()).collect();
            settings.wrong("node.name", format!("is not in cluster.members, which lists {}", listed.join(", ")));
        }
        Some(member) if member.region != *region => {
            settings.wrong("node.region", format!("differs from cluster.members, which says {}", member.region));
        }
        Some(_) => {}
    }
}

/// `[public]` and `[auth]`.
pub(crate) fn public(settings: &mut Settings, table: &PublicTable, auth: &portolan_auth::Config) {
    match (&table.tls_cert, &table.tls_key) {
        (Some(cert), Some(key)) => {
            certificates(settings, "public.tls_cert", cert);
            private_key(settings, "public.tls_key", key);
        }
        (Some(_), None) => settings.wrong("public.tls_cert", "needs public.tls_key beside it"),
        (None, Some(_)) => settings.wrong("public.tls_key", "needs public.tls_cert beside it"),
        (None, None) => {}
    }
    let has_tls = table.tls_cert.is_some() || table.tls_key.is_some();
    if table.plain_http && has_tls {
        settings.wrong("public.plain_http", "must not be true together with public.tls_cert");
    } else if !table.plain_http
        && !has_tls
        && !settings.is_written("public.tls_cert")
        && !settings.is_wrong("public.plain_http")
    {
        let words = "must be true (no TLS), or public.tls_cert and public.tls_key must be given";
        settings.wrong("public.plain_http", words);
    }
    let written_wrongly = settings.is_written("auth.mode") && auth.mode.is_none();
    if auth.mode.is_none() && !written_wrongly && !table.listen.is_none_or(|listen| listen.ip().is_loopback()) {
        settings.wrong(
            "public.listen",
            "must be a loopback address, unless [auth] mode = \"open\" says that everybody may push, pull and delete",
        );
    }
}

/// `[peer]`.
pub(crate) fn peer(settings: &mut Settings, table: &PeerTable) {
    let files = [("peer.ca", &table.ca), ("peer.cert", &table.cert), ("peer.key", &table.key)];
    for (key, path) in files {
        match path {
            None if !settings.is_written(key) => {
                settings.problems.missing(key, "the path of a PEM file (peers speak mutual TLS)");
            }
            None => {}
            Some(path) if key == "peer.key" => private_key(settings, key, path),
            Some(path) => certificates(settings, key, path),
        }
    }
    if table.advertise.as_deref().is_some_and(|address| !is_host_and_port(address)) {
        settings.wrong("peer.advertise", "must be a host and a port such as \"node-a.example.org:7000\"");
    }
}

fn certificates(settings: &mut Settings, key: &str, path: &Path) {
    let problem = match CertificateDer::pem_file_iter(path) {
        Err(error) => Some(error.to_string()),
        Ok(mut found) => match found.next() {
            None => Some("the file holds no certificate".to_owned()),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(_)) => None,
        },
    };
    if let Some(problem) = problem {
        settings.wrong(key, format!("must be a readable PEM file with a certificate: {problem}"));
    }
}

fn private_key(settings: &mut Settings, key: &str, path: &Path) {
    if let Err(error) = PrivateKeyDer::from_pem_file(path) {
        settings.wrong(key, format!("must be a readable PEM file with a private key: {error}"));
    }
}
