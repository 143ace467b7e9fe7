//! The public and the ops port of real nodes, over loopback: RocksDB, files and consensus as they ship.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bad_clients;
mod bad_days;
mod bad_input;
mod deletes;
mod hopping;
mod listing;
mod operator;
mod pulls;
mod pushes;
mod support;
mod upload_property;
mod uploads;
