//! The public and the ops port of real nodes, over loopback: RocksDB, files and consensus as they ship.

mod bad_days;
mod bad_input;
mod deletes;
mod listing;
mod operator;
mod pulls;
mod pushes;
mod support;
mod uploads;
