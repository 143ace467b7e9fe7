//! What the admin API has, for programs that read OpenAPI 3.1. It is written by hand in `openapi.json`, and tests compare
//! it with what is answered.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};

const DESCRIPTION: &str = include_str!("../openapi.json");

/// `GET /api/v1/openapi.json`.
pub(crate) fn description() -> Response<Body> {
    let mut response = Response::new(Body::from(DESCRIPTION));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(DESCRIPTION.len()));
    response
}

#[cfg(test)]
mod tests;
