//! The one table of statuses: what each failure answers a client. Matched without `_`, so that a new failure does not
//! compile until it has a status.

use crate::headers;
use crate::route::RouteError;
use axum::body::Body;
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use portolan_auth::Denied;
use portolan_oci::{ErrorBody, ErrorCode, ErrorEntry, Invalid};
use portolan_registry::{LeaderError, PendingBlob, PolicyError, RegistryError};
use serde_json::{Value, json};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// A use case failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It has no action.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Its action is refused.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A header or a part of the query is malformed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// As much as there may be is under way: `limits.requests`, `limits.uploads`, `limits.downloads`, `limits.waits` or
    /// `limits.reports`.
    #[error("{limit} {what} are under way")]
    Busy {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A part of a query of the admin API is missing or malformed.
    #[error("the query's {key} {reason}")]
    Query {
        /// Which part.
        key: &'static str,
        /// What is wrong, and what to give instead.
        reason: String,
    },
    /// A body of the admin API is not what it takes.
    #[error("the body is not what is taken here: {0}")]
    Json(#[from] serde_json::Error),
    /// A body of the admin API is too long.
    #[error("the body has more than {limit} bytes")]
    BodyTooLong {
        /// The limit.
        limit: usize,
    },
    /// A body of the admin API ended before its end.
    #[error("the body broke off")]
    BodyBroken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A body of the admin API did not come in time.
    #[error("the body did not come within {idle_ms} ms")]
    BodySilent {
        /// How long was waited.
        idle_ms: u64,
    },
    /// A push names more tags than one may move.
    #[error("a push may move {limit} tags at once")]
    TooManyTags {
        /// The limit.
        limit: usize,
    },
}

/// Seconds after which a client may try a write again: an election takes about as long.
const RETRY_SOON: &str = "2";
/// Seconds after which a push may have found its copies.
const RETRY_PUSH: &str = "5";
/// Seconds after which too much may be little again.
const RETRY_LOAD: &str = "1";

/// What a failure looks like from outside.
struct Answer {
    status: StatusCode,
    code: ErrorCode,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Answer {
    const fn new(status: StatusCode, code: ErrorCode) -> Self {
        Self { status, code, header: None }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    fn unavailable(code: ErrorCode, seconds: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code).with(RETRY_AFTER, HeaderValue::from_static(seconds))
    }

    fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests)
            .with(RETRY_AFTER, HeaderValue::from_static(RETRY_LOAD))
    }

    /// Refused as long as something refers to it.
    fn referred() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
            .with(ALLOW, HeaderValue::from_static("GET, HEAD"))
    }
}

/// The table.
fn answer(error: &ApiError) -> Answer {
    match error {
        ApiError::Registry(error) => registry(error),
        ApiError::Route(error) => match error {
            RouteError::NoSuchPath => Answer::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported),
            RouteError::Method { allow } => Answer::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
                .with(ALLOW, HeaderValue::from_static(allow)),
            RouteError::Invalid(error) => invalid(error),
            RouteError::NoTag(_) => Answer::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            RouteError::Missing(_) => Answer::new(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        },
        ApiError::Denied(denied) => match denied {
            Denied::NeedsAdminToken => Answer::new(StatusCode::UNAUTHORIZED, denied.code())
                .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"portolan admin\"")),
        },
        ApiError::Invalid(error) => invalid(error),
        ApiError::Busy { .. } => Answer::too_many(),
        ApiError::Query { .. } | ApiError::Json(_) | ApiError::BodyBroken(_) => {
            Answer::new(StatusCode::BAD_REQUEST, ErrorCode::RequestInvalid)
        }
        ApiError::BodySilent { .. } => Answer::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::RequestInvalid),
        ApiError::BodyTooLong { .. } => Answer::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::RequestInvalid),
        // The status that the specification has for it: the tags stand in the target.
        ApiError::TooManyTags { .. } => Answer::new(StatusCode::URI_TOO_LONG, ErrorCode::TagInvalid),
    }
}

/// Clients take 416, as a range that lies outside gets, for a sign to ask again without one; 400 they take for the end.
fn invalid(error: &Invalid) -> Answer {
    let status = match error {
        Invalid::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        Invalid::Name { .. }
        | Invalid::Tag { .. }
        | Invalid::Digest { .. }
        | Invalid::ContentRange { .. }
        | Invalid::PageSize { .. } => StatusCode::BAD_REQUEST,
    };
    Answer::new(status, error.code())
}

