//! What the two RocksDB databases have in common.
