//! Names, digests, ranges, manifests and errors of the OCI distribution specification. Pure
