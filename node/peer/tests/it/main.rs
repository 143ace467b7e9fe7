//! Client and server of the peer port against each other, over the in-memory network and over real TLS.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod calls;
mod corrupt;
mod identity;
mod lanes;
mod life;
mod many;
mod owner;
mod support;
mod tls;
mod uploads;
