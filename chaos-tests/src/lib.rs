//! Black box: real processes, faults, oracles, invariants
