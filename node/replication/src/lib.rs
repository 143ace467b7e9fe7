//! Blobs between nodes: open one wherever it is, fetch what this node lacks
