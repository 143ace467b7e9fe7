//! An emulated WAN on one machine: a network namespace for each region, a TUN device in each, and a router in user
//! space between them that delays, loses, reorders, slows down and cuts, for every ordered pair of regions by itself.
//!
//! ```text
//!  namespace wan-eu-west                                        namespace wan-us-east
//!  10.77.1.1 10.77.1.2                                          10.77.2.1
//!        wan0 ──────────▶ link eu-west → us-east ──────────────▶ wan0
//!             ◀────────── link us-east → eu-west ◀──────────────
//!                                  router ◀──────▶ wan-host 10.77.0.1 (no delay)
//! ```
//!
//! The nodes of one region talk over its loopback. Programs join a region with `ip netns exec wan-REGION`.
//! In reading order:
//!
//! - [`quantity`] reads `80ms`, `1%`, `1gbit`; [`link`] is what a direction does; [`topology`] is a file of them;
//! - [`packet`] knows the packets, [`shaper`] what a link does to one, [`round_trips`] measures;
//! - [`namespace`] makes namespaces and devices, [`board`] is what the router shares, [`router`] moves packets;
//! - [`emulator`] is the whole, [`status`] what it says of itself, [`control`] steers it from another process;
//! - [`probe`] measures from outside;
//! - [`proxy`] is for where there is no root: the same faults at stream level.

pub mod board;
pub mod control;
pub mod emulator;
pub mod link;
pub mod namespace;
pub mod packet;
pub mod probe;
pub mod proxy;
pub mod quantity;
pub mod round_trips;
pub mod router;
pub mod shaper;
pub mod status;
pub mod topology;

pub use emulator::{Steering, Wan, WanError};
pub use link::LinkChange;
pub use status::Status;
pub use topology::Topology;
