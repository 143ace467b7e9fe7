//! What is wanted for repositories, by prefix.

use crate::call::Call;
use crate::changes;
use crate::errors::ApiError;
use crate::headers;
use crate::listing::{JSON, json, marked, page};
use crate::query::encode;
use crate::route::RouteError;
use axum::body::Body;
use http::{Method, Response};
use portolan_registry::{Prefix, RepoSettings};

/// `GET /api/v1/repos`: all prefixes and a page of repositories; `?name=` one repository, else `?prefix=` one prefix.
pub(crate) async fn read(call: Call) -> Result<Response<Body>, ApiError> {
    // Each part is judged, whether or not it counts beside the others.
    let page = page(&call)?;
    let last = page.last.as_deref().map(str::parse).transpose()?;
    let name = call.query.get("name").map(str::parse).transpose()?;
    let prefix = call.query.get("prefix").map(Prefix::parse).transpose()?;
    let answer = match (name, prefix) {
        (Some(name), _) => call.registry.repo_settings(&name).await?,
        (None, Some(prefix)) => call.registry.prefix_settings(&prefix).await?,
        (None, None) => call.registry.repos(Some(page.n.get()), last.as_ref()).await?,
    };
    let mut response = marked(&answer.report, answer.stale);
    if let Some(next) = &answer.report.next {
        let n = call.query.get("n").map(|n| format!("n={}&", encode(n))).unwrap_or_default();
        headers::next_page(response.headers_mut(), &format!("/api/v1/repos?{n}last={}", encode(next)));
    }
    Ok(response)
}

/// `PUT` and `DELETE` of `/api/v1/repos?prefix=`: what is set there from now on.
pub(crate) async fn change(call: Call) -> Result<Response<Body>, ApiError> {
    let method = call.parts.method.clone();
    if method != Method::PUT && method != Method::DELETE {
        return Err(RouteError::Method { allow: "GET, HEAD, PUT, DELETE" }.into());
    }
    let missing = || ApiError::Query {
        key: "prefix",
        reason: "is missing: give the beginning of repository names, or nothing after prefix= for all".to_owned(),
    };
    let prefix = Prefix::parse(call.query.get("prefix").ok_or_else(missing)?)?;
    let change = if method == Method::PUT {
        let settings = changes::said::<RepoSettings>(call.body, call.registry.config().uploads.idle_timeout_ms).await?;
        call.registry.set_repos(&prefix, settings).await?
    } else {
        call.registry.clear_repos(&prefix).await?
    };
    Ok(json(&change, JSON))
}
