//! Changes by the admin API: the token of the node that is asked goes with them.

use crate::admin;
use crate::ask::{Answered, Ask, TIMEOUT};
use crate::client::Client;
use crate::error::Failure;
use reqwest::Method;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

/// A change may wait for a leader.
const PATIENCE: u32 = 3;

/// What a change is answered with: the text of its 200. Without a file the tokens that lie on this machine are tried, and
/// only at a node that is on it: a token is never sent to whoever happens to be asked.
///
/// # Errors
/// When it is refused, nobody answers, or no token is found.
pub(crate) async fn change(
    client: &Client,
    method: Method,
    target: &str,
    body: Option<&str>,
    file: Option<&Path>,
) -> Result<String, Failure> {
    let mut looked = Vec::new();
    let mut tokens = Vec::new();
    if let Some(file) = file {
        tokens.push(std::fs::read_to_string(file).map_err(Failure::file(file))?);
    } else if is_here(client).await {
        let name = asked(client).await?;
        for candidate in admin::candidates(&name) {
            match std::fs::read_to_string(&candidate) {
                Ok(token) => tokens.push(token),
                Err(error) => looked.push(format!("{}: {error}", candidate.display())),
            }
        }
    }
    for token in &tokens {
        let ask = Ask {
            method: method.clone(),
            target,
            token: Some(token.trim()),
            body: body.map(str::to_owned),
            within: TIMEOUT * PATIENCE,
        };
        let answered: Answered = client.ask(ask).await?;
        match answered.status {
            200 => return Ok(answered.body),
            // Of another node, perhaps.
            401 => {}
            _ => return Err(client.refused(&answered).into()),
        }
    }
    if let Some(file) = file {
        looked = vec![format!("{}: another node's, or not a token", file.display())];
    }
    Err(Failure::NoToken { server: client.server().to_owned(), looked })
}

/// The name of the node that answers.
async fn asked(client: &Client) -> Result<String, Failure> {
    let (cluster, _) = client.cluster().await?;
    let node = cluster.nodes.into_iter().find(|node| Some(node.id) == cluster.asked);
    Ok(node.map(|node| node.name).unwrap_or_default())
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
