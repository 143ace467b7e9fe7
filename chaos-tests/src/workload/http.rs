//! Nodes, asked over HTTP.

use super::door::{Against, Answer, Ask, Door, Load};
use super::recorder::Clock;
use crate::history::{Micros, Seen};
use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::header::{AGE, CONTENT_RANGE, HeaderMap, LINK, LOCATION, RANGE, RETRY_AFTER, WARNING};
use reqwest::{Body, Client, Response, retry};
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How much of an answer is kept that is no blob: more than any manifest may have.
const LARGEST_BODY: usize = 5 << 20;

/// All nodes, as seen from one region.
pub(super) struct Nodes {
    http: Client,
    addresses: Vec<String>,
    clock: Clock,
    within: Duration,
}

impl Nodes {
    /// No request takes longer than `within`.
    pub(super) fn new(addresses: Vec<String>, clock: Clock, within: Duration) -> crate::Result<Self> {
        let http = Client::builder().connect_timeout(CONNECT_WITHIN).no_proxy().retry(retry::never()).build()?;
        Ok(Self { http, addresses, clock, within })
    }

    async fn send(&self, ask: &Ask) -> reqwest::Result<Response> {
        let url = format!("http://{}{}", self.addresses[ask.node], ask.path);
        let mut request = self.http.request(ask.method.clone(), url);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        match &ask.load {
            Load::Nothing => {}
            Load::Bytes(bytes) => request = request.body(bytes.clone()),
            Load::Part { blob, range, cut } => {
                let end = cut.map_or(range.end, |cut| range.start + cut);
                let pieces = stream::iter(blob.pieces(range.start..end).map(Ok::<Bytes, std::io::Error>));
                request = request.body(match cut {
                    None => Body::wrap_stream(pieces),
                    Some(_) => Body::wrap_stream(pieces.chain(stream::once(broken()))),
                });
            }
        }
        request.send().await
    }

    /// Reads an answer to its end. `answer` is filled on the way, so that it holds what came when time is up.
    async fn read(&self, mut response: Response, against: Option<&Against>, answer: &mut Answer) {
        let status = response.status().as_u16();
        head(response.headers(), status, answer);
        let mut comparison = match against {
            Some(against) if status == 200 || status == 206 => Some((against.compare(status), against)),
            _ => None,
        };
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => {
                    answer.seen.first_byte.get_or_insert_with(|| self.now());
                    answer.seen.bytes += piece.len() as u64;
                    match &mut comparison {
                        Some((comparison, _)) => comparison.piece(&piece),
                        None => answer.body.extend_from_slice(&piece),
                    }
                    if answer.body.len() > LARGEST_BODY {
                        answer.seen.error = Some("the answer does not end".to_owned());
                        return;
                    }
                }
                Ok(None) => {
                    answer.seen.whole = true;
                    break;
                }
                Err(error) => {
                    answer.seen.error = Some(causes(&error));
                    break;
                }
            }
        }
        if let Some((comparison, against)) = comparison {
            let length = against.expected(status);
            let short = answer.seen.whole && answer.seen.bytes != length.end - length.start;
            let part = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let other = status == 206 && part != Some(against.content_range().as_str());
            judge(&mut answer.seen, comparison.differs(), short, other.then(|| format!("{part:?}")));
        }
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }
}

/// How a body breaks off. What came before goes out only while the body has nothing to give.
async fn broken() -> std::io::Result<Bytes> {
    tokio::task::yield_now().await;
    Err(std::io::Error::other("cut by the client"))
}

/// Says whether a blob's bytes are right: those that came, and all of them when the answer is whole.
fn judge(seen: &mut Seen, differs: Option<u64>, short: bool, part: Option<String>) {
    if seen.bytes > 0 || seen.whole {
        seen.right = Some(differs.is_none() && !short && part.is_none());
    }
    if let Some(at) = differs {
        seen.error = Some(format!("byte {at} of the blob is wrong"));
    } else if short {
        seen.error = Some(format!("complete after {} bytes", seen.bytes));
    } else if let Some(part) = part {
        seen.error = Some(format!("another part: {part}"));
    }
}

/// The headers that matter.
fn head(headers: &HeaderMap, status: u16, answer: &mut Answer) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    answer.seen = Seen {
        status: Some(status),
        digest: text("docker-content-digest"),
        warning: text(WARNING.as_str()),
        age: text(AGE.as_str()).and_then(|age| age.parse().ok()),
        retry_after: headers.contains_key(RETRY_AFTER),
        more: headers.contains_key(LINK),
        ..Seen::default()
    };
    answer.location = text(LOCATION.as_str());
    answer.range = text(RANGE.as_str());
}

impl Door for Nodes {
    async fn ask(&self, ask: Ask) -> Answer {
        let mut answer = Answer::default();
        let all = async {
            match self.send(&ask).await {
                Ok(response) => self.read(response, ask.against.as_ref(), &mut answer).await,
                Err(error) => answer.seen.error = Some(causes(&error)),
            }
        };
        if tokio::time::timeout(self.within, all).await.is_err() {
            answer.seen.error = Some(format!("not within {:?}", self.within));
        }
        if answer.seen.status.is_some_and(|status| status >= 400) {
            answer.seen.error = code(&answer.body).or(answer.seen.error);
        }
        answer
    }
}

/// The code of a registry's error.
fn code(body: &[u8]) -> Option<String> {
    let error: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(error["errors"][0]["code"].as_str()?.to_owned())
}

/// An error and what caused it, in one line: the first says only that a request failed.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
mod tests;
