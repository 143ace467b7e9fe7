//! Who leads, and who shall.

use crate::call::Call;
use crate::changes;
use crate::errors::ApiError;
use crate::listing::{JSON, json};
use crate::route::RouteError;
use axum::body::Body;
use http::{Method, Response};
use portolan_registry::LeaderWanted;

/// `GET /api/v1/cluster/leader`.
pub(crate) fn read(call: &Call) -> Result<Response<Body>, ApiError> {
    Ok(json(&call.registry.leader()?, JSON))
}

/// `PUT /api/v1/cluster/leader`: answers once the wanted node leads.
pub(crate) async fn change(call: Call) -> Result<Response<Body>, ApiError> {
    if call.parts.method != Method::PUT {
        return Err(RouteError::Method { allow: "GET, HEAD, PUT" }.into());
    }
    let wanted = changes::said::<LeaderWanted>(call.body, call.registry.config().uploads.idle_timeout_ms).await?;
    Ok(json(&call.registry.set_leader(&wanted).await?, JSON))
}
