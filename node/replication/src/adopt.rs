//! Files that an earlier start of this node finished and did not announce: they are announced instead of fetched anew.

use crate::confirm::Confirm;
use portolan_meta::id::FileId;
use portolan_oci::Digest;
use portolan_store::Blobs;
use std::collections::HashSet;
use std::sync::Arc;

/// Announces such files among those that were found on the disk, each under its blob's generation; tells of which blobs.
/// Younger files belong to somebody of this process, who announces them. Reads the files whole, and blocks.
pub(crate) fn adopt(
    confirm: &Arc<Confirm>,
    blobs: &Blobs,
    found: &[(Digest, FileId)],
    generation: impl Fn(&Digest) -> Option<u64>,
) -> HashSet<Digest> {
    let mut adopted = HashSet::new();
    for (digest, file) in found {
        if blobs.is_of_earlier_start(*file)
            && let Some(generation) = generation(digest)
            && let Some(held) = confirm.hold(*digest, *file)
            && blobs.verify_whole(digest, *file).is_ok()
        {
            held.announce(generation);
            adopted.insert(*digest);
        }
    }
    adopted
}
