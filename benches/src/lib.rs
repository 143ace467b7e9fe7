//! Side-by-side measurements with other registries
