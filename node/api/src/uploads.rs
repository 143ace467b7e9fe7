//! `/v2/NAME/blobs/uploads/`: sessions, whole blobs, mounts.

use crate::call::Call;
use crate::errors::ApiError;
use crate::headers;
use crate::route::RouteError;
use axum::body::Body;
use futures::{StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderValue, Response, StatusCode};
use portolan_auth::Action;
use portolan_oci::{ContentRange, Digest, RepoName};
use portolan_registry::{BodyError, Chunk, Mounted, RegistryError, UploadBody, UploadId, UploadProgress};

/// `POST`: a session, or with `?digest=` the whole blob at once.
pub(crate) async fn start(call: Call, repo: RepoName) -> Result<Response<Body>, ApiError> {
    let Some(digest) = call.query.get("digest") else {
        let progress = call.registry.upload_start(&repo).await?;
        return Ok(accepted(&repo, &progress));
    };
    let digest: Digest = digest.parse()?;
    let chunk = Chunk { range: None, length: content_length(&call) };
    call.registry.upload_whole(&repo, digest, chunk, upload_body(call.body)).await?;
    Ok(headers::blob_created(&repo, &digest))
}

/// `POST ?mount=`, with or without `from=`. Without, the blob is looked for where the caller may read it anyway, so that
/// nobody learns what other repositories hold.
pub(crate) async fn mount(
    call: Call,
    repo: RepoName,
    from: Option<RepoName>,
    digest: Digest,
) -> Result<Response<Body>, ApiError> {
    let from = match from {
        Some(from) => vec![from],
        None => {
            let mut shown = call.registry.mount_sources(&digest)?;
            shown.retain(|repo| {
                let read = Action::ReadBlob { repo: repo.clone(), digest };
                call.policy.permit(&call.identity, &read).is_ok()
            });
            shown
        }
    };
    Ok(match call.registry.mount(&repo, &from, &digest).await? {
        Mounted::Yes => headers::blob_created(&repo, &digest),
        Mounted::No(progress) => accepted(&repo, &progress),
    })
}

/// `GET` on a session.
pub(crate) async fn status(call: Call, repo: RepoName, session: &str) -> Result<Response<Body>, ApiError> {
    let progress = call.registry.upload_status(&repo, id(session)?).await?;
    let mut response = headers::empty(StatusCode::NO_CONTENT);
    headers::session(response.headers_mut(), &repo, &progress);
    Ok(response)
}

/// `PATCH` on a session: a chunk, or without `Content-Range` a stream to the end.
pub(crate) async fn append(call: Call, repo: RepoName, session: &str) -> Result<Response<Body>, ApiError> {
    let id = id(session)?;
    let chunk = chunk(&call)?;
    let progress = call.registry.upload_append(&repo, id, chunk, upload_body(call.body)).await?;
    Ok(accepted(&repo, &progress))
}

/// `PUT` on a session: the last chunk, or nothing, and the digest.
pub(crate) async fn finish(call: Call, repo: RepoName, session: &str) -> Result<Response<Body>, ApiError> {
    let digest: Digest = call.query.get("digest").ok_or(RouteError::Missing("digest"))?.parse()?;
    let id = id(session)?;
    let chunk = chunk(&call)?;
    call.registry.upload_finish(&repo, id, digest, chunk, upload_body(call.body)).await?;
    Ok(headers::blob_created(&repo, &digest))
}

/// `DELETE` on a session.
pub(crate) async fn cancel(call: Call, repo: RepoName, session: &str) -> Result<Response<Body>, ApiError> {
    call.registry.upload_cancel(&repo, id(session)?).await?;
    Ok(headers::empty(StatusCode::NO_CONTENT))
}

fn accepted(repo: &RepoName, progress: &UploadProgress) -> Response<Body> {
    let mut response = headers::empty(StatusCode::ACCEPTED);
    headers::session(response.headers_mut(), repo, progress);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// What is no session's name names a session that nobody knows.
fn id(session: &str) -> Result<UploadId, RegistryError> {
    session.parse().map_err(|_| RegistryError::UploadUnknown(session.chars().take(64).collect()))
}

/// What the request says about its body. A `Content-Range` with an empty body is what some clients send along with the
/// closing PUT; it says nothing then.
fn chunk(call: &Call) -> Result<Chunk, ApiError> {
    let length = content_length(call);
    let range = match call.header(&CONTENT_RANGE) {
        Some(_) if length == Some(0) => None,
        Some(range) => Some(ContentRange::parse(range)?),
        None => None,
    };
    Ok(Chunk { range, length })
}

fn content_length(call: &Call) -> Option<u64> {
    call.header(&CONTENT_LENGTH)?.parse().ok()
}

fn upload_body(body: Body) -> UploadBody {
    body.into_data_stream().map_err(|error| BodyError(Box::new(error))).boxed()
}
