//! How much may be under way at once, and what of a body is too much already by its head.

use crate::errors::ApiError;
use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use portolan_auth::Action;
use portolan_oci::ContentRange;
use portolan_registry::RegistryError;
use portolan_registry::config::Limits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to be under way; given back when it is dropped.
pub(crate) type Place = OwnedSemaphorePermit;

/// A number of places.
#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    what: &'static str,
    limit: usize,
}

impl Places {
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(limit)), what, limit }
    }

    /// One of them, or a refusal at once: who waited in line here would hold its connection, and other nodes may have
    /// places.
    pub(crate) fn take(&self) -> Result<Place, ApiError> {
        let taken = Arc::clone(&self.free).try_acquire_owned();
        taken.map_err(|_| ApiError::Busy { what: self.what, limit: self.limit })
    }
}

/// The places of blobs on their way in and out.
pub(crate) struct Transfers {
    uploads: Places,
    /// Bodies of blobs on their way to clients.
    pub(crate) downloads: Places,
    /// Requests that wait for an image to arrive.
    pub(crate) waits: Places,
    /// Requests for reports that take long to make.
    pub(crate) reports: Places,
    blob_bytes: u64,
}

impl Transfers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            uploads: Places::new("bodies of uploads", limits.uploads),
            downloads: Places::new("downloads of blobs", limits.downloads),
            waits: Places::new("waits for images", limits.waits),
            reports: Places::new("reports", limits.reports),
            blob_bytes: limits.blob_bytes,
        }
    }

    /// A place for the body of an upload, unless there is none or the request announces more than a blob may have. It is
    /// decided before any of the body is read, so that a client that waits for `100 Continue` sends nothing in vain.
    pub(crate) fn admit(&self, action: &Action, headers: &HeaderMap, body: &Body) -> Result<Option<Place>, ApiError> {
        let brings_bytes = match action {
            Action::StartUpload { .. } | Action::AppendUpload { .. } | Action::FinishUpload { .. } => {
                !body.is_end_stream()
            }
            _ => false,
        };
        if !brings_bytes {
            return Ok(None);
        }
        if announced(headers) > self.blob_bytes {
            return Err(RegistryError::BlobTooLarge { limit: self.blob_bytes }.into());
        }
        self.uploads.take().map(Some)
    }
}

/// The length that the blob has at least, by the request's head.
fn announced(headers: &HeaderMap) -> u64 {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let length = text(&CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or_default();
    // What is no range is refused where it is needed.
    let end =
        text(&CONTENT_RANGE).and_then(|range| ContentRange::parse(range).ok()).map_or(0, |range| range.last() + 1);
    end.max(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Places, Transfers, announced};
    use crate::errors::ApiError;
    use axum::body::Body;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use portolan_auth::Action;
    use portolan_registry::RegistryError;
    use portolan_registry::config::Limits;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn a_place_is_free_again_once_it_is_dropped() {
        let places = Places::new("things", 2);
        let held = (places.take().unwrap(), places.take().unwrap());
        assert!(matches!(places.take(), Err(ApiError::Busy { what: "things", limit: 2 })));
        drop(held.0);
        assert!(places.take().is_ok());
    }

    #[test]
    fn the_head_of_a_request_tells_how_long_the_blob_is_at_least() {
        let cases: [(&[(&'static str, &str)], u64); 6] = [
            (&[], 0),
            (&[("content-length", "7")], 7),
            (&[("content-length", "seven")], 0),
            (&[("content-length", "7"), ("content-range", "100-106")], 107),
            (&[("content-range", "0-18446744073709551614")], u64::MAX),
            (&[("content-range", "nonsense"), ("content-length", "3")], 3),
        ];
        for (list, want) in cases {
            assert_eq!(announced(&headers(list)), want, "{list:?}");
        }
    }

    #[test]
    fn only_bodies_of_uploads_take_their_places() {
        let transfers = Transfers::new(&Limits { uploads: 1, blob_bytes: 10, ..Limits::default() });
        let repo = || "a".parse().unwrap();
        let append = || Action::AppendUpload { repo: repo(), session: "x".to_owned() };
        let held = transfers.admit(&append(), &headers(&[]), &Body::from("x")).unwrap();
        assert!(held.is_some());
        let full = transfers.admit(&append(), &headers(&[]), &Body::from("x"));
        assert!(matches!(full, Err(ApiError::Busy { .. })));
        for (action, body) in [
            (append(), Body::empty()),
            (Action::StartUpload { repo: repo() }, Body::empty()),
            (Action::PutManifest { repo: repo(), reference: "t".parse().unwrap() }, Body::from("{}")),
            (Action::ReadUpload { repo: repo(), session: "x".to_owned() }, Body::from("ignored")),
        ] {
            assert!(transfers.admit(&action, &headers(&[]), &body).unwrap().is_none(), "{}", action.name());
        }
        let long = transfers.admit(&append(), &headers(&[("content-length", "11")]), &Body::from("x"));
        assert!(matches!(long, Err(ApiError::Registry(RegistryError::BlobTooLarge { limit: 10 }))));
    }
}
