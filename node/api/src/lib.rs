//! The only home of axum: the registry API, the admin API, health.
//!
//! A request walks through here once:
//!
//! ```text
//!  serve ── connection ──▶ gate: request id, limits, log line, metrics
//!                            │
//!                          route: method + path + query ──▶ auth::Action ──▶ Policy::permit
//!                            │
//!                          a handler per resource ──▶ registry (use case) ──▶ answer
//!                            │                                  │
//!                          body: bytes as they come        errors: the one table of statuses
//! ```
//!
//! What may not be here: decisions about content. Handlers turn headers into the use case's types and its answer into
//! headers.
//!
//! In reading order: `route` and `query`, `dispatch` and `call`, the handlers (`base`, `manifests`, `blobs`, `uploads`,
//! `listing`, `admin` with `repos`, `images`, `history`, `bandwidth`, `leader`, `changes` and `openapi`), `errors`, `body`, `places`, `gate` with `meter` and `span`, `ops`, `serve` with
//! `activity` and `stall`.

mod activity;
mod admin;
mod bandwidth;
mod base;
mod blobs;
mod body;
mod call;
mod changes;
mod dispatch;
mod errors;
mod gate;
mod headers;
mod history;
mod images;
mod leader;
mod listing;
mod manifests;
mod meter;
mod openapi;
mod ops;
mod places;
mod query;
mod repos;
mod route;
mod serve;
mod span;
mod stall;
mod uploads;

pub use dispatch::{PublicApi, public_router};
pub use images::duration;
pub use ops::{OpsApi, ops_router};
pub use serve::{ServeLimits, serve, tcp_incoming};
