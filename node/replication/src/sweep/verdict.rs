//! What the rows say of a file that lies on this node's disk.

use crate::me::Me;
use portolan_meta::id::{FileId, StoreId};
use portolan_meta::placement::{Topology, is_surplus, may_store, standing};
use portolan_meta::query;
use portolan_meta::view::{View, ViewError};
use portolan_oci::Digest;

/// What the rows say of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is recorded, or handed over for unlinking: it is somebody else's.
    Listed,
    /// Nobody needs it.
    Stray,
    /// Nobody needs it if this other one is there, with as many bytes as the blob has.
    Second(FileId, u64),
    /// It would be a copy of this generation that somebody lacks.
    Wanted(u64),
    /// It may not be announced here, and is perhaps the only copy that answers.
    Undecided,
}

/// Whether the start that the rows know is this one, and the rows tell of all copies.
pub(super) fn may_sweep(known: u64, mine: u64, epoch: u64) -> bool {
    known == mine && epoch == 0
}

/// What they say of a file of this node.
pub(super) fn of(view: &dyn View, me: &Me, digest: &Digest, file: FileId) -> Result<Verdict, ViewError> {
    let store = StoreId::from(me.node);
    let mut own: Vec<FileId> =
        query::locations(view, digest)?.iter().filter(|copy| copy.store == store).map(|copy| copy.file).collect();
    if own.contains(&file) || query::is_given_up(view, store, file)? {
        return Ok(Verdict::Listed);
    }
    let topology = Topology::read(view)?;
    let Some(blob) = standing(view, &topology, digest)? else { return Ok(Verdict::Stray) };
    if let Some(other) = own.pop() {
        return Ok(Verdict::Second(other, blob.size));
    }
    if is_surplus(view, &topology, store, digest)? {
        return Ok(Verdict::Stray);
    }
    // A spare beside targets of which one does not answer may be wanted soon, and is not announced for that alone.
    if blob.missing.is_empty() {
        return Ok(Verdict::Undecided);
    }
    let is_wanted = blob.is_shown && may_store(view, &topology, digest, &me.region)?;
    Ok(if is_wanted { Verdict::Wanted(blob.generation) } else { Verdict::Undecided })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{Me, Verdict, may_sweep, of};
    use crate::rows::Rows;
    use portolan_meta::command::{Command, DropReason};
    use portolan_meta::id::{FileId, NodeId, StoreId};
    use portolan_meta::policy::{PolicyRow, Prefix, Regions};
    use portolan_meta::row::NodeState;
    use portolan_oci::Digest;

    /// The file that is looked at, on the disk of node 1.
    const LOOKED_AT: FileId = FileId(77);

    fn digest() -> Digest {
        Digest::sha256_of(b"x")
    }

    /// Node 1 in region a and node 2 in region b.
    fn rows() -> Rows {
        Rows::of(&["a", "b"])
    }

    fn only_in_b(rows: &mut Rows) {
        let regions = Some(Regions::Only(["b".to_owned()].into()));
        let policy = PolicyRow { regions, ..PolicyRow::default() };
        rows.apply(1, Command::SetPolicy { prefix: Prefix::default(), policy });
    }

    fn verdict(rows: &Rows) -> Verdict {
        let me = Me { node: NodeId(1), region: "a".to_owned(), zone: String::new() };
        of(&rows.state, &me, &digest(), LOOKED_AT).unwrap()
    }

    #[test]
    fn a_file_of_an_unknown_blob_is_a_stray() {
        assert_eq!(verdict(&rows()), Verdict::Stray);
    }

    #[test]
    fn a_file_with_a_row_is_listed_also_one_that_is_to_be_unlinked() {
        let mut rows = rows();
        rows.push(2, digest(), FileId(1));
        rows.push(1, digest(), LOOKED_AT);
        assert_eq!(verdict(&rows), Verdict::Listed);
        only_in_b(&mut rows);
        let (digest, store, reason) = (digest(), StoreId(1), DropReason::Surplus);
        rows.apply(1, Command::DropLocation { digest, store, file: LOOKED_AT, reason });
        assert_eq!(verdict(&rows), Verdict::Listed, "it is given up, and for another to unlink");
        rows.apply(1, Command::Unlinked { store, files: vec![LOOKED_AT] });
        assert_eq!(verdict(&rows), Verdict::Stray);
    }

    #[test]
    fn a_file_beside_a_recorded_one_is_its_second() {
        let mut rows = rows();
        rows.push(1, digest(), FileId(1));
        assert_eq!(verdict(&rows), Verdict::Second(FileId(1), 5));
    }

    #[test]
    fn a_file_where_policy_wants_a_copy_is_wanted() {
        let mut rows = rows();
        let generation = rows.push(2, digest(), FileId(1));
        assert_eq!(verdict(&rows), Verdict::Wanted(generation));
    }

    #[test]
    fn a_spare_is_a_stray_only_while_every_target_answers() {
        let mut rows = rows();
        rows.push(2, digest(), FileId(1));
        only_in_b(&mut rows);
        assert_eq!(verdict(&rows), Verdict::Stray);
        rows.mark(2, NodeState::Down);
        assert_eq!(verdict(&rows), Verdict::Undecided);
    }

    #[test]
    fn nothing_is_swept_by_an_older_start_or_after_a_recovery() {
        for (known, mine, epoch, may) in [(3, 3, 0, true), (4, 3, 0, false), (3, 3, 9, false), (4, 3, 9, false)] {
            assert_eq!(may_sweep(known, mine, epoch), may, "start {known}, this one {mine}, epoch {epoch}");
        }
    }
}
