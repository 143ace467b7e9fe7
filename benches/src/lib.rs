//! Measurements of whole processes: nothing of the node is imported, everything is seen from outside.
//!
//! Three programs use it: `portolan-bench` measures a cluster (start, memory, transfer, failover), `portolan-compare`
//! runs one load against Portolan, Debian's docker-registry and nginx in turn, `portolan-geo` measures what regions do
//! for each other. In reading order:
//!
//! - [`report`] collects figures and prints them;
//! - [`process`] reads what the kernel knows of a process;
//! - [`peer`] runs the servers beside us;
//! - [`transfer`] moves large blobs as clients do;
//! - [`scenario`] is what `portolan-bench` measures;
//! - [`compare`] is what `portolan-compare` measures;
//! - [`geo`] is what `portolan-geo` measures, with the charts of [`compare`].

pub mod compare;
pub mod geo;
pub mod peer;
pub mod process;
pub mod report;
pub mod scenario;
pub mod transfer;
