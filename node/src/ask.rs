//! A question to a node, and its answer, whatever carries them.

use crate::remarks::Remarks;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use std::time::Duration;

/// How long a question to a node may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A question to a node.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: &'a str,
    /// The admin token, for changes.
    pub(crate) token: Option<&'a str>,
    /// JSON.
    pub(crate) body: Option<String>,
    /// How long the whole answer may take.
    pub(crate) within: Duration,
}

impl<'a> Ask<'a> {
    /// A GET.
    pub(crate) const fn get(target: &'a str) -> Self {
        Self { method: Method::GET, target, token: None, body: None, within: TIMEOUT }
    }
}

/// What was answered.
pub(crate) struct Answered {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
    /// What its headers say about it.
    pub(crate) remarks: Remarks,
}

/// What is encoded in a value of a query: what names, digests and lists have stays readable.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b',');

/// A value of a query, percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn a_value_keeps_what_names_and_digests_have_and_nothing_that_ends_it() {
        for (text, want) in [
            ("team/app:v1", "team/app:v1"),
            ("a@sha256:12", "a@sha256:12"),
            ("a,b", "a,b"),
            ("a b&c=d#e", "a%20b%26c%3Dd%23e"),
            ("é%+", "%C3%A9%25%2B"),
        ] {
            assert_eq!(encode(text), want);
        }
    }
}
