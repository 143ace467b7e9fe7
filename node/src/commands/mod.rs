//! What each command does.

mod asked;
pub(crate) mod bandwidth;
pub(crate) mod cluster;
mod demo;
pub(crate) mod dev;
pub(crate) mod image;
pub(crate) mod leader;
pub(crate) mod repo;
pub(crate) mod rpo;
pub(crate) mod serve;
pub(crate) mod tag;
mod terminal;
mod token;
pub(crate) mod top;
