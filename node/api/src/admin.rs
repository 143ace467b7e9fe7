//! `/api/v1/`: the cluster as data, and what is wanted of it.

use crate::call::Call;
use crate::errors::ApiError;
use crate::listing::{JSON, json};
use crate::route::RouteError;
use crate::{bandwidth, history, images, leader, openapi, repos};
use axum::body::Body;
use http::Response;
use portolan_auth::AdminResource;

pub(crate) async fn read(call: Call, resource: AdminResource) -> Result<Response<Body>, ApiError> {
    // Held until the answer is there: anybody may ask, and making it is dear.
    let _place = match resource {
        AdminResource::Repos | AdminResource::Replication | AdminResource::Rpo => Some(call.transfers.reports.take()?),
        AdminResource::Cluster
        | AdminResource::Leader
        | AdminResource::Wait
        | AdminResource::History
        | AdminResource::Bandwidth
        | AdminResource::OpenApi => None,
    };
    match resource {
        AdminResource::Cluster => Ok(json(&call.registry.cluster_report()?, JSON)),
        AdminResource::Leader => leader::read(&call),
        AdminResource::Repos => repos::read(call).await,
        AdminResource::Replication => images::status(call).await,
        AdminResource::Wait => images::wait(call).await,
        AdminResource::History => history::read(call).await,
        AdminResource::Rpo => Ok(json(&*call.registry.rpo().await?, JSON)),
        AdminResource::Bandwidth => bandwidth::read(call).await,
        AdminResource::OpenApi => Ok(openapi::description()),
    }
}

/// Any other method than GET and HEAD; those that a resource lacks are refused only after the caller was.
pub(crate) async fn change(call: Call, resource: AdminResource) -> Result<Response<Body>, ApiError> {
    match resource {
        AdminResource::Repos => repos::change(call).await,
        AdminResource::Bandwidth => bandwidth::change(call).await,
        AdminResource::Leader => leader::change(call).await,
        AdminResource::Cluster
        | AdminResource::Replication
        | AdminResource::Wait
        | AdminResource::History
        | AdminResource::Rpo
        | AdminResource::OpenApi => Err(RouteError::Method { allow: "GET, HEAD" }.into()),
    }
}
