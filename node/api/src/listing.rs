//! Tags, repositories and referrers.

use crate::call::Call;
use crate::errors::ApiError;
use crate::headers;
use crate::query::encode;
use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use portolan_oci::media_type::OCI_INDEX;
use portolan_oci::{Descriptor, Digest, Page, RepoName, Tag};
use portolan_registry::Stale;
use serde::Serialize;
use std::fmt::Display;

/// The media type of most answers.
pub(crate) const JSON: &str = "application/json";

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a RepoName,
    tags: Vec<Tag>,
}

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<RepoName>,
}

/// The image index that a list of referrers is (distribution-spec 1.1, "Listing Referrers").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrersIndex {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// `GET /v2/NAME/tags/list`.
pub(crate) async fn tags(call: Call, repo: RepoName) -> Result<Response<Body>, ApiError> {
    let page = page(&call)?;
    let last: Option<Tag> = page.last.as_deref().map(str::parse).transpose()?;
    let listing = call.registry.tags(&repo, Some(page.n.get()), last.as_ref()).await?;
    let next = next(listing.more, listing.entries.last(), &format!("/v2/{repo}/tags/list"), &page);
    let mut response = json(&TagList { name: &repo, tags: listing.entries }, JSON);
    finish(&mut response, next, listing.stale);
    Ok(response)
}

/// `GET /v2/_catalog`.
pub(crate) async fn catalog(call: Call) -> Result<Response<Body>, ApiError> {
    let page = page(&call)?;
    let last: Option<RepoName> = page.last.as_deref().map(str::parse).transpose()?;
    let listing = call.registry.catalog(Some(page.n.get()), last.as_ref()).await?;
    let next = next(listing.more, listing.entries.last(), "/v2/_catalog", &page);
    let mut response = json(&Catalog { repositories: listing.entries }, JSON);
    finish(&mut response, next, listing.stale);
    Ok(response)
}

/// `GET /v2/NAME/referrers/DIGEST`.
pub(crate) async fn referrers(call: Call, repo: RepoName, subject: Digest) -> Result<Response<Body>, ApiError> {
    let artifact_type = call.query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let (page, n) = (page(&call)?, call.query.get("n"));
    let last: Option<Digest> = page.last.as_deref().map(str::parse).transpose()?;
    let most = n.map(|_| page.n.get());
    let listing = call.registry.referrers(&repo, &subject, artifact_type, most, last.as_ref()).await?;
    let next = listing.entries.last().filter(|_| listing.more).map(|last| {
        let filter = artifact_type.map(|wanted| format!("&artifactType={}", encode(wanted))).unwrap_or_default();
        let n = n.map(|_| format!("n={}&", page.n.get())).unwrap_or_default();
        format!("/v2/{repo}/referrers/{subject}?{n}last={}{filter}", last.digest)
    });
    let manifests = listing
        .entries
        .into_iter()
        .map(|referrer| Descriptor {
            media_type: referrer.media_type,
            digest: referrer.digest,
            size: referrer.size,
            artifact_type: referrer.artifact_type,
            annotations: referrer.annotations,
        })
        .collect();
    let index = ReferrersIndex { schema_version: 2, media_type: OCI_INDEX, manifests };
    let mut response = json(&index, OCI_INDEX);
    if artifact_type.is_some() {
        response.headers_mut().insert(headers::FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    finish(&mut response, next, listing.stale);
    Ok(response)
}

/// The page that a query asks for.
pub(crate) fn page(call: &Call) -> Result<Page, ApiError> {
    let limit = call.registry.config().limits.page_entries.max(1);
    Ok(Page::parse(call.query.get("n"), call.query.get("last"), limit)?)
}

fn next<T: Display>(more: bool, last: Option<&T>, path: &str, page: &Page) -> Option<String> {
    let last = last.filter(|_| more)?;
    Some(format!("{path}?n={}&last={}", page.n.get(), encode(&last.to_string())))
}

fn finish(response: &mut Response<Body>, next: Option<String>, stale: Option<Stale>) {
    if let Some(next) = next {
        headers::next_page(response.headers_mut(), &next);
    }
    headers::stale(response.headers_mut(), stale);
}

/// A report with how old it may be: programs look for that in what they keep, and it stands in the headers as everywhere.
#[derive(Serialize)]
pub(crate) struct Marked<'a, T> {
    #[serde(flatten)]
    pub(crate) report: &'a T,
    /// In milliseconds; `null` when a leader confirmed it.
    pub(crate) stale_ms: Option<u64>,
}

/// A report that may be stale, as JSON.
pub(crate) fn marked(report: &impl Serialize, stale: Option<Stale>) -> Response<Body> {
    let stale_ms = stale.map(|stale| u64::try_from(stale.age.as_millis()).unwrap_or(u64::MAX));
    let mut response = json(&Marked { report, stale_ms }, JSON);
    headers::stale(response.headers_mut(), stale);
    response
}

/// A JSON answer. Nothing that is answered here can fail to serialise: there are no maps with other keys than strings.
pub(crate) fn json(value: &impl Serialize, media_type: &'static str) -> Response<Body> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let length = bytes.len();
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
