//! Tests of apply, one file per area; `world` is the state they run in, `invariants` what must hold after each step.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod blob;
mod dedupe;
mod delete;
mod invariants;
mod location;
mod manifest;
mod node;
mod property;
mod settings;
mod world;
