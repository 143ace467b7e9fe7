//! One request and its answer, whoever answers: a node, or in tests something that stands in for one.

use crate::history::Seen;
use crate::truth::{Blob, Comparison};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderName;
use std::ops::Range;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The node that is asked.
    pub(super) node: usize,
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) load: Load,
    /// What a blob's bytes must be.
    pub(super) against: Option<Against>,
}

impl Ask {
    /// A request without a body.
    pub(super) fn new(node: usize, method: Method, path: String) -> Self {
        Self { node, method, path, headers: Vec::new(), load: Load::Nothing, against: None }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn load(self, load: Load) -> Self {
        Self { load, ..self }
    }

    pub(super) fn against(self, blob: Blob, range: Option<Range<u64>>) -> Self {
        Self { against: Some(Against { blob, range }), ..self }
    }
}

/// A request's body.
#[derive(Clone, Debug)]
pub(super) enum Load {
    Nothing,
    Bytes(Bytes),
    /// Some bytes of a blob, in pieces.
    Part {
        blob: Blob,
        range: Range<u64>,
        /// The connection breaks after so many bytes.
        cut: Option<u64>,
    },
}

/// The blob that is asked for, and which part.
#[derive(Clone, Debug)]
pub(super) struct Against {
    blob: Blob,
    range: Option<Range<u64>>,
}

impl Against {
    /// The bytes that an answer with this status announces: a range may be answered with everything.
    pub(super) fn expected(&self, status: u16) -> Range<u64> {
        match &self.range {
            Some(range) if status == 206 => range.clone(),
            _ => 0..self.blob.size,
        }
    }

    pub(super) fn compare(&self, status: u16) -> Comparison {
        self.blob.compare(self.expected(status).start)
    }

    /// `Content-Range` of an answer with a part.
    pub(super) fn content_range(&self) -> String {
        let range = self.expected(206);
        format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), self.blob.size)
    }
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) seen: Seen,
    /// `Location`.
    pub(super) location: Option<String>,
    /// `Range`, of an upload's status.
    pub(super) range: Option<String>,
    /// The body, where it is not a blob's.
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn is(&self, status: u16) -> bool {
        self.seen.status == Some(status)
    }

    /// Whether there is an answer, and it is a success.
    pub(super) fn is_ok(&self) -> bool {
        self.seen.status.is_some_and(|status| (200..300).contains(&status)) && self.seen.whole
    }
}

/// Who answers. There are two: the nodes, and what stands in for them in tests.
pub(super) trait Door {
    /// Asks once; never twice, whatever breaks.
    async fn ask(&self, ask: Ask) -> Answer;
}

impl<D: Door> Door for std::sync::Arc<D> {
    async fn ask(&self, ask: Ask) -> Answer {
        self.as_ref().ask(ask).await
    }
}
