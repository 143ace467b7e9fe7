//! The only home of RocksDB and of the disk: Raft log, state, snapshots, blob files, upload files