fn registry(error: &RegistryError) -> Answer {
    use RegistryError as E;
    match error {
        E::RepoUnknown(_) | E::PolicyUnknown(_) => Answer::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        E::ManifestUnknown { .. } | E::TagNeverWas { .. } => {
            Answer::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown)
        }
        E::BlobUnknown { .. } => Answer::new(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
        E::UploadUnknown(_) => Answer::new(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
        E::ManifestInvalid(error) => Answer::new(StatusCode::BAD_REQUEST, error.code()),
        E::ManifestTooLarge { .. } | E::BlobTooLarge { .. } => {
            Answer::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid)
        }
        E::TooMany { .. } => Answer::new(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
        E::ChildrenUnknown(_) => Answer::new(StatusCode::NOT_FOUND, ErrorCode::ManifestBlobUnknown),
        E::DigestMismatch { .. } => Answer::new(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        E::SizeMismatch { .. } => Answer::new(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
        E::OutOfOrder { length, .. } => Answer::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::RangeInvalid)
            .with(RANGE, headers::landed(*length)),
        E::RangeUnsatisfiable { size } => Answer::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::RangeInvalid)
            .with(CONTENT_RANGE, headers::text(format!("bytes */{size}"))),
        E::ListedByIndex(_) | E::ReferredTo(_) => Answer::referred(),
        E::Body(_) => Answer::new(StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
        E::Idle { .. } => Answer::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid),
        E::Superseded => Answer::new(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid),
        E::TooManySessions { .. } | E::Busy(_) => Answer::too_many(),
        E::AckPending(_) => Answer::unavailable(ErrorCode::AckPending, RETRY_PUSH),
        E::NoQuorum | E::NotConfirmed | E::Unreachable(_) | E::OwnerAway(_) | E::Unplaceable(_) | E::Stopping => {
            Answer::unavailable(ErrorCode::Unavailable, RETRY_SOON)
        }
        E::RegionUnknown { .. } | E::ImageTooLarge { .. } => {
            Answer::new(StatusCode::BAD_REQUEST, ErrorCode::RequestInvalid)
        }
        E::NotWanted { .. } => Answer::new(StatusCode::CONFLICT, ErrorCode::RegionUnwanted),
        E::Policy(error) => policy(error),
        E::Leader(error) => leader(error),
        E::StorageFull => Answer::new(StatusCode::INSUFFICIENT_STORAGE, ErrorCode::StorageFull),
        E::Store(_) | E::View(_) | E::Refused(_) | E::Outcome(_) | E::OwnerFailed(_) => {
            Answer::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown)
        }
    }
}

/// What can never be is the request's fault; what only this cluster cannot keep conflicts with how it is now.
fn policy(error: &PolicyError) -> Answer {
    use PolicyError as E;
    let status = match error {
        E::RegionCount { .. }
        | E::Copies { .. }
        | E::AckOfNothing { .. }
        | E::Bound { .. }
        | E::Rate { .. }
        | E::Limits { .. } => StatusCode::BAD_REQUEST,
        E::UnknownRegion { .. }
        | E::Prefixes { .. }
        | E::AckRegions { .. }
        | E::AckCopies { .. }
        | E::VotersInOneRegion { .. }
        | E::Refused(_) => StatusCode::CONFLICT,
    };
    Answer::new(status, ErrorCode::PolicyInvalid)
}

/// What is asked for names nobody, or conflicts with how the cluster is, unless it may just be too early.
fn leader(error: &LeaderError) -> Answer {
    match error {
        LeaderError::Unknown { .. } => Answer::new(StatusCode::NOT_FOUND, ErrorCode::NodeUnfit),
        LeaderError::Unfit { .. } | LeaderError::Nobody | LeaderError::NotUnderstood { .. } => {
            Answer::new(StatusCode::CONFLICT, ErrorCode::NodeUnfit)
        }
        LeaderError::NoLeader | LeaderError::NotTaken => Answer::unavailable(ErrorCode::Unavailable, RETRY_SOON),
    }
}

/// One entry per digest where a failure is about several; `None` for the others.
fn details(error: &ApiError) -> Option<Vec<Value>> {
    let ApiError::Registry(error) = error else { return None };
    match error {
        RegistryError::ChildrenUnknown(digests) => {
            Some(digests.iter().map(|digest| json!({ "digest": digest })).collect())
        }
        RegistryError::AckPending(pending) => {
            let detail = |blob: &PendingBlob| {
                json!({
                    "digest": blob.digest,
                    "durable_on": blob.durable_in.values().flatten().collect::<Vec<_>>(),
                    "durable_in": blob.durable_in,
                    "needed": { "regions": blob.needed.regions, "copies": blob.needed.copies },
                })
            };
            Some(pending.iter().map(detail).collect())
        }
        RegistryError::ListedByIndex(parents) | RegistryError::ReferredTo(parents) => {
            Some(vec![json!({ "referrers": parents })])
        }
        RegistryError::RegionUnknown { region, known } => Some(vec![json!({ "region": region, "known": known })]),
        RegistryError::Leader(LeaderError::Unknown { node, known }) => {
            Some(vec![json!({ "node": node, "known": known })])
        }
        RegistryError::NotWanted { regions, wanted, .. } => Some(vec![json!({ "regions": regions, "wanted": wanted })]),
        _ => None,
    }
}

/// The response to a failure. A fault of the server shows its code and the request's id, and what it was goes to the
/// log here, where it is handled.
pub(crate) fn respond(error: &ApiError, request_id: &str) -> Response<Body> {
    let Answer { status, code, header } = answer(error);
    let message = if status.is_server_error() { public_message(code).to_owned() } else { error.to_string() };
    let mut entries: Vec<ErrorEntry> = details(error)
        .unwrap_or_default()
        .into_iter()
        .map(|detail| ErrorEntry { code, message: message.clone(), detail: Some(detail) })
        .collect();
    if entries.is_empty() {
        let detail = status.is_server_error().then(|| json!({ "request_id": request_id }));
        entries.push(ErrorEntry { code, message, detail });
    }
    log(status, error, request_id);
    let body = serde_json::to_vec(&ErrorBody { errors: entries }).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
}

/// ERROR means that a human must look: only for what is a defect or a broken disk.
fn log(status: StatusCode, error: &ApiError, request_id: &str) {
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => {
            tracing::error!(request_id, error = error as &(dyn std::error::Error + 'static), "request failed");
        }
        status if status.is_server_error() => tracing::warn!(request_id, %error, "request not served"),
        _ => tracing::debug!(request_id, %error, %status, "request refused"),
    }
}

fn public_message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::AckPending => "not durable enough yet; push it again",
        ErrorCode::Unavailable => "not now; try again",
        ErrorCode::StorageFull => "no room for this upload",
        _ => "the registry failed; its log says why under this request id",
    }
}

#[cfg(test)]
mod tests;
