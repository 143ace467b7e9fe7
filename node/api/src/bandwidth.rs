//! How fast bytes may move between regions.

use crate::call::Call;
use crate::changes;
use crate::errors::ApiError;
use crate::listing::{JSON, json};
use crate::route::RouteError;
use axum::body::Body;
use http::{Method, Response};

/// `GET /api/v1/bandwidth`.
pub(crate) async fn read(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(json(&call.registry.bandwidth().await?, JSON))
}

/// `PUT /api/v1/bandwidth`: these limits from now on, and no others.
pub(crate) async fn change(call: Call) -> Result<Response<Body>, ApiError> {
    if call.parts.method != Method::PUT {
        return Err(RouteError::Method { allow: "GET, HEAD, PUT" }.into());
    }
    let wanted = changes::said(call.body, call.registry.config().uploads.idle_timeout_ms).await?;
    Ok(json(&call.registry.set_bandwidth(wanted).await?, JSON))
}
