//! What each command does.

pub(crate) mod bandwidth;
pub(crate) mod cluster;
mod demo;
pub(crate) mod dev;
pub(crate) mod image;
pub(crate) mod repo;
pub(crate) mod rpo;
pub(crate) mod serve;
mod terminal;
mod token;
pub(crate) mod top;
