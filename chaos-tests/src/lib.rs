//! Black box: real `portolan` processes, real clients, faults, and what the promises say about them.
//!
//! Nothing of the node is imported but `oci` (digests): a test sees what a user sees. In reading order:
//!
//! - [`cluster`] starts `portolan dev`, kills and restarts its nodes;
//! - [`forget`] is a disk that loses what was not synced, and [`kills`] the workload that must survive it;
//! - [`client`] is a small registry client that knows nothing but HTTP;
//! - [`image`] makes seeded images, [`layout`] writes them as OCI layouts for the real clients;
//! - [`big`] makes, pushes and pulls blobs that are not held in memory;
//! - [`balancer`] puts haproxy in front of a cluster;
//! - [`otlp`] collects the traces that nodes export;
//! - [`tmpfs`] mounts small disks;
//! - [`tool`] runs other programs under a deadline;
//! - [`wait`] waits for conditions;
//! - [`wan`] is an emulated WAN between network namespaces, also as the program `portolan-wan`;
//! - [`geo`] is a cluster on it.

pub mod balancer;
pub mod big;
pub mod client;
pub mod cluster;
pub mod forget;
pub mod geo;
pub mod image;
pub mod kills;
pub mod layout;
pub mod otlp;
pub mod tmpfs;
pub mod tool;
pub mod wait;
pub mod wan;

/// Everything that can go wrong in a test's surroundings; tests only print it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A result whose error is only printed.
pub type Result<T> = std::result::Result<T, Error>;
