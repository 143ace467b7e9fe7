//! What is to be drawn.

use crate::commands::top::model::Model;
use crate::commands::top::order::Sort;
use std::time::Duration;

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Picture<'a> {
    /// The cluster.
    pub(crate) model: &'a Model,
    /// Between two samples.
    pub(crate) interval: Duration,
    /// Why there is nothing newer, and for how long.
    pub(crate) trouble: Option<Trouble<'a>>,
    /// How regions and nodes are sorted.
    pub(crate) sort: Sort,
    /// How many lines of nodes are above the screen.
    pub(crate) skipped: usize,
    /// Whether new samples are ignored.
    pub(crate) paused: bool,
    /// Whether the help covers it.
    pub(crate) help: bool,
    /// Whether keys do something.
    pub(crate) keys: bool,
    /// Whether there are colours.
    pub(crate) colours: bool,
}

/// Why there is nothing newer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble<'a> {
    /// What happened.
    pub(crate) reason: &'a str,
    /// How old the newest sample is.
    pub(crate) age: Duration,
}
