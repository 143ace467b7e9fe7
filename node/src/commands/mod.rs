//! What each command does.

pub(crate) mod cluster;
mod demo;
pub(crate) mod dev;
pub(crate) mod serve;
mod terminal;
pub(crate) mod top;
