//! Black-box tests: each module starts real processes and breaks something.

mod bad_days;
mod clients;
mod conformance;
mod crowd;
mod dashboards;
mod dev;
mod disk;
mod forgetting;
mod geo;
mod health;
mod kill_loop;
mod memory;
mod metrics;
mod openapi;
mod operator_cli;
mod resumption;
mod serve;
mod snapshot;
mod streaming;
mod tls;
mod top;
mod traces;
mod two_nodes;
mod wan;
mod wan_proxy;
