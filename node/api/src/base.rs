//! `GET /v2/`: this registry speaks the protocol.

use crate::headers;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

pub(crate) fn supported() -> Response<Body> {
    let mut response = Response::new(Body::from("{}"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response.headers_mut().insert(headers::API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}
