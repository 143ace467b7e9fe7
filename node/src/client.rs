//! The HTTP client of the command line: one node's public address is enough.

use crate::answer::ClusterAnswer;
use crate::https::Https;
use reqwest::Url;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a question to a node may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a node's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answered.
    #[error(
        "{server} does not answer: {}; is it a node's registry address, and https:// if it has TLS?",
        deepest(source)
    )]
    Unreachable {
        /// Where.
        server: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An error came back.
    #[error("{server} answered {status}: {body}")]
    Status {
        /// Where.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What it said, cut to a line's length.
        body: String,
    },
    /// Something else than a node answered.
    #[error("{server} is no node of a cluster, or of another version: its answer does not read: {source}")]
    Unreadable {
        /// Where.
        server: String,
        /// What was wrong.
        source: serde_json::Error,
    },
    /// No address.
    #[error("{server:?} is no address of a node: give HOST:PORT, http://HOST:PORT or https://HOST:PORT")]
    Address {
        /// What was given.
        server: String,
    },
    /// Nobody can be trusted.
    #[error("cannot read the trusted certificates {}: {source}; give the CA of {server} with --ca", path.display())]
    Authorities {
        /// Where.
        server: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody answered over TLS, or somebody who is not trusted.
    #[error("{server} does not answer: {source} (trusted is {}; --ca names another file)", path.display())]
    Tls {
        /// Where.
        server: String,
        /// The file with those who are trusted.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ClientError {
    /// Whether the command line was wrong, rather than the server.
    pub(crate) const fn is_wrong_usage(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Authorities { .. })
    }
}

/// The last cause of an error: "connection refused" rather than "error sending request".
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A client of one node.
#[derive(Clone)]
pub(crate) struct Client {
    transport: Transport,
    server: String,
}

/// How a node is spoken to.
#[derive(Clone)]
enum Transport {
    Plain { http: reqwest::Client, base: Url },
    Tls(Https),
}

impl Client {
    /// A client of the node at `server`: `host:port` or a URL.
    ///
    /// # Errors
    /// When it is no address, and when the client cannot be made.
    pub(crate) fn new(server: &str) -> Result<Self, ClientError> {
        Self::new_trusting(server, None)
    }

    /// Likewise, trusting the authorities in the file `ca` if the address is `https://`.
    ///
    /// # Errors
    /// Likewise, and when the file cannot be read.
    pub(crate) fn new_trusting(server: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let server = server.to_owned();
        let Some(base) = address(&server) else { return Err(ClientError::Address { server }) };
        let transport = if base.scheme() == "https" {
            let https = Https::new(&base, ca);
            Transport::Tls(https.map_err(|(path, source)| ClientError::Authorities {
                server: server.clone(),
                path,
                source,
            })?)
        } else {
            let http = http_client(TIMEOUT);
            Transport::Plain {
                http: http.map_err(|source| ClientError::Unreachable { server: server.clone(), source })?,
                base,
            }
        };
        Ok(Self { transport, server })
    }

    /// The text of a GET's 200.
    ///
    /// # Errors
    /// When nobody answers, or with an error.
    pub(crate) async fn get(&self, path: &str) -> Result<String, ClientError> {
        let server = || self.server.clone();
        let (status, body) = match &self.transport {
            Transport::Plain { http, base } => {
                let unreachable = |source| ClientError::Unreachable { server: server(), source };
                let mut url = base.clone();
                url.set_path(path);
                let answer = http.get(url).send().await.map_err(unreachable)?;
                (answer.status().as_u16(), answer.text().await.map_err(unreachable)?)
            }
            Transport::Tls(https) => {
                let wrong = |source| ClientError::Tls { server: server(), path: https.authorities.clone(), source };
                match tokio::time::timeout(TIMEOUT, https.get(path)).await {
                    Ok(answer) => answer.map_err(wrong)?,
                    Err(late) => return Err(wrong(late.into())),
                }
            }
        };
        if status == 200 {
            Ok(body)
        } else {
            Err(ClientError::Status { server: server(), status, body: one_line(&body) })
        }
    }

    /// The state of the cluster, and the JSON it was read from.
    ///
    /// # Errors
    /// When nobody answers, or with something else.
    pub(crate) async fn cluster(&self) -> Result<(ClusterAnswer, String), ClientError> {
        let text = self.get("/api/v1/cluster").await?;
        let answer = serde_json::from_str(&text)
            .map_err(|source| ClientError::Unreadable { server: self.server.clone(), source })?;
        Ok((answer, text))
    }
}

/// The URL of `host:port`, `http://host[:port]` or `https://host[:port]`; `None` for anything else.
fn address(server: &str) -> Option<Url> {
    let url = match server.split_once("://") {
        Some(("http" | "https", _)) => Url::parse(server).ok()?,
        None if server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            Url::parse(&format!("http://{server}")).ok()?
        }
        Some(_) | None => return None,
    };
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    (url.has_host() && is_plain).then_some(url)
}

/// A text cut to a line: the beginning of what a server says is enough to recognise it.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(160).collect()
}

/// An HTTP client whose answers must begin within `timeout`; it follows no proxy, as every server is the user's own.
pub(crate) fn http_client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().connect_timeout(timeout).read_timeout(timeout).build()
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn only_the_address_of_a_server_is_taken() {
        for (given, expected) in [
            ("127.0.0.1:5000", Some("http://127.0.0.1:5000/")),
            ("[::1]:5000", Some("http://[::1]:5000/")),
            ("node-a:5000", Some("http://node-a:5000/")),
            ("http://node-a", Some("http://node-a/")),
            ("http://node-a:5000/", Some("http://node-a:5000/")),
            ("https://node-a:5000", Some("https://node-a:5000/")),
            ("127.0.0.1", None),
            ("127.0.0.1:99999", None),
            ("a b:1", None),
            ("", None),
            ("http://", None),
            ("ftp://node-a:5000", None),
            ("http://node-a/v2/?n=1", None),
        ] {
            assert_eq!(address(given).as_ref().map(reqwest::Url::as_str), expected, "{given:?}");
        }
    }
}
