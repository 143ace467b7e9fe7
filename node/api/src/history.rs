//! `/api/v1/history`: where a tag pointed, move by move.

use crate::call::Call;
use crate::errors::ApiError;
use crate::images::image;
use crate::listing::marked;
use axum::body::Body;
use http::Response;
use portolan_oci::Reference;

/// `GET /api/v1/history?image=REPO:TAG`.
pub(crate) async fn read(call: Call) -> Result<Response<Body>, ApiError> {
    let image = image(&call)?;
    let Reference::Tag(tag) = image.reference else {
        let reason = "names a digest, and only tags move: give repository:tag".to_owned();
        return Err(ApiError::Query { key: "image", reason });
    };
    let answer = call.registry.tag_history(&image.repo, &tag).await?;
    Ok(marked(&answer.report, answer.stale))
}
