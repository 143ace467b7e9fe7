//! What a handler is handed.

use crate::places::Transfers;
use crate::query::Query;
use axum::body::Body;
use http::request::Parts;
use http::{HeaderName, Method};
use portolan_auth::{Identity, Policy};
use portolan_registry::Registry;
use std::sync::Arc;

/// A request on its way to its handler.
pub(crate) struct Call {
    pub(crate) registry: Arc<Registry>,
    pub(crate) transfers: Arc<Transfers>,
    /// Method, headers and target.
    pub(crate) parts: Parts,
    pub(crate) query: Query,
    pub(crate) body: Body,
    pub(crate) identity: Identity,
    pub(crate) policy: Arc<Policy>,
}

impl Call {
    pub(crate) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// A header's value, if it is there and is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
