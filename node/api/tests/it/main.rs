//! The public and the ops port of real nodes, over loopback: RocksDB, files and consensus as they ship.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bad_clients;
mod bad_days;
mod bad_input;
mod barred;
mod conditions;
mod contracts;
mod deletes;
mod errors;
mod history;
mod hopping;
mod images;
mod leader;
mod limits;
mod listing;
mod losses;
mod media_types;
mod names;
mod operator;
mod pulls;
mod pushes;
mod raw;
mod repos;
mod storm;
mod support;
mod upload_property;
mod uploads;
