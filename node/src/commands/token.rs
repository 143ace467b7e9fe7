//! Changes by the admin API: the token of the node that is asked goes with them.

use super::terminal::say;
use crate::admin;
use crate::ask::{Ask, TIMEOUT};
use crate::cli::ChangeArgs;
use crate::client::{Client, ClientError};
use crate::error::Failure;
use portolan_meta::id::NodeId;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// A change may wait for a leader.
const PATIENCE: u32 = 3;

/// A change that is asked for.
pub(super) struct Change<'a> {
    method: Method,
    target: &'a str,
    body: Option<String>,
}

impl<'a> Change<'a> {
    /// What stands there from now on.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn put(target: &'a str, wanted: &impl Serialize) -> std::io::Result<Self> {
        let body = serde_json::to_string(wanted).map_err(std::io::Error::other)?;
        Ok(Self { method: Method::PUT, target, body: Some(body) })
    }

    /// Nothing stands there from now on.
    pub(super) const fn delete(target: &'a str) -> Self {
        Self { method: Method::DELETE, target, body: None }
    }
}

/// Makes a change, and prints what it is answered with: the JSON, or what `render` makes of it.
///
/// # Errors
/// When it is refused, nobody answers, or no token is found.
pub(super) async fn make<T: DeserializeOwned>(
    client: &Client,
    change: Change<'_>,
    args: &ChangeArgs,
    render: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let told = answer(client, change, args.token_file.as_deref()).await?;
    let parsed: T = client.parse(&told)?;
    say(&if args.ask.json { told.trim_end().to_owned() } else { render(&parsed) })?;
    Ok(())
}

/// What a change is answered with: the text of its 200. Without a file the folders of this machine are looked through, and
/// only for a node that is on it: its token is that of the folder with its own data, and goes to nobody else.
async fn answer(client: &Client, change: Change<'_>, file: Option<&Path>) -> Result<String, Failure> {
    let Tokens { found, mut of_no_use } = match file {
        Some(file) => {
            let token = std::fs::read_to_string(file).map_err(Failure::file(file))?;
            Tokens { found: vec![(file.to_owned(), token)], of_no_use: Vec::new() }
        }
        None if is_here(client).await => here(client).await?,
        None => Tokens::default(),
    };
    for (path, token) in &found {
        let ask = Ask {
            method: change.method.clone(),
            target: change.target,
            token: Some(token.trim()),
            body: change.body.clone(),
            within: TIMEOUT * PATIENCE,
        };
        let answered = client.ask(ask).await.map_err(failed)?;
        match answered.status {
            200 => return Ok(answered.body),
            401 => of_no_use.push(format!("{}: refused, as another node's or no token", path.display())),
            _ => return Err(failed(client.refused(&answered))),
        }
    }
    Err(Failure::NoToken { server: client.server().to_owned(), looked: of_no_use })
}

/// A change that failed, or nobody knows.
fn failed(error: ClientError) -> Failure {
    if error.leaves_open() { Failure::ChangeOpen(error) } else { error.into() }
}

/// What was found on the way to a token.
#[derive(Default)]
struct Tokens {
    /// Where each lies.
    found: Vec<(PathBuf, String)>,
    /// Files that are of no use, and why.
    of_no_use: Vec<String>,
}

/// The token of the node that answers, if its data lie where they may be looked for.
async fn here(client: &Client) -> Result<Tokens, Failure> {
    let (cluster, _) = client.cluster().await?;
    let mut tokens = Tokens::default();
    let (Some(id), Some(asked)) = (cluster.cluster_id, cluster.asked) else { return Ok(tokens) };
    let node = cluster.nodes.iter().find(|node| node.id == asked);
    for folder in admin::candidates(node.map_or("", |node| &node.name)) {
        match admin::token_of(&folder, &id, NodeId(asked)) {
            Ok(token) => tokens.found.push((folder, token)),
            Err(why) => tokens.of_no_use.push(why),
        }
    }
    Ok(tokens)
}

/// Whether the node is on this machine: every address of its name is one of this machine's own.
async fn is_here(client: &Client) -> bool {
    let (host, port) = client.host();
    let Ok(addresses) = tokio::net::lookup_host((host.as_str(), port)).await else { return false };
    let addresses: Vec<SocketAddr> = addresses.collect();
    !addresses.is_empty() && addresses.iter().all(|address| is_own(*address))
}

/// What is sent to an address of this machine comes from that very address. Nothing is sent for that.
fn is_own(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let own = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(address).ok()?;
        socket.local_addr().ok()
    };
    address.ip().is_loopback() || own().is_some_and(|own| own.ip() == address.ip())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::is_own;

    #[test]
    fn a_token_stays_on_this_machine() {
        for (address, own) in [
            ("127.0.0.1:5000", true),
            ("127.8.9.10:5000", true),
            ("[::1]:5000", true),
            ("192.0.2.1:5000", false),
            ("[2001:db8::1]:5000", false),
        ] {
            assert_eq!(is_own(address.parse().unwrap()), own, "{address}");
        }
    }
}
