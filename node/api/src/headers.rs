//! Header names and values that the handlers share.

use axum::body::Body;
use http::header::{AGE, CONTENT_LENGTH, ETAG, LINK, LOCATION, RANGE, WARNING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use portolan_oci::{Digest, RepoName};
use portolan_registry::{Stale, UploadProgress};
use portolan_sabotage::Sabotage;

pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(crate) const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
pub(crate) const SOURCE: HeaderName = HeaderName::from_static("portolan-source");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest `Warning` that the specification allows, in bytes.
const WARNING_BYTES: usize = 4096;

/// A header's value. What may not stand there becomes a question mark.
pub(crate) fn text(value: impl AsRef<str>) -> HeaderValue {
    let value = value.as_ref();
    HeaderValue::from_str(value).unwrap_or_else(|_| {
        let plain: String = value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        HeaderValue::from_str(&plain).unwrap_or_else(|_| HeaderValue::from_static("?"))
    })
}

/// An empty answer.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The `Range` of a session: `0-N`, N included; `0-0` also stands for no byte, as clients expect.
pub(crate) fn landed(length: u64) -> HeaderValue {
    text(format!("0-{}", length.saturating_sub(1)))
}

/// Where a session goes on, always relative.
pub(crate) fn session(headers: &mut HeaderMap, repo: &RepoName, progress: &UploadProgress) {
    let UploadProgress { id, length } = progress;
    headers.insert(LOCATION, text(format!("/v2/{repo}/blobs/uploads/{id}")));
    headers.insert(UPLOAD_UUID, text(id.to_string()));
    headers.insert(RANGE, landed(*length));
}

/// A blob that is there now.
pub(crate) fn blob_created(repo: &RepoName, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, text(format!("/v2/{repo}/blobs/{digest}")));
    headers.insert(CONTENT_DIGEST, text(digest.to_string()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// What content is addressed by.
pub(crate) fn content(headers: &mut HeaderMap, digest: &Digest) {
    headers.insert(CONTENT_DIGEST, text(digest.to_string()));
    headers.insert(ETAG, text(format!("\"{digest}\"")));
}

/// Marks an answer that no leader confirmed.
pub(crate) fn stale(headers: &mut HeaderMap, stale: Option<Stale>) {
    // Sabotaged: nobody is told.
    if let Some(Stale { age }) = stale.filter(|_| !portolan_sabotage::is(Sabotage::StaleUnmarked)) {
        warn(headers, "the cluster's leader cannot be reached; this answer may be out of date");
        headers.insert(AGE, text(age.as_secs().to_string()));
    }
}

/// Adds a warning.
pub(crate) fn warn(headers: &mut HeaderMap, message: &str) {
    let mut value = format!("299 - \"{}", message.replace(['"', '\\'], "'"));
    let mut end = value.len().min(WARNING_BYTES - 1);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.truncate(end);
    value.push('"');
    headers.append(WARNING, text(value));
}

/// Where the next page is.
pub(crate) fn next_page(headers: &mut HeaderMap, target: &str) {
    headers.insert(LINK, text(format!("<{target}>; rel=\"next\"")));
}

/// Whether a conditional request already has that content (RFC 9110, section 13.1.2: weakly compared).
pub(crate) fn has_already(headers: &HeaderMap, digest: &Digest) -> bool {
    let digest = digest.to_string();
    headers.get_all(http::header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag == "*" || tag.trim_matches('"') == digest
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{has_already, landed, text, warn};
    use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};
    use portolan_oci::Digest;

    #[test]
    fn the_range_of_a_session_includes_its_last_byte() {
        for (length, want) in [(0, "0-0"), (1, "0-0"), (2, "0-1"), (1024, "0-1023")] {
            assert_eq!(landed(length), want);
        }
    }

    #[test]
    fn a_warning_is_quoted_and_bounded() {
        let mut headers = HeaderMap::new();
        warn(&mut headers, "say \"no\"");
        assert_eq!(headers["warning"], "299 - \"say 'no'\"");
        let mut headers = HeaderMap::new();
        warn(&mut headers, &"ü".repeat(5000));
        assert!(headers["warning"].len() <= 4096);
    }

    #[test]
    fn a_value_never_breaks_a_header() {
        assert_eq!(text("a\r\nb"), "a??b");
    }

    #[test]
    fn an_etag_matches_in_every_form_clients_send() {
        let digest = Digest::sha256_of(b"x");
        for (value, want) in [
            (format!("\"{digest}\""), true),
            (format!("W/\"{digest}\""), true),
            (format!("{digest}"), true),
            (format!("\"other\", \"{digest}\""), true),
            ("*".to_owned(), true),
            ("\"other\"".to_owned(), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_str(&value).unwrap());
            assert_eq!(has_already(&headers, &digest), want, "{value}");
        }
    }
}
