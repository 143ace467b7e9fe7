//! `/v2/NAME/manifests/REFERENCE`.

use crate::call::Call;
use crate::errors::ApiError;
use crate::headers;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portolan_oci::{Reference, RepoName, Tag};
use portolan_registry::config::TAGS_PER_PUSH;
use portolan_registry::{BodyError, ManifestPush, RegistryError};
use std::time::Duration;
use tokio::time::timeout;

pub(crate) async fn read(call: Call, repo: RepoName, reference: Reference) -> Result<Response<Body>, ApiError> {
    let manifest = call.registry.manifest(&repo, &reference).await?;
    let mut response = if headers::has_already(&call.parts.headers, &manifest.digest) {
        headers::empty(StatusCode::NOT_MODIFIED)
    } else {
        let length = manifest.bytes.len();
        let body = if call.is_head() { Body::empty() } else { Body::from(manifest.bytes) };
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, headers::text(&manifest.media_type));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    };
    headers::content(response.headers_mut(), &manifest.digest);
    headers::stale(response.headers_mut(), manifest.stale);
    Ok(response)
}

pub(crate) async fn put(call: Call, repo: RepoName, reference: Reference) -> Result<Response<Body>, ApiError> {
    let tags = call.query.all("tag").map(str::parse).collect::<Result<Vec<Tag>, _>>()?;
    let moved = tags.len() + usize::from(matches!(reference, Reference::Tag(_)));
    if moved > TAGS_PER_PUSH {
        return Err(ApiError::TooManyTags { limit: TAGS_PER_PUSH });
    }
    let content_type = call.header(&CONTENT_TYPE).map(str::to_owned);
    let by = call.identity.to_string();
    let config = call.registry.config();
    let bytes = whole(call.body, config.limits.manifest_bytes, config.uploads.idle_timeout_ms).await?;
    let push = ManifestPush { reference: reference.clone(), content_type, bytes, tags: tags.clone(), by };
    let answer = call.registry.put_manifest(&repo, push).await?;
    let mut response = headers::empty(StatusCode::CREATED);
    let out = response.headers_mut();
    out.insert(LOCATION, headers::text(format!("/v2/{repo}/manifests/{reference}")));
    out.insert(headers::CONTENT_DIGEST, headers::text(answer.digest.to_string()));
    out.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Some(subject) = answer.subject {
        out.insert(headers::SUBJECT, headers::text(subject.to_string()));
    }
    for tag in tags {
        out.append(headers::TAG, headers::text(tag.as_str()));
    }
    Ok(response)
}

pub(crate) async fn delete(call: Call, repo: RepoName, reference: Reference) -> Result<Response<Body>, ApiError> {
    let deleted = call.registry.delete_manifest(&repo, &reference, &call.identity.to_string()).await?;
    Ok(gone(&deleted.silent))
}

/// 202, with the nodes that did not confirm the delete in time.
pub(crate) fn gone(silent: &[String]) -> Response<Body> {
    let mut response = headers::empty(StatusCode::ACCEPTED);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if !silent.is_empty() {
        let message = format!("these nodes may serve it a little longer: {}", silent.join(", "));
        headers::warn(response.headers_mut(), &message);
    }
    response
}

/// A manifest's bytes, never more than the limit in memory. A client that falls silent is not waited for.
async fn whole(body: Body, limit: u64, idle_ms: u64) -> Result<Bytes, RegistryError> {
    // What announces more is refused before it is sent.
    if body.size_hint().lower() > limit {
        return Err(RegistryError::ManifestTooLarge { limit });
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut body = Limited::new(body, most);
    let mut bytes = BytesMut::new();
    loop {
        let next = timeout(Duration::from_millis(idle_ms), body.frame()).await;
        match next.map_err(|_| RegistryError::Idle { idle_ms })? {
            None => return Ok(bytes.freeze()),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    bytes.extend_from_slice(data);
                }
            }
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(RegistryError::ManifestTooLarge { limit });
            }
            Some(Err(error)) => return Err(BodyError(error).into()),
        }
    }
}
