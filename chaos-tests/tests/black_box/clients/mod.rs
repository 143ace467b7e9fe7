//! Real clients push at one node and pull at another, each with a home folder of its own.
//!
//! What they wrote and read is compared byte by byte or by digest, as a client that knows nothing but HTTP sees it at
//! each node; the moment that a push returns, every other node shows what it pushed.

mod buildah;
mod containerd;
mod cosign;
mod crane;
mod daemon;
mod debian;
mod docker;
mod helm;
mod oras;
mod podman;
mod regctl;
mod shared;
mod skopeo;
mod tap;
