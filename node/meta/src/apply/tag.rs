//! Moves of tags.

use super::tx::Tx;
use crate::codec::read;
use crate::family::Family;
use crate::id::RepoId;
use crate::key;
use crate::limits;
use crate::query;
use crate::row::{TagHistoryRow, TagRow};
use crate::view::ViewError;
use portolan_oci::{Digest, Tag};

/// Points a tag at a manifest, or at nothing. Pointing it where it already points is no move: it keeps its revision,
/// its author and its time, and leaves no trace, so that a push that is repeated tells nobody of a change.
pub(super) fn point(tx: &mut Tx<'_>, repo: RepoId, tag: &Tag, to: Option<&Digest>, by: &str) -> Result<(), ViewError> {
    let key = key::tag(repo, tag);
    let known: Option<TagRow> = read(tx.view(), Family::Tags, &key)?;
    if known.as_ref().map(|row| &row.digest) == to {
        return Ok(());
    }
    let last = match &known {
        Some(row) => row.revision,
        None => query::tag_moves(tx.view(), repo, tag, 1)?.first().map_or(0, |(revision, _)| *revision),
    };
    let revision = last + 1;
    if let Some(row) = &known {
        tx.delete(Family::TagsByManifest, key::tag_of_manifest(repo, &row.digest, tag));
    }
    match to {
        Some(digest) => {
            let row = TagRow { digest: *digest, revision, by: by.to_owned(), at_ms: tx.now_ms };
            tx.put(Family::Tags, key, &row);
            tx.put_raw(Family::TagsByManifest, key::tag_of_manifest(repo, digest, tag), Vec::new());
        }
        None => tx.delete(Family::Tags, key),
    }
    let moved = TagHistoryRow { digest: to.copied(), by: by.to_owned(), at_ms: tx.now_ms };
    tx.put(Family::TagHistory, key::tag_move(repo, tag, revision), &moved);
    // Revisions have no gaps, so one move in is one move out.
    if revision > limits::TAG_HISTORY {
        tx.delete(Family::TagHistory, key::tag_move(repo, tag, revision - limits::TAG_HISTORY));
    }
    Ok(())
}
