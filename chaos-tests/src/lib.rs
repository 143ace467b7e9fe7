//! Black box: real `portolan` processes, real clients, faults, and what the promises say about them.
//!
//! Nothing of the node is imported but `oci` (digests): a test sees what a user sees. In reading order:
//!
//! - [`cluster`] starts `portolan dev`, kills and restarts its nodes;
//! - [`forget`] is a disk that loses what was not synced, and [`kills`] the workload that must survive it;
//! - [`data_folder`] reads what nodes leave on their disks;
//! - [`client`] is a small registry client that knows nothing but HTTP;
//! - [`image`] makes seeded images, [`layout`] writes them as OCI layouts for the real clients;
//! - [`big`] makes, pushes and pulls blobs that are not held in memory;
//! - [`balancer`] puts haproxy in front of a cluster;
//! - [`otlp`] collects the traces that nodes export;
//! - [`tmpfs`] mounts small disks;
//! - [`tool`] runs other programs under a deadline;
//! - [`wait`] waits for conditions;
//! - [`wan`] is an emulated WAN between network namespaces, also as the program `portolan-wan`;
//! - [`geo`] is a cluster on it;
//! - [`workload`] is what clients do to it, [`truth`] what they should see;
//! - [`fault`] names what can be broken, [`faults`] does and undoes it, [`schedule`] draws what is broken when;
//! - [`history`] is what clients saw, [`invariants`] judge it, [`fewest`] finds the fewest things that
//!   show a fault, and [`shrink`] prints them;
//! - [`report`] is what a run leaves for people and for programs;
//! - [`scenario`] is a run that has a name, [`scenarios`] are all of them, [`run`] runs one: the program `portolan-chaos`;
//! - [`sabotage`] proves that broken promises are noticed.

pub mod balancer;
pub mod big;
pub mod client;
pub mod cluster;
pub mod data_folder;
pub mod fault;
pub mod faults;
pub mod fewest;
pub mod forget;
pub mod geo;
pub mod history;
pub mod image;
pub mod invariants;
pub mod kills;
pub mod layout;
pub mod otlp;
mod ports;
pub mod report;
pub mod run;
pub mod sabotage;
pub mod scenario;
pub mod scenarios;
pub mod schedule;
pub mod shrink;
pub mod tmpfs;
pub mod tool;
pub mod truth;
pub mod wait;
pub mod wan;
pub mod workload;

/// Everything that can go wrong in a test's surroundings; tests only print it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A result whose error is only printed.
pub type Result<T> = std::result::Result<T, Error>;
