//! What an answer says about itself: warnings, and that no leader confirmed it.

use reqwest::header::{AGE, HeaderMap, WARNING};
use serde::Deserialize;
use std::time::Duration;

/// What is told of an answer that is marked without a word.
const UNCONFIRMED: &str = "no leader confirmed this answer; it may be out of date";

/// What an answer says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remarks {
    /// What a person should know.
    warnings: Vec<String>,
    /// How long ago a leader confirmed what it says; `None` when it did now.
    pub(crate) stale: Option<Duration>,
}

/// A report that marks itself.
#[derive(Deserialize)]
struct Mark {
    #[serde(default)]
    stale_ms: Option<u64>,
}

impl Remarks {
    /// Those of the headers of an answer. An `Age` alone is any cache's; beside a `Warning` it is a node's mark.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let values = headers.get_all(WARNING).iter().filter_map(|value| value.to_str().ok());
        let warnings: Vec<String> = values.map(|value| warning(value).to_owned()).collect();
        let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
        let stale = age.filter(|_| !warnings.is_empty()).map(Duration::from_secs);
        Self { warnings, stale }
    }

    /// With what its JSON says: the waits of a node have no such headers, and a header counts in seconds.
    pub(crate) fn with_json(self, json: &str) -> Self {
        let mark = serde_json::from_str::<Mark>(json).ok().and_then(|mark| mark.stale_ms);
        Self { stale: mark.map(Duration::from_millis).or(self.stale), ..self }
    }

    /// Those of several answers that are shown as one.
    pub(crate) fn with(mut self, other: Self) -> Self {
        let new = other.warnings.into_iter().filter(|warning| !self.warnings.contains(warning));
        let new: Vec<String> = new.collect();
        self.warnings.extend(new);
        Self { stale: self.stale.max(other.stale), ..self }
    }

    /// How old it may be, in milliseconds, as reports have it.
    pub(crate) fn stale_ms(&self) -> Option<u64> {
        self.stale.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    /// One line for each thing that a person should know.
    pub(crate) fn warnings(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.warnings.iter().map(String::as_str).collect();
        if self.stale.is_some() && lines.is_empty() {
            lines.push(UNCONFIRMED);
        }
        lines
    }
}

/// The text of a `Warning: 299 - "text"`.
fn warning(value: &str) -> &str {
    let text = value.splitn(3, ' ').nth(2).unwrap_or(value);
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Remarks, UNCONFIRMED};
    use reqwest::header::{AGE, HeaderMap, WARNING};
    use std::time::Duration;

    fn headers(warnings: &[&'static str], age: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for warning in warnings {
            headers.append(WARNING, warning.parse().unwrap());
        }
        if let Some(age) = age {
            headers.insert(AGE, age.parse().unwrap());
        }
        headers
    }

    #[test]
    fn an_answer_is_stale_when_a_node_says_so_and_not_when_a_cache_does() {
        let told = "299 - \"no leader: old\"";
        for (warnings, age, want, words) in [
            (&[][..], None, None, &[][..]),
            (&[], Some("7"), None, &[]),
            (&[told], Some("7"), Some(7), &["no leader: old"]),
            (&[told], None, None, &["no leader: old"]),
            (&["299 - \"a\"", "odd"], Some("0"), Some(0), &["a", "odd"]),
        ] {
            let remarks = Remarks::of_headers(&headers(warnings, age));
            assert_eq!(remarks.stale, want.map(Duration::from_secs), "{warnings:?} {age:?}");
            assert_eq!(remarks.warnings(), words);
        }
    }

    #[test]
    fn a_report_that_marks_itself_is_stale_without_headers_too() {
        for (json, want, words) in [
            (r#"{"done":true,"stale_ms":1500}"#, Some(1_500), &[UNCONFIRMED][..]),
            (r#"{"done":true,"stale_ms":null}"#, None, &[]),
            (r#"{"done":true}"#, None, &[]),
        ] {
            let remarks = Remarks::default().with_json(json);
            assert_eq!(remarks.stale, want.map(Duration::from_millis), "{json}");
            assert_eq!(remarks.warnings(), words, "{json}");
        }
    }

    #[test]
    fn several_answers_are_as_old_as_the_oldest_and_warn_of_a_thing_once() {
        let stale = Remarks::of_headers(&headers(&["299 - \"old\""], Some("3")));
        let older = Remarks::of_headers(&headers(&["299 - \"old\""], Some("5")));
        let all = Remarks::default().with(stale).with(older).with(Remarks::default());
        assert_eq!((all.stale, all.warnings()), (Some(Duration::from_secs(5)), vec!["old"]));
    }
}
