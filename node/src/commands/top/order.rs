//! In which order regions and nodes are shown. Pure.

use super::model::{Model, Node, Region};

/// What they are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// As the members are numbered.
    #[default]
    Number,
    /// Most requests first.
    Requests,
    /// Most bytes from clients first.
    Received,
    /// Most bytes to clients first.
    Sent,
    /// Furthest behind first.
    Lag,
    /// Most bytes to fetch first.
    Queue,
}

impl Sort {
    /// The next one.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Number => Self::Requests,
            Self::Requests => Self::Received,
            Self::Received => Self::Sent,
            Self::Sent => Self::Lag,
            Self::Lag => Self::Queue,
            Self::Queue => Self::Number,
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Requests => "requests",
            Self::Received => "in",
            Self::Sent => "out",
            Self::Lag => "lag",
            Self::Queue => "queue",
        }
    }

    /// What a node is sorted by; unknown counts as nothing.
    #[expect(clippy::cast_precision_loss, reason = "an order needs no more than 53 bits")]
    fn key(self, node: &Node) -> f64 {
        let rates = node.rates.unwrap_or_default();
        match self {
            Self::Number => 0.0,
            Self::Requests => rates.requests_per_s,
            Self::Received => rates.received_bytes_per_s,
            Self::Sent => rates.sent_bytes_per_s,
            Self::Lag => node.lag.unwrap_or_default() as f64,
            Self::Queue => node.load.map_or(0.0, |load| load.queue_bytes as f64),
        }
    }
}

/// Every region with its nodes: those with the most first. Equal ones stay as the members are numbered.
pub(crate) fn ordered(model: &Model, sort: Sort) -> Vec<(&Region, Vec<&Node>)> {
    let mut groups: Vec<(&Region, Vec<&Node>)> = Vec::new();
    for region in &model.regions {
        let mut nodes: Vec<&Node> = model.nodes.iter().filter(|node| node.region == region.name).collect();
        nodes.sort_by(|one, other| sort.key(other).total_cmp(&sort.key(one)));
        groups.push((region, nodes));
    }
    let together = |nodes: &[&Node]| nodes.iter().map(|node| sort.key(node)).sum::<f64>();
    groups.sort_by(|(_, one), (_, other)| together(other).total_cmp(&together(one)));
    groups
}
