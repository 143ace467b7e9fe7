//! The HTTP client of the command line: one node's public address is enough.

use serde::Deserialize;
use std::time::Duration;

/// How long a question to a node may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a node's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answered.
    #[error("{server} does not answer: {}", deepest(source))]
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
    #[error("{server} answered with something else than a portolan node would: {source}")]
    Unreadable {
        /// Where.
        server: String,
        /// What was wrong.
        source: serde_json::Error,
    },
    /// Only plain HTTP is spoken.
    #[error("{server}: only http:// is spoken by this command yet")]
    Scheme {
        /// What was asked for.
        server: String,
    },
}

/// The last cause of an error: "connection refused" rather than "error sending request".
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What `GET /api/v1/cluster` answers, as far as the command line reads it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterAnswer {
    /// The cluster's id.
    pub(crate) cluster_id: Option<String>,
    /// The epoch.
    pub(crate) epoch: u64,
    /// The term.
    pub(crate) term: u64,
    /// Who leads, by name or id.
    pub(crate) leader: serde_json::Value,
    /// The members.
    pub(crate) nodes: Vec<NodeAnswer>,
    /// What an operator should know.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// One node of a [`ClusterAnswer`].
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeAnswer {
    /// Its id.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// Its zone.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// What it does.
    pub(crate) role: String,
    /// Whether it votes.
    pub(crate) voter: bool,
    /// Up, down, out or draining.
    pub(crate) state: String,
    /// The last log index that it has applied, as far as is known.
    pub(crate) applied: Option<u64>,
    /// How many entries it is behind.
    pub(crate) lag: Option<u64>,
    /// How long ago it was heard, in milliseconds.
    pub(crate) last_seen_ms: Option<u64>,
    /// Its software version.
    pub(crate) version: String,
}

impl ClusterAnswer {
    /// The leader's name, when there is one.
    pub(crate) fn leader_name(&self) -> Option<&str> {
        self.nodes
            .iter()
            .find(|node| self.leader.as_u64() == Some(node.id) || self.leader.as_str() == Some(&node.name))
            .map(|node| node.name.as_str())
    }
}

/// A client of one node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    base: String,
}

impl Client {
    /// A client of the node at `server`: `host:port` or an `http://` URL.
    ///
    /// # Errors
    /// For another scheme, and when the client cannot be made.
    pub(crate) fn new(server: &str) -> Result<Self, ClientError> {
        let server = server.trim_end_matches('/').to_owned();
        let base = match server.split_once("://") {
            None => format!("http://{server}"),
            Some(("http", _)) => server.clone(),
            Some(_) => return Err(ClientError::Scheme { server }),
        };
        let http =
            http_client(TIMEOUT).map_err(|source| ClientError::Unreachable { server: server.clone(), source })?;
        Ok(Self { http, server, base })
    }

    /// The text of a GET's 200.
    ///
    /// # Errors
    /// When nobody answers, or with an error.
    pub(crate) async fn get(&self, path: &str) -> Result<String, ClientError> {
        let unreachable = |source| ClientError::Unreachable { server: self.server.clone(), source };
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        let body = body.chars().take(300).collect();
        Err(ClientError::Status { server: self.server.clone(), status: status.as_u16(), body })
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

/// An HTTP client whose answers must begin within `timeout`; it follows no proxy, as every server is the user's own.
pub(crate) fn http_client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().connect_timeout(timeout).read_timeout(timeout).build()
}
