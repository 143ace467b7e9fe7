//! The metadata state machine: `(view, command) -> (writes, outcome)`.
//!
//! PURE: no clock, no randomness, no IO, no async. Time and identity travel in the command.

pub mod command;
pub mod family;
pub mod id;
pub mod outcome;
pub mod row;
pub mod view;
