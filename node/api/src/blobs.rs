//! `/v2/NAME/blobs/DIGEST`.

use crate::body::BlobBody;
use crate::call::Call;
use crate::errors::ApiError;
use crate::headers;
use crate::manifests::gone;
use crate::places::Place;
use axum::body::Body;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, RANGE};
use http::{HeaderValue, Response, StatusCode};
use portolan_oci::range::if_range_names;
use portolan_oci::{ByteRange, Digest, RepoName};
use portolan_registry::Registry;
use portolan_replication::Source;

pub(crate) async fn read(call: Call, repo: RepoName, digest: Digest) -> Result<Response<Body>, ApiError> {
    let mut response = if headers::has_already(&call.parts.headers, &digest) {
        call.registry.blob_stat(&repo, &digest).await?;
        headers::empty(StatusCode::NOT_MODIFIED)
    } else if call.is_head() {
        let stat = call.registry.blob_stat(&repo, &digest).await?;
        described(Body::empty(), stat.size)
    } else {
        let range = asked_range(&call, &digest)?;
        let place = call.transfers.downloads.take()?;
        open(&call.registry, &repo, &digest, range, place).await?
    };
    headers::content(response.headers_mut(), &digest);
    Ok(response)
}

async fn open(
    registry: &Registry,
    repo: &RepoName,
    digest: &Digest,
    range: Option<ByteRange>,
    place: Place,
) -> Result<Response<Body>, ApiError> {
    let blob = registry.blob_open(repo, digest, range).await?;
    let length = blob.range.end - blob.range.start;
    tracing::debug!(%repo, %digest, source = blob.source.label(), "blob opened");
    let mut response = described(Body::new(BlobBody::new(blob.stream, length, place)), length);
    response.headers_mut().insert(headers::SOURCE, source(blob.source));
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let whole = format!("bytes {}-{}/{}", blob.range.start, blob.range.end.saturating_sub(1), blob.size);
        response.headers_mut().insert(CONTENT_RANGE, headers::text(whole));
    }
    Ok(response)
}

/// Where the bytes come from: `local`, `following` (a transfer that had begun), `peer` or `through` and the holder's id.
fn source(source: Source) -> HeaderValue {
    match source {
        Source::Local | Source::Following => HeaderValue::from_static(source.label()),
        Source::Peer(node) | Source::Through(node) => headers::text(format!("{} {node}", source.label())),
    }
}

/// The range that is asked for, unless `If-Range` names other content (RFC 9110, section 13.1.5).
fn asked_range(call: &Call, digest: &Digest) -> Result<Option<ByteRange>, ApiError> {
    let Some(range) = call.header(&RANGE) else { return Ok(None) };
    if call.parts.headers.get(IF_RANGE).is_some_and(|tag| !if_range_names(tag.as_bytes(), digest)) {
        return Ok(None);
    }
    Ok(ByteRange::parse(range)?)
}

fn described(body: Body, length: u64) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

pub(crate) async fn delete(call: Call, repo: RepoName, digest: Digest) -> Result<Response<Body>, ApiError> {
    let deleted = call.registry.delete_blob(&repo, &digest).await?;
    Ok(gone(&deleted.silent))
}
