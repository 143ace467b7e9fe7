//! What a fault did.

/// What a fault did, beside what the network's state tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// In words.
    pub said: String,
    /// The nodes that it stopped from answering, or may stop at any moment.
    pub nodes: Vec<usize>,
    /// The nodes whose disk is gone.
    pub wiped: Vec<usize>,
    /// The nodes whose files were damaged.
    pub harmed: Vec<usize>,
    /// Whether some of its harm was still there after the healing.
    pub stays: bool,
    /// What nodes did that no node may do.
    pub complaints: Vec<(usize, String)>,
}
