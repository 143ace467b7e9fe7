//! From a request to its handler: route, identify, permit, handle.

use crate::call::Call;
use crate::errors::{ApiError, respond};
use crate::gate::{Gate, RequestId, gated};
use crate::meter::Label;
use crate::places::Transfers;
use crate::query::{Query, decode_path};
use crate::route::{RouteError, admin as admin_route, registry as registry_route};
use crate::{admin, base, blobs, headers, listing, manifests, meter, uploads};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use http::header::AUTHORIZATION;
use http::{Method, Response};
use portolan_auth::{Action, Policy};
use portolan_registry::Registry;
use std::sync::Arc;

/// What the public port serves.
#[derive(Clone)]
pub struct PublicApi {
    /// The use cases.
    pub registry: Arc<Registry>,
    /// Who may do what.
    pub policy: Arc<Policy>,
}

/// What every request is served from.
#[derive(Clone)]
struct Served {
    api: PublicApi,
    transfers: Arc<Transfers>,
}

/// The public router: `/v2/` and `/api/v1/`, behind the gate that numbers, limits, logs and measures requests.
pub fn public_router(api: PublicApi) -> Router {
    meter::describe();
    let limits = &api.registry.config().limits;
    let gate = Arc::new(Gate::new(limits.requests, Arc::clone(api.registry.traffic())));
    let transfers = Arc::new(Transfers::new(limits));
    Router::new()
        .route("/v2", any(serve_registry))
        .route("/v2/", any(serve_registry))
        .route("/v2/{*rest}", any(serve_registry))
        .route("/api/v1/{*rest}", any(serve_admin))
        .fallback(nothing)
        .with_state(Served { api, transfers })
        .layer(from_fn_with_state(gate, gated))
}

async fn nothing(request: Request) -> Response<Body> {
    failed(&request, &RouteError::NoSuchPath.into())
}

async fn serve_registry(State(served): State<Served>, request: Request) -> Response<Body> {
    let namespace = Query::of(request.uri()).get("ns").map(headers::text);
    let mut response = serve(&served, request, "/v2", registry_route).await;
    response.headers_mut().insert(headers::API_VERSION, http::HeaderValue::from_static("registry/2.0"));
    if let Some(namespace) = namespace {
        response.headers_mut().insert(headers::NAMESPACE, namespace);
    }
    response
}

async fn serve_admin(State(served): State<Served>, request: Request) -> Response<Body> {
    serve(&served, request, "/api/v1", |method, rest, _| admin_route(method, rest)).await
}

async fn serve(
    served: &Served,
    request: Request,
    prefix: &str,
    route: impl Fn(&Method, &str, &Query) -> Result<Action, RouteError>,
) -> Response<Body> {
    let Served { api, transfers } = served;
    let query = Query::of(request.uri());
    let path = request.uri().path().strip_prefix(prefix).unwrap_or_default();
    let path = decode_path(path.strip_prefix('/').unwrap_or(path));
    let action = match route(request.method(), &path, &query) {
        Ok(action) => action,
        Err(error) => return failed(&request, &error.into()),
    };
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let identity = api.policy.identify(authorization);
    if let Err(denied) = api.policy.permit(&identity, &action) {
        tracing::info!(%identity, action = action.name(), "denied");
        return failed(&request, &denied.into());
    }
    let id = request_id(&request);
    if let Some(label) = request.extensions().get::<Label>() {
        label.set(&action);
    }
    let (parts, body) = request.into_parts();
    // The place of an upload is held until all of it was taken, or refused.
    let answer = match transfers.admit(&action, &parts.headers, &body) {
        Ok(_place) => {
            let (registry, transfers) = (Arc::clone(&api.registry), Arc::clone(transfers));
            let policy = Arc::clone(&api.policy);
            handle(action, Call { registry, transfers, parts, query, body, identity, policy }).await
        }
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| respond(&error, &id))
}

async fn handle(action: Action, call: Call) -> Result<Response<Body>, ApiError> {
    match action {
        Action::Base => Ok(base::supported()),
        Action::ListRepositories => listing::catalog(call).await,
        Action::ListTags { repo } => listing::tags(call, repo).await,
        Action::ListReferrers { repo, subject } => listing::referrers(call, repo, subject).await,
        Action::ReadManifest { repo, reference } => manifests::read(call, repo, reference).await,
        Action::PutManifest { repo, reference } => manifests::put(call, repo, reference).await,
        Action::DeleteTag { repo, tag } => manifests::delete(call, repo, tag.into()).await,
        Action::DeleteManifest { repo, digest } => manifests::delete(call, repo, digest.into()).await,
        Action::ReadBlob { repo, digest } => blobs::read(call, repo, digest).await,
        Action::DeleteBlob { repo, digest } => blobs::delete(call, repo, digest).await,
        Action::StartUpload { repo } => uploads::start(call, repo).await,
        Action::MountBlob { repo, from, digest } => uploads::mount(call, repo, from, digest).await,
        Action::ReadUpload { repo, session } => uploads::status(call, repo, &session).await,
        Action::AppendUpload { repo, session } => uploads::append(call, repo, &session).await,
        Action::FinishUpload { repo, session } => uploads::finish(call, repo, &session).await,
        Action::CancelUpload { repo, session } => uploads::cancel(call, repo, &session).await,
        Action::ReadAdmin { resource } => admin::read(call, resource).await,
        Action::ChangeAdmin { resource } => admin::change(call, resource).await,
    }
}

fn request_id(request: &Request) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.to_string()).unwrap_or_default()
}

fn failed(request: &Request, error: &ApiError) -> Response<Body> {
    respond(error, &request_id(request))
}
