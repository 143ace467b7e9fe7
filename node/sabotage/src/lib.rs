//! Ways to break a promise on purpose, so that the black-box tests can be tested.
//!
//! A harness that has never failed proves nothing. Each [`Sabotage`] takes one safeguard out of the node, at one place
//! or a few, each behind an `if`; the harness runs against it and has to notice. Nothing of it is in what ships:
//! without the feature `armed`, which only the binary `portolan-sabotaged` turns on, [`is`] is the constant `false` and
//! the compiler drops what hangs on it. `portolan` does not compile with the feature, and runs no node with the
//! variable.
//!
//! ```text
//! cargo build --release -p portolan --features sabotage --bin portolan-sabotaged
//! PORTOLAN_SABOTAGE=skip-fsync target/release/portolan-sabotaged dev
//! ```
//!
//! Every node of such a cluster is sabotaged, in that one way: `dev` starts its nodes from its own binary. `--version`,
//! and the versions in `GET /api/v1/cluster`, end with `SABOTAGED (skip-fsync)`.
//!
//! [`Sabotage`] says of each way what it takes out and how a client sees it. In short, all of it on loopback:
//!
//! | way | promise | fault | seen by |
//! |---|---|---|---|
//! | `ack-before-quorum` | P1, P2 | kill, pause or isolate the leader | reads of tags pushed meanwhile |
//! | `ack-before-copies` | P1, P6 | wipe a region under pushes of large layers | pulls where two regions acknowledge |
//! | `skip-fsync` | P1 | all nodes forget | pulls of what was acknowledged |
//! | `tag-read-without-barrier` | P2 | none, or slow fsync | reads elsewhere right after a push |
//! | `guess-unknown` | P3 | slow fsync, or isolate a node | reads by digest there right after a push |
//! | `trust-peer-bytes` | P4 | rot, `verify_reads = "always"` | pulls at the holder; at nodes without one |
//! | `complete-unproven` | P4 | rot, `verify_reads = "always"` | pulls at the holder; small blobs elsewhere |
//! | `serve-rot` | P4 | rot, `verify_reads = "always"` | pulls at the holder |
//! | `forget-edges` | P3, P8 | none, `uploads.pin_ms` short | pulls of what was pushed under a tag |
//! | `delete-without-fence` | P8 | none, or slow fsync | reads by digest elsewhere right after a delete |
//! | `no-dedupe` | P2 | none | reads and histories of tags that several clients move |
//! | `retry-under-new-sequence` | P2 | slow fsync | histories of tags that several clients move |
//! | `snapshot-without-applied` | P2 | kill a node for longer than the log lasts | state hashes; reads at that node |
//! | `resume-off-by-one` | P4, P5 | none | pulls of what was uploaded in chunks |
//! | `leave-uploads` | P10 | none | the `uploads/` folders after a cancelled or expired session |
//! | `drop-wake-ups` | P1, P3, P6 | none, or wipe a region | `GET /api/v1/wait` once all is quiet |
//! | `stale-unmarked` | P2, P7 | isolate a node | headers of tag reads and lists there |
//!
//! What may not be here: what a way does. That stands where the safeguard stands, marked by "Sabotaged:".
//!
//! In reading order: [`way`] names them, [`choice`] says which one this process has.

pub mod choice;
pub mod way;

pub use choice::{ARMED, VARIABLE, chosen, is};
pub use way::{Sabotage, UnknownWay};
