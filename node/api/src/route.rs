//! From method, path and query to an action: one wildcard route and this parser, because repository names contain
//! slashes.

use crate::query::Query;
use http::Method;
use portolan_auth::{Action, AdminResource};
use portolan_oci::{Digest, Invalid, Reference, RepoName};

/// Why a request has no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// Nothing is there, whatever the method.
    #[error("there is nothing at this path")]
    NoSuchPath,
    /// The path exists, the method does not.
    #[error("this path answers {allow}")]
    Method {
        /// For the `Allow` header.
        allow: &'static str,
    },
    /// A part of the path or the query is malformed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It asks for what no tag is called: there is no such manifest (distribution-spec, "Pulling manifests").
    #[error("there is no such manifest: {0}")]
    NoTag(#[source] Invalid),
    /// A needed part of the query is missing.
    #[error("the query must have {0}")]
    Missing(&'static str),
}

/// The request's action below `/v2/`. `rest` is what follows the prefix, percent-decoded.
pub(crate) fn registry(method: &Method, rest: &str, query: &Query) -> Result<Action, RouteError> {
    if rest.is_empty() {
        return read_only(method, Action::Base);
    }
    if rest == "_catalog" {
        return read_only(method, Action::ListRepositories);
    }
    let segments: Vec<&str> = rest.split('/').collect();
    // The last segments decide, so that a repository may be called "blobs/uploads".
    match segments.as_slice() {
        [name @ .., "tags", "list"] => {
            let repo = repo(name)?;
            read_only(method, Action::ListTags { repo })
        }
        [name @ .., "manifests", reference] => manifests(method, repo(name)?, reference),
        [name @ .., "referrers", subject] => {
            let (repo, subject) = (repo(name)?, subject.parse()?);
            read_only(method, Action::ListReferrers { repo, subject })
        }
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => uploads(method, repo(name)?, query),
        [name @ .., "blobs", "uploads", session] => session_of(method, repo(name)?, session),
        [name @ .., "blobs", digest] => blobs(method, repo(name)?, digest.parse()?),
        _ => Err(RouteError::NoSuchPath),
    }
}

/// The request's action below `/api/v1/`.
pub(crate) fn admin(method: &Method, rest: &str) -> Result<Action, RouteError> {
    let resource = AdminResource::by_path(rest).ok_or(RouteError::NoSuchPath)?;
    // Which resources have which other methods is told only to those who may use them.
    Ok(if is_read(method) { Action::ReadAdmin { resource } } else { Action::ChangeAdmin { resource } })
}

fn repo(segments: &[&str]) -> Result<RepoName, RouteError> {
    Ok(segments.join("/").parse()?)
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn read_only(method: &Method, action: Action) -> Result<Action, RouteError> {
    if is_read(method) { Ok(action) } else { Err(RouteError::Method { allow: "GET, HEAD" }) }
}

fn manifests(method: &Method, repo: RepoName, reference: &str) -> Result<Action, RouteError> {
    let reference: Reference = reference.parse().map_err(|invalid| match invalid {
        Invalid::Tag { .. } if is_read(method) => RouteError::NoTag(invalid),
        other => RouteError::Invalid(other),
    })?;
    match *method {
        Method::GET | Method::HEAD => Ok(Action::ReadManifest { repo, reference }),
        Method::PUT => Ok(Action::PutManifest { repo, reference }),
        Method::DELETE => Ok(match reference {
            Reference::Tag(tag) => Action::DeleteTag { repo, tag },
            Reference::Digest(digest) => Action::DeleteManifest { repo, digest },
        }),
        _ => Err(RouteError::Method { allow: "GET, HEAD, PUT, DELETE" }),
    }
}

fn blobs(method: &Method, repo: RepoName, digest: Digest) -> Result<Action, RouteError> {
    match *method {
        Method::GET | Method::HEAD => Ok(Action::ReadBlob { repo, digest }),
        Method::DELETE => Ok(Action::DeleteBlob { repo, digest }),
        _ => Err(RouteError::Method { allow: "GET, HEAD, DELETE" }),
    }
}

/// A mount that does not say where from is looked for where the caller may read.
fn uploads(method: &Method, repo: RepoName, query: &Query) -> Result<Action, RouteError> {
    if *method != Method::POST {
        return Err(RouteError::Method { allow: "POST" });
    }
    match query.get("mount") {
        Some(digest) => {
            let from = query.get("from").map(str::parse).transpose()?;
            Ok(Action::MountBlob { repo, from, digest: digest.parse()? })
        }
        None => Ok(Action::StartUpload { repo }),
    }
}

fn session_of(method: &Method, repo: RepoName, session: &str) -> Result<Action, RouteError> {
    let session = session.to_owned();
    match *method {
        Method::GET | Method::HEAD => Ok(Action::ReadUpload { repo, session }),
        Method::PATCH => Ok(Action::AppendUpload { repo, session }),
        Method::PUT => Ok(Action::FinishUpload { repo, session }),
        Method::DELETE => Ok(Action::CancelUpload { repo, session }),
        _ => Err(RouteError::Method { allow: "GET, HEAD, PATCH, PUT, DELETE" }),
    }
}

/// The tag, digest or upload session that a request names, for the log.
pub(crate) fn reference(action: &Action) -> Option<String> {
    match action {
        Action::ReadManifest { reference, .. } | Action::PutManifest { reference, .. } => Some(reference.to_string()),
        Action::DeleteTag { tag, .. } => Some(tag.to_string()),
        Action::DeleteManifest { digest, .. }
        | Action::ReadBlob { digest, .. }
        | Action::DeleteBlob { digest, .. }
        | Action::MountBlob { digest, .. }
        | Action::ListReferrers { subject: digest, .. } => Some(digest.to_string()),
        Action::ReadUpload { session, .. }
        | Action::AppendUpload { session, .. }
        | Action::FinishUpload { session, .. }
        | Action::CancelUpload { session, .. } => Some(session.clone()),
        Action::Base
        | Action::ListRepositories
        | Action::ListTags { .. }
        | Action::StartUpload { .. }
        | Action::ReadAdmin { .. }
        | Action::ChangeAdmin { .. } => None,
    }
}

/// The `handler` label of the request metrics, as existing dashboards know it.
pub(crate) const fn handler_label(action: &Action) -> &'static str {
    match action {
        Action::Base => "base",
        Action::ListRepositories => "catalog",
        Action::ListTags { .. } => "tags",
        Action::ListReferrers { .. } => "referrers",
        Action::ReadManifest { .. }
        | Action::PutManifest { .. }
        | Action::DeleteTag { .. }
        | Action::DeleteManifest { .. } => "manifest",
        Action::ReadBlob { .. } | Action::DeleteBlob { .. } => "blob",
        Action::StartUpload { .. } | Action::MountBlob { .. } => "blob_upload",
        Action::ReadUpload { .. }
        | Action::AppendUpload { .. }
        | Action::FinishUpload { .. }
        | Action::CancelUpload { .. } => "blob_upload_chunk",
        Action::ReadAdmin { .. } | Action::ChangeAdmin { .. } => "admin",
    }
}

#[cfg(test)]
mod tests;
