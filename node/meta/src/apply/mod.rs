//! What each command does to the state.
//!
//! Invariants that every apply keeps:
//! - an edge to a blob, or a pin, implies that the blob is Live; an edge to a manifest implies its row;
//! - a tag points at a manifest of its repository, and `tags_by_manifest` mirrors `tags`;
//! - `loc` and `loc_by_store` mirror each other, and a location names a file that its holder announced;
//! - a repository is listed exactly while it holds a manifest;
//! - the clock never goes back; a repeated proposal changes nothing;
//! - no apply writes more than [`crate::limits::ROWS_PER_APPLY`] rows.

mod blob;
mod dedupe;
mod delete;
mod location;
mod manifest;
mod node;
mod policy;
mod tag;
#[cfg(test)]
mod tests;
mod tx;

use crate::command::{Command, Proposal};
use crate::outcome::{Outcome, Refusal};
use crate::query;
use crate::view::{View, ViewError, Writes};
use dedupe::Verdict;
use tx::Tx;

/// Applies the entry at a log index: what it changes and what its proposer is told. A refused command changes nothing
/// but the clock and the memory of its refusal; a repeated one changes nothing at all.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`]. The node must stop: it can no longer follow the log.
pub fn apply(view: &dyn View, index: u64, proposal: &Proposal) -> Result<(Writes, Outcome), ViewError> {
    // Before the dedupe window, which an impostor's higher incarnation would move to the harm of the rightful node.
    if let Command::NodeBoot(boot) = &proposal.command
        && let Some(conflict) = node::conflict(view, boot)?
    {
        return Ok((Writes::default(), Outcome::Refused(Refusal::NodeIdentity(conflict))));
    }
    let window = match dedupe::judge(view, &proposal.key)? {
        Verdict::Fresh(window) => window,
        Verdict::Repeated(outcome) => return Ok((Writes::default(), outcome)),
    };
    let now_ms = query::clock_ms(view)?.max(proposal.at_ms);
    let begin = || Tx::begin(view, index, now_ms, proposal.key.node);
    let mut tx = begin()?;
    let outcome = dispatch(&mut tx, &proposal.command)?;
    if matches!(outcome, Outcome::Refused(_)) {
        tx = begin()?;
    }
    dedupe::remember(&mut tx, window, &proposal.key, &outcome)?;
    Ok((tx.into_writes(), outcome))
}

fn dispatch(tx: &mut Tx<'_>, command: &Command) -> Result<Outcome, ViewError> {
    match command {
        Command::InitCluster { cluster_id, epoch } => node::init_cluster(tx, cluster_id, *epoch),
        Command::NodeBoot(boot) => node::boot(tx, boot),
        Command::SetNodeState { node, incarnation, state } => node::set_state(tx, *node, *incarnation, *state),
        Command::CommitBlob { repo, digest, size, store, file, pin_ms, sums } => {
            let upload = blob::Upload { digest: *digest, size: *size, store: *store, file: *file, sums: *sums };
            blob::commit(tx, repo, &upload, *pin_ms)
        }
        Command::AddLocations { store, found } => location::add(tx, *store, found),
        Command::DropLocation { digest, store, file, reason } => location::drop(tx, digest, *store, *file, *reason),
        Command::Unlinked { store, files } => location::unlinked(tx, *store, files),
        Command::SetPolicy { prefix, policy } => policy::set(tx, prefix, policy),
        Command::SetBandwidth(row) => policy::set_bandwidth(tx, row),
        Command::MountBlob { repo, from, digest, pin_ms } => blob::mount(tx, repo, from, digest, *pin_ms),
        Command::PutManifestPart { repo, digest, part, bytes } => manifest::put_part(tx, repo, digest, *part, bytes),
        Command::PutManifest(put) => manifest::put(tx, put),
        Command::DeleteTag { repo, tag, by } => delete::tag(tx, repo, tag, by),
        Command::DeleteManifest { repo, digest, grace_ms, by } => delete::manifest(tx, repo, digest, *grace_ms, by),
        Command::DeleteBlob { repo, digest } => delete::blob(tx, repo, digest),
    }
}
