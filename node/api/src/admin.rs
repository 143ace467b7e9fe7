//! `/api/v1/`: the cluster as data.

use crate::call::Call;
use crate::errors::ApiError;
use crate::listing::json;
use crate::openapi;
use crate::route::RouteError;
use axum::body::Body;
use http::Response;
use portolan_auth::AdminResource;

pub(crate) fn read(call: &Call, resource: AdminResource) -> Result<Response<Body>, ApiError> {
    match resource {
        AdminResource::Cluster => Ok(json(&call.registry.cluster_report()?, "application/json")),
        AdminResource::OpenApi => Ok(openapi::description()),
    }
}

/// Nothing can be changed over HTTP yet; the methods are refused only after the caller was.
pub(crate) fn change(resource: AdminResource) -> Result<Response<Body>, ApiError> {
    match resource {
        AdminResource::Cluster | AdminResource::OpenApi => Err(RouteError::Method { allow: "GET, HEAD" }.into()),
    }
}
