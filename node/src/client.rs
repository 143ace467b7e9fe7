//! The HTTP client of the command line: one node's public address is enough.

use crate::answer::ClusterAnswer;
use crate::ask::{Answered, Ask, TIMEOUT};
use crate::https::Https;
use portolan_oci::ErrorBody;
use reqwest::Url;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// It was refused, with words for a person.
    #[error("{server} refuses it: {message} ({code})")]
    Refused {
        /// Where.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// For programs.
        code: String,
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
            // Each question has its own time.
            let http = reqwest::Client::builder().no_proxy().connect_timeout(TIMEOUT).build();
            Transport::Plain {
                http: http.map_err(|source| ClientError::Unreachable { server: server.clone(), source })?,
                base,
            }
        };
        Ok(Self { transport, server })
    }

    /// Who is asked, as it was given.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The host and port that is asked.
    pub(crate) fn host(&self) -> (String, u16) {
        match &self.transport {
            Transport::Plain { base, .. } => {
                let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
                (host.to_owned(), base.port_or_known_default().unwrap_or(80))
            }
            Transport::Tls(https) => https.address(),
        }
    }

    /// Whatever is answered, within a time.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answered, ClientError> {
        let server = || self.server.clone();
        let (status, body) = match &self.transport {
            Transport::Plain { http, base } => {
                let unreachable = |source| ClientError::Unreachable { server: server(), source };
                let Ok(url) = base.join(ask.target) else { return Err(ClientError::Address { server: server() }) };
                let mut request = http.request(ask.method, url).timeout(ask.within);
                if let Some(token) = ask.token {
                    request = request.bearer_auth(token);
                }
                if let Some(body) = ask.body {
                    request = request.header("Content-Type", "application/json").body(body);
                }
                let answer = request.send().await.map_err(unreachable)?;
                (answer.status().as_u16(), answer.text().await.map_err(unreachable)?)
            }
            Transport::Tls(https) => {
                let wrong = |source| ClientError::Tls { server: server(), path: https.authorities.clone(), source };
                match tokio::time::timeout(ask.within, https.send(&ask)).await {
                    Ok(answer) => answer.map_err(wrong)?,
                    Err(late) => return Err(wrong(late.into())),
                }
            }
        };
        Ok(Answered { status, body })
    }

    /// The text of a GET's 200.
    ///
    /// # Errors
    /// When nobody answers, or with an error.
    pub(crate) async fn get(&self, target: &str) -> Result<String, ClientError> {
        let answered = self.ask(Ask::get(target)).await?;
        if answered.status == 200 { Ok(answered.body) } else { Err(self.refused(&answered)) }
    }

    /// What a GET's 200 says, and the JSON it was read from.
    ///
    /// # Errors
    /// When nobody answers, or with something else.
    pub(crate) async fn read<T: DeserializeOwned>(&self, target: &str) -> Result<(T, String), ClientError> {
        let text = self.get(target).await?;
        Ok((self.parse(&text)?, text))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// When it is another.
    pub(crate) fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, ClientError> {
        serde_json::from_str(text).map_err(|source| ClientError::Unreadable { server: self.server.clone(), source })
    }

    /// The error that an answer with another status is.
    pub(crate) fn refused(&self, answered: &Answered) -> ClientError {
        let (server, status) = (self.server.clone(), answered.status);
        match serde_json::from_str::<ErrorBody>(&answered.body).ok().and_then(|body| body.errors.into_iter().next()) {
            Some(entry) if !entry.message.is_empty() => {
                ClientError::Refused { server, status, message: entry.message, code: entry.code.to_string() }
            }
            _ => ClientError::Status { server, status, body: one_line(&answered.body) },
        }
    }

    /// The state of the cluster, and the JSON it was read from.
    ///
    /// # Errors
    /// When nobody answers, or with something else.
    pub(crate) async fn cluster(&self) -> Result<(ClusterAnswer, String), ClientError> {
        self.read("/api/v1/cluster").await
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
