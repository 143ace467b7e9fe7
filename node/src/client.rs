//! The HTTP client of the command line: one node's public address is enough.

use crate::answer::ClusterAnswer;
use crate::ask::{Answered, Ask, TIMEOUT};
use crate::cli::ServerArgs;
use crate::https::Https;
use crate::remarks::Remarks;
use portolan_oci::{ErrorBody, ErrorCode};
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
    #[error("{server} refuses it: {message} ({code}{})", of_request(request))]
    Refused {
        /// Where.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// For programs.
        code: String,
        /// Under which id the server's log tells more, when it does.
        request: Option<String>,
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

    /// Whether it is refused because what was named is not there.
    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether it is refused with that code.
    pub(crate) fn has_code(&self, wanted: ErrorCode) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted.as_str())
    }

    /// Whether what was asked for may have been done all the same: it was asked, and no answer says that it was not.
    pub(crate) fn leaves_open(&self) -> bool {
        match self {
            Self::Refused { status, .. } | Self::Status { status, .. } => *status >= 500,
            Self::Unreachable { source, .. } => !source.is_connect(),
            // A certificate that is not trusted is invalid data.
            Self::Tls { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidData)
            }
            Self::Unreadable { .. } => true,
            Self::Address { .. } | Self::Authorities { .. } => false,
        }
    }
}

/// The id of a request, in a message.
fn of_request(id: &Option<String>) -> String {
    id.as_ref().map_or_else(String::new, |id| format!(", request {id}"))
}

/// The last cause of an error: "connection refused" rather than "error sending request".
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a node told.
pub(crate) struct Report<T> {
    /// What it told.
    pub(crate) told: T,
    /// The JSON that it was read from.
    pub(crate) json: String,
    /// What it says about itself.
    pub(crate) remarks: Remarks,
}

impl<T> Report<T> {
    /// Whether a leader confirmed what it says.
    pub(crate) const fn is_confirmed(&self) -> bool {
        self.remarks.stale.is_none()
    }
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

    /// A client of the node that a command line names.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) fn of(server: &ServerArgs) -> Result<Self, ClientError> {
        Self::new_trusting(&server.server, server.ca.as_deref())
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
        match &self.transport {
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
                let (status, remarks) = (answer.status().as_u16(), Remarks::of_headers(answer.headers()));
                Ok(Answered { status, body: answer.text().await.map_err(unreachable)?, remarks })
            }
            Transport::Tls(https) => {
                let wrong = |source| ClientError::Tls { server: server(), path: https.authorities.clone(), source };
                match tokio::time::timeout(ask.within, https.send(&ask)).await {
                    Ok(answer) => answer.map_err(wrong),
                    Err(late) => Err(wrong(late.into())),
                }
            }
        }
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

    /// Likewise, with what the answer says about itself.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) async fn report<T: DeserializeOwned>(&self, target: &str) -> Result<Report<T>, ClientError> {
        let answered = self.ask(Ask::get(target)).await?;
        if answered.status == 200 { self.report_in(answered) } else { Err(self.refused(&answered)) }
    }

    /// The report that an answer is.
    ///
    /// # Errors
    /// When it is another.
    pub(crate) fn report_in<T: DeserializeOwned>(&self, answered: Answered) -> Result<Report<T>, ClientError> {
        let remarks = answered.remarks.with_json(&answered.body);
        Ok(Report { told: self.parse(&answered.body)?, json: answered.body, remarks })
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
                let request = entry.detail.as_ref().and_then(|detail| detail["request_id"].as_str());
                ClientError::Refused {
                    server,
                    status,
                    message: entry.message,
                    code: entry.code.to_string(),
                    request: request.map(str::to_owned),
                }
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
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Client, ClientError, address};
    use crate::ask::Answered;
    use crate::remarks::Remarks;

    #[test]
    fn a_fault_is_told_with_the_id_that_the_log_has_it_under_and_leaves_open_what_was_done() {
        let client = Client::new("node-a:5000").unwrap();
        for (status, body, words, open) in [
            (
                500,
                r#"{"errors":[{"code":"UNKNOWN","message":"it failed","detail":{"request_id":"01K"}}]}"#,
                "node-a:5000 refuses it: it failed (UNKNOWN, request 01K)",
                true,
            ),
            (
                409,
                r#"{"errors":[{"code":"POLICY_INVALID","message":"no","detail":{"known":["eu"]}}]}"#,
                "node-a:5000 refuses it: no (POLICY_INVALID)",
                false,
            ),
            (502, "a proxy's  page", "node-a:5000 answered 502: a proxy's page", true),
        ] {
            let answered = Answered { status, body: body.to_owned(), remarks: Remarks::default() };
            let error = client.refused(&answered);
            assert_eq!((error.to_string().as_str(), error.leaves_open()), (words, open));
        }
        let wrong = ClientError::Address { server: String::new() };
        assert!(!wrong.leaves_open() && wrong.is_wrong_usage());
    }

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
