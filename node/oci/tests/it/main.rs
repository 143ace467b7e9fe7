//! What holds for the whole workspace rather than for one crate. It lives beside the crate that links least, so that it
//! answers within seconds.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod replay;
mod tidy;
