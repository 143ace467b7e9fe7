//! The metadata state machine: `(view, command) -> (writes, outcome)`.
//!
//! PURE: no clock, no randomness, no IO, no async. Time and identity travel in the command, so that every node that
//! applies the same log holds the same state.
//!
//! ```text
//!   Proposal ──codec──▶ log ──▶ apply(view, index, proposal) ──▶ (Writes, Outcome)
//!                                  │ reads                          │
//!                                  ▼                                ▼
//!                        View: a store, or an Overlay          one write batch
//!                        of writes over a store
//!   query, placement: the same View, read only
//! ```
//!
//! Reading order: what is stored ([`family`], [`key`], [`row`], [`id`]), what can happen ([`command`], [`outcome`],
//! [`limits`]), how it is read and written ([`view`], [`overlay`], [`codec`]), what happens ([`mod@apply`]), what can be
//! wanted and asked ([`policy`], [`policies`], [`placement`], [`query`]), and a state in memory for tests ([`memory`]).

pub mod apply;
pub mod codec;
pub mod command;
pub mod family;
pub mod id;
pub mod image;
pub mod key;
pub mod limits;
pub mod memory;
pub mod outcome;
pub mod overlay;
pub mod placement;
pub mod policies;
pub mod policy;
pub mod query;
pub mod row;
pub mod view;

pub use apply::apply;
pub use overlay::Overlay;
