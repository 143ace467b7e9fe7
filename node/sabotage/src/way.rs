//! The ways, and their names.

use std::fmt;
use std::str::FromStr;

/// A way to break a promise: what it takes out, which of the design's promises that breaks, and under which load and
/// which fault a client sees it. On loopback, at three nodes in three regions, each shows within seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A push is acknowledged before a majority has it: a PUT of a manifest that takes longer than 300 ms is given up
    /// and answered with 201. P1, P2.
    ///
    /// Shows while nobody leads: kill, pause or cut off the leader under pushes that need no new blob (blobs still wait
    /// for their commit). Tags that were acknowledged then are not there when a leader is. It shows less under slow
    /// disks or links alone: what is given up there is mostly committed all the same.
    AckBeforeQuorum,
    /// A push is acknowledged once its blobs are on one node, whatever the ack policy says. P1, P6.
    ///
    /// Shows in a repository with `ack-regions` 2 when the region that took a push is gone for good (`wipe`) right
    /// after its 201: the blobs are nowhere. Replication takes milliseconds on loopback, so that large layers, slow
    /// links or many pushes at that moment are needed; or look at the copies in `GET /api/v1/replication` right after
    /// the 201.
    AckBeforeCopies,
    /// What is acknowledged is not on the disk yet: entries of the Raft log (they become durable with the next vote or
    /// purge), and the names of sealed blob files. P1.
    ///
    /// Shows on the disk that forgets, under pushes, when all nodes lose power at once (`kill-all` there): after the
    /// start acknowledged tags are older or gone, and blobs are 503 or 404. When one node alone forgets, the others
    /// have what it lost; but its log is shorter than it said, which the leader does not expect: writes may stall.
    SkipFsync,
    /// Linearizable reads are answered from what this node happens to know. P2.
    ///
    /// Shows without any fault, about once in a hundred times: a push at one node, then at once a read of the tag at
    /// another: the digest before, or 404. With `slow-fsync` of 100 ms or more there it is each fifth time. A node that
    /// is cut off answers so for as long as it is, without `Warning`.
    TagReadWithoutBarrier,
    /// What this node does not know by its digest is said to be unknown, without asking the leader first. P3.
    ///
    /// Shows at a node whose disk is slow (`slow-fsync` of 100 ms or more), each fifth time: a push elsewhere, then at
    /// once HEAD or GET by digest (manifest or blob) there: 404. A node that is cut off answers so instead of 503.
    /// Without a fault it shows seldom: a node is behind for a few milliseconds.
    GuessUnknown,
    /// Bytes from a peer are taken for right: neither chunk sums nor digests are compared, and holders do not check
    /// their own files ([`Self::ServeRot`]), or nothing wrong would ever be sent. P4.
    ///
    /// Shows when a holder's file rots, with `storage.verify_reads = "always"`: a pull at a node that has no copy (a
    /// repository whose policy is `--never-outside` the holder's region) is a whole 200 of wrong bytes; so is one at
    /// the holder.
    TrustPeerBytes,
    /// The end of a response does not wait for the whole digest; holders do not check their own files
    /// ([`Self::ServeRot`]). P4.
    ///
    /// Shows as [`Self::TrustPeerBytes`] does. Where a node may store what it passes on, only blobs of up to 256 KiB
    /// show it: those of larger ones are compared chunk by chunk before. What came wrong is not kept: the next try asks
    /// again.
    CompleteUnproven,
    /// Own files are served as they are, however often they should be checked. P4.
    ///
    /// Shows when a holder's file rots, with `storage.verify_reads = "always"`: a pull at that holder is a whole 200 of
    /// wrong bytes. Other nodes refuse them.
    ServeRot,
    /// What a manifest refers to is not written down when it is pushed under a tag. P8, P3.
    ///
    /// Shows without any fault. With a short `uploads.pin_ms` (5000), while anything is written: GET of a layer or
    /// config of a tagged image is 404 once the pin of its upload is over. And whatever the pin: DELETE of such a blob,
    /// or of a manifest that a tagged index lists, is 202 instead of 405, and gone it is.
    ForgetEdges,
    /// A delete is acknowledged before the other nodes know of it. P8.
    ///
    /// Shows without any fault, about once in forty times: DELETE of a manifest at one node, then at once GET by digest
    /// at another: 200. With `slow-fsync` of 100 ms or more there it is each fifth time. The answer has no `Warning`
    /// that names the other.
    DeleteWithoutFence,
    /// A command that comes twice is applied twice, and each does: the network of this build delivers every proposal
    /// once more within half a second. P2.
    ///
    /// Shows without any fault, where several clients write one tag in so short a time: it falls back to the digest
    /// before; a tag that was deleted and pushed again vanishes; the tag's history tells of moves that nobody made.
    NoDedupe,
    /// What may have been applied is proposed again as if it were new: the first attempt at a proposal gets 20 ms, and
    /// the second has another sequence. P2.
    ///
    /// Shows where commits take longer than that (`slow-fsync` of 50 ms or more on two nodes, slow links, a leader that
    /// pauses) and several clients write one tag: its history tells of a push twice with another between, reads fall
    /// back for a moment, and DELETE of a tag that is there is 404 although it removes it.
    RetryUnderNewSequence,
    /// A snapshot does not say up to where it was applied: the receiver takes it for as new as the sender was when it
    /// sent it, and skips the entries between. Section 3 of the design, P2.
    ///
    /// Shows with a small `cluster.snapshot_log_bytes` (32768): kill a follower, write until the others have purged
    /// what it lacks, start it again while writes go on. It logs "a snapshot replaced the state", and from then on its
    /// state hash is another at the same applied index; tags and blobs of the skipped entries are old or unknown there,
    /// with a leader's confirmation. It may refuse to start the next time.
    SnapshotWithoutApplied,
    /// A resumed upload is written one byte behind where it stands, while the digest is that of what was sent. P4, P5.
    ///
    /// Shows without any fault with uploads in two or more chunks that have bytes (PATCH, PATCH, PUT): 201 for the
    /// upload, and then 404 for the blob at every node. Its file has another length than it should, which the node sees
    /// when it opens it; where the length happens to be right, what comes are wrong bytes. Uploads in one request are
    /// right.
    ResumeOffByOne,
    /// The bytes of uploads that were given up stay. P10.
    ///
    /// Shows without any fault: DELETE of a session with bytes, or one that expired (`uploads.session_ttl_ms`,
    /// `uploads.sweep_interval_ms`): the API says that it is gone, and its folder stays in `uploads/` of the owner.
    LeaveUploads,
    /// The worker of copies misses what changes of one blob in four, and its scans do not find it: those whose digest
    /// begins with a byte that 4 divides. P1, P3, P6.
    ///
    /// Shows without any fault once all is quiet: of such a blob there is one copy (and what pulls brought) instead of
    /// one on each node; `GET /api/v1/wait` is 408 and `GET /api/v1/replication` never says complete. Pushes to a
    /// repository with `ack-regions` 2 end with 503 after `uploads.ack_timeout_ms`, and a wiped region loses what was
    /// pushed there long ago.
    DropWakeUps,
    /// What may be stale is answered as if it were not: without `Warning` and `Age`. P2, P7.
    ///
    /// Shows at a node that is cut off from the majority (or whose two peers are killed), in a repository that serves
    /// stale answers, which is the default: 200 for tags and lists after `reads.linearizable_timeout_ms`, unmarked,
    /// while the majority moves the tags.
    StaleUnmarked,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::AckBeforeQuorum,
        Self::AckBeforeCopies,
        Self::SkipFsync,
        Self::TagReadWithoutBarrier,
        Self::GuessUnknown,
        Self::TrustPeerBytes,
        Self::CompleteUnproven,
        Self::ServeRot,
        Self::ForgetEdges,
        Self::DeleteWithoutFence,
        Self::NoDedupe,
        Self::RetryUnderNewSequence,
        Self::SnapshotWithoutApplied,
        Self::ResumeOffByOne,
        Self::LeaveUploads,
        Self::DropWakeUps,
        Self::StaleUnmarked,
    ];

    /// Its name in the environment and in a version.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeQuorum => "ack-before-quorum",
            Self::AckBeforeCopies => "ack-before-copies",
            Self::SkipFsync => "skip-fsync",
            Self::TagReadWithoutBarrier => "tag-read-without-barrier",
            Self::GuessUnknown => "guess-unknown",
            Self::TrustPeerBytes => "trust-peer-bytes",
            Self::CompleteUnproven => "complete-unproven",
            Self::ServeRot => "serve-rot",
            Self::ForgetEdges => "forget-edges",
            Self::DeleteWithoutFence => "delete-without-fence",
            Self::NoDedupe => "no-dedupe",
            Self::RetryUnderNewSequence => "retry-under-new-sequence",
            Self::SnapshotWithoutApplied => "snapshot-without-applied",
            Self::ResumeOffByOne => "resume-off-by-one",
            Self::LeaveUploads => "leave-uploads",
            Self::DropWakeUps => "drop-wake-ups",
            Self::StaleUnmarked => "stale-unmarked",
        }
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no way to sabotage a node; the ways are {}", names())]
pub struct UnknownWay {
    /// What was given.
    pub given: String,
}

