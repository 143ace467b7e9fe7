//! The only home of tonic: calls between nodes
