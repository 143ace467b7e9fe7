//! Portolan: a geo-replicated container registry.
fn main() {}