impl FromStr for Sabotage {
    type Err = UnknownWay;

    fn from_str(name: &str) -> Result<Self, UnknownWay> {
        let way = Self::ALL.into_iter().find(|way| way.name() == name);
        way.ok_or_else(|| UnknownWay { given: name.to_owned() })
    }
}

fn names() -> String {
    Sabotage::ALL.map(Sabotage::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Sabotage, UnknownWay};
    use std::collections::BTreeSet;

    #[test]
    fn every_way_is_found_by_its_name() {
        for way in Sabotage::ALL {
            assert_eq!(way.name().parse(), Ok(way));
            assert_eq!(way.to_string(), way.name());
        }
        let names: BTreeSet<_> = Sabotage::ALL.map(Sabotage::name).into();
        assert_eq!(names.len(), Sabotage::ALL.len());
    }

    #[test]
    fn another_name_is_refused_with_those_that_there_are() {
        for given in ["", "skip_fsync", "Skip-Fsync", " skip-fsync", "skip-fsync,no-dedupe"] {
            let refused = given.parse::<Sabotage>();
            assert_eq!(refused, Err(UnknownWay { given: given.to_owned() }));
        }
        let words = UnknownWay { given: "x".to_owned() }.to_string();
        for way in Sabotage::ALL {
            assert!(words.contains(way.name()), "{words}");
        }
    }
}
