//! The binary from outside, where that needs no cluster.

mod sabotage;
