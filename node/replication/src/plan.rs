//! What is missing where, as far as this node was told, and in which order this node brings what it lacks. Pure: the
//! caller brings the clock and the facts.

use portolan_meta::id::StoreId;
use portolan_meta::placement::Standing;
use portolan_oci::Digest;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// A blob that some store lacks by placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was committed, by the state's clock.
    pub(crate) at_ms: u64,
    /// The stores that have it.
    pub(crate) holders: Vec<StoreId>,
    /// On how many nodes that answer.
    pub(crate) live_copies: usize,
    /// The stores that lack it.
    pub(crate) stores: Vec<StoreId>,
}

impl Missing {
    /// What a blob's standing says of its deficit, if it has one.
    pub(crate) fn of(standing: &Standing) -> Option<Self> {
        (!standing.missing.is_empty()).then(|| Self {
            size: standing.size,
            at_ms: standing.at_ms,
            holders: standing.holders.clone(),
            live_copies: standing.live_copies,
            stores: standing.missing.clone(),
        })
    }

    fn rank(&self, digest: Digest) -> Rank {
        Rank { has_spare: self.live_copies > 1, newest: Reverse(self.at_ms), digest }
    }
}

/// Whose turn it is: first what would be lost with one node more, then what was pushed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    has_spare: bool,
    newest: Reverse<u64>,
    digest: Digest,
}

/// Which queue a blob waits in: tiny ones travel many in one stream, of the others many small and few large at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Small enough for a batch, and no batch has failed to bring it.
    Tiny,
    /// Below the configured size.
    Small,
    /// The others.
    Large,
}

/// From which sizes on a blob is of another class, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The largest that is tiny.
    pub(crate) tiny: u64,
    /// The smallest that is large.
    pub(crate) large: u64,
}

#[derive(Debug)]
struct Entry {
    missing: Missing,
    failures: u32,
    turn: Turn,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// This node's own store does not lack the blob, or the blob is being brought.
    None,
    /// In the queue, by its rank.
    Ready,
    /// A try failed: not before then.
    At(Instant),
}

/// One class's blobs that wait.
#[derive(Debug, Default)]
struct Queue {
    ready: BTreeSet<Rank>,
    later: BTreeSet<(Instant, Digest)>,
}

/// All known deficits of the cluster, and this node's queues among them.
#[derive(Debug)]
pub(crate) struct Plan {
    own: StoreId,
    sizes: Sizes,
    limit: usize,
    entries: HashMap<Digest, Entry>,
    /// How many of them this node's own store does not lack.
    others: usize,
    tiny: Queue,
    small: Queue,
    large: Queue,
    queued_bytes: u64,
    overflowed: bool,
}

impl Plan {
    /// An empty plan of the node whose store is `own`, remembering at most `limit` blobs.
    pub(crate) fn new(own: StoreId, sizes: Sizes, limit: usize) -> Self {
        Self {
            own,
            sizes,
            limit,
            entries: HashMap::new(),
            others: 0,
            tiny: Queue::default(),
            small: Queue::default(),
            large: Queue::default(),
            queued_bytes: 0,
            overflowed: false,
        }
    }

    /// Notes the facts about one blob: what lacks it now, or that nothing does.
    pub(crate) fn note(&mut self, digest: Digest, missing: Option<Missing>) {
        let known = self.entries.remove(&digest);
        let was_mine = known.as_ref().is_some_and(|entry| self.is_mine(&entry.missing));
        if let Some(entry) = &known {
            self.unqueue(&digest, entry);
            self.others -= usize::from(!was_mine);
        }
        let Some(missing) = missing else { return };
        let mine = self.is_mine(&missing);
        // What others lack is only told; it must not crowd out what this node is to bring.
        let is_full = self.entries.len() >= self.limit || (!mine && self.others >= self.limit / 2);
        if known.is_none() && is_full {
            self.overflowed = true;
            return;
        }
        self.others += usize::from(!mine);
        let first = if mine { Turn::Ready } else { Turn::None };
        let entry = match known {
            Some(entry) if mine == was_mine => Entry { missing, ..entry },
            _ => Entry { missing, failures: 0, turn: first },
        };
        self.queue(digest, &entry);
        self.entries.insert(digest, entry);
    }

    fn is_mine(&self, missing: &Missing) -> bool {
        missing.stores.contains(&self.own)
    }

    /// Takes the next blob of a class that may be tried now. It stays known, but is not handed out again before
    /// [`Plan::retry`] or [`Plan::again`] says so.
    pub(crate) fn take(&mut self, class: Class, now: Instant) -> Option<(Digest, Missing)> {
        self.wake(class, now);
        let digest = self.queue_of(class).ready.first()?.digest;
        self.hand_out(digest)
    }

    fn hand_out(&mut self, digest: Digest) -> Option<(Digest, Missing)> {
        let mut entry = self.entries.remove(&digest)?;
        self.unqueue(&digest, &entry);
        entry.turn = Turn::None;
        let missing = entry.missing.clone();
        self.entries.insert(digest, entry);
        Some((digest, missing))
    }

    /// Takes tiny blobs that may be tried now, for one batch: at most so many, together of at most so many bytes, and all
    /// of a kind with the first.
    pub(crate) fn take_batch(
        &mut self,
        now: Instant,
        blobs: usize,
        bytes: u64,
        kind: impl Fn(&Missing) -> bool,
    ) -> Vec<(Digest, Missing)> {
        self.wake(Class::Tiny, now);
        let (mut chosen, mut size, mut first) = (Vec::new(), 0, None);
        for rank in self.tiny.ready.iter().take(blobs) {
            let Some(entry) = self.entries.get(&rank.digest) else { continue };
            let this = kind(&entry.missing);
            if *first.get_or_insert(this) != this || (size + entry.missing.size > bytes && !chosen.is_empty()) {
                break;
            }
            size += entry.missing.size;
            chosen.push(rank.digest);
        }
        chosen.into_iter().filter_map(|digest| self.hand_out(digest)).collect()
    }

    /// Moves what has waited long enough to where ranks decide.
    fn wake(&mut self, class: Class, now: Instant) {
        while let Some((due, digest)) = self.queue_of(class).later.first().copied()
            && due <= now
        {
            self.set_turn(&digest, Turn::Ready);
        }
    }

    fn set_turn(&mut self, digest: &Digest, turn: Turn) {
        if let Some(mut entry) = self.entries.remove(digest) {
            self.unqueue(digest, &entry);
            entry.turn = turn;
            self.queue(*digest, &entry);
            self.entries.insert(*digest, entry);
        }
    }

    /// A try failed: the next one waits `pause(failures in a row)`.
    pub(crate) fn retry(&mut self, digest: &Digest, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        if let Some(mut entry) = self.entries.remove(digest) {
            self.unqueue(digest, &entry);
            entry.failures = entry.failures.saturating_add(1);
            entry.turn = Turn::None;
            let due = now + pause(entry.failures);
            self.entries.insert(*digest, entry);
            self.again(digest, due);
        }
    }

    /// The blob may be looked at again from `due` on.
    pub(crate) fn again(&mut self, digest: &Digest, due: Instant) {
        let mine = self.entries.get(digest).is_some_and(|entry| self.is_mine(&entry.missing));
        self.set_turn(digest, if mine { Turn::At(due) } else { Turn::None });
    }

    /// When the next blob of a class may be tried; `now` when one waits for nothing.
    pub(crate) fn next_due(&self, class: Class, now: Instant) -> Option<Instant> {
        let queue = match class {
            Class::Tiny => &self.tiny,
            Class::Small => &self.small,
            Class::Large => &self.large,
        };
        if queue.ready.is_empty() { queue.later.first().map(|(due, _)| *due) } else { Some(now) }
    }

    /// How many blobs wait in this node's queues, and how many bytes they have.
    pub(crate) fn queued(&self) -> (usize, u64) {
        let waiting = |queue: &Queue| queue.ready.len() + queue.later.len();
        (waiting(&self.tiny) + waiting(&self.small) + waiting(&self.large), self.queued_bytes)
    }

    /// Everything that is known to be missing.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Missing> {
        self.entries.values().map(|entry| &entry.missing)
    }

    /// The digests it knows, for comparing them with the facts again.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.entries.keys().copied().collect()
    }

    /// Whether more was missing than may be remembered since the last [`Plan::begin_scan`].
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// A whole scan begins: what it finds decides anew whether everything fits.
    pub(crate) fn begin_scan(&mut self) {
        self.overflowed = false;
    }

    fn class(&self, entry: &Entry) -> Class {
        match entry.missing.size {
            size if size >= self.sizes.large => Class::Large,
            size if size <= self.sizes.tiny && entry.failures == 0 => Class::Tiny,
            _ => Class::Small,
        }
    }

    fn queue_of(&mut self, class: Class) -> &mut Queue {
        match class {
            Class::Tiny => &mut self.tiny,
            Class::Small => &mut self.small,
            Class::Large => &mut self.large,
        }
    }

    fn queue(&mut self, digest: Digest, entry: &Entry) {
        let class = self.class(entry);
        match entry.turn {
            Turn::None => return,
            Turn::Ready => self.queue_of(class).ready.insert(entry.missing.rank(digest)),
            Turn::At(due) => self.queue_of(class).later.insert((due, digest)),
        };
        self.queued_bytes += entry.missing.size;
    }

    fn unqueue(&mut self, digest: &Digest, entry: &Entry) {
        let class = self.class(entry);
        match entry.turn {
            Turn::None => return,
            Turn::Ready => self.queue_of(class).ready.remove(&entry.missing.rank(*digest)),
            Turn::At(due) => self.queue_of(class).later.remove(&(due, *digest)),
        };
        self.queued_bytes -= entry.missing.size;
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Digest, Duration, Instant, Missing, Plan, Sizes, StoreId};

    const OWN: StoreId = StoreId(1);
    const OTHER: StoreId = StoreId(2);

    fn digest(seed: u8) -> Digest {
        Digest::sha256_of(&[seed])
    }

    fn missing(size: u64, stores: &[StoreId]) -> Option<Missing> {
        Some(Missing { size, at_ms: 0, holders: Vec::new(), live_copies: 2, stores: stores.to_vec() })
    }

    fn taken(plan: &mut Plan, class: Class, now: Instant) -> Option<Digest> {
        plan.take(class, now).map(|(digest, _)| digest)
    }

    fn plan() -> Plan {
        Plan::new(OWN, Sizes { tiny: 5, large: 100 }, 3)
    }

    #[test]
    fn only_the_own_deficits_are_queued_each_in_its_class() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN, OTHER]));
        plan.note(digest(2), missing(100, &[OWN]));
        plan.note(digest(3), missing(10, &[OTHER]));
        assert_eq!(plan.queued(), (2, 110));
        assert_eq!(taken(&mut plan, Class::Small, now), Some(digest(1)));
        assert_eq!(taken(&mut plan, Class::Small, now), None);
        assert_eq!(taken(&mut plan, Class::Large, now), Some(digest(2)));
        assert_eq!(plan.missing().count(), 3);
    }

    #[test]
    fn a_blob_that_is_tried_is_not_handed_out_again_by_a_repeated_note() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN]));
        assert_eq!(taken(&mut plan, Class::Small, now), Some(digest(1)));
        plan.note(digest(1), missing(10, &[OWN, OTHER]));
        assert_eq!(taken(&mut plan, Class::Small, now), None);
    }

    #[test]
    fn a_failure_delays_the_next_try_and_counts() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN]));
        for failures in 1..4_u32 {
            let later = now + Duration::from_secs(100 * u64::from(failures));
            assert_eq!(taken(&mut plan, Class::Small, later), Some(digest(1)));
            plan.retry(&digest(1), later, |count| {
                assert_eq!(count, failures);
                Duration::from_secs(5)
            });
            assert_eq!(taken(&mut plan, Class::Small, later), None);
            assert_eq!(plan.next_due(Class::Small, now), Some(later + Duration::from_secs(5)));
        }
    }

    #[test]
    fn what_is_no_longer_missing_is_forgotten() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN]));
        plan.note(digest(1), None);
        assert_eq!(taken(&mut plan, Class::Small, now), None);
        assert_eq!(plan.missing().count(), 0);
        assert_eq!(plan.queued(), (0, 0));
    }

    #[test]
    fn a_deficit_that_becomes_ours_is_queued_and_one_that_ceases_is_not() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OTHER]));
        plan.note(digest(1), missing(10, &[OWN]));
        assert_eq!(plan.next_due(Class::Small, now), Some(now));
        plan.note(digest(1), missing(10, &[OTHER]));
        assert_eq!(plan.next_due(Class::Small, now), None);
    }

    #[test]
    fn more_than_the_limit_is_not_remembered_but_known_to_be_incomplete() {
        let mut plan = plan();
        for seed in 0..4 {
            plan.note(digest(seed), missing(10, &[OWN]));
        }
        assert!(plan.overflowed());
        assert_eq!(plan.missing().count(), 3);
        plan.begin_scan();
        assert!(!plan.overflowed());
    }

    #[test]
    fn what_others_lack_never_crowds_out_what_this_node_lacks() {
        let (mut plan, now) = (Plan::new(OWN, Sizes { tiny: 0, large: 100 }, 4), Instant::now());
        for seed in 0..9 {
            plan.note(digest(seed), missing(10, &[OTHER]));
        }
        assert!(plan.overflowed());
        plan.note(digest(20), missing(10, &[OWN]));
        plan.note(digest(21), missing(10, &[OWN, OTHER]));
        assert_eq!(plan.missing().count(), 4);
        let order = [taken(&mut plan, Class::Small, now), taken(&mut plan, Class::Small, now)];
        assert!(order.contains(&Some(digest(20))) && order.contains(&Some(digest(21))));
        // Room comes back with what is no longer missing.
        (0..9).for_each(|seed| plan.note(digest(seed), None));
        plan.note(digest(8), missing(10, &[OTHER]));
        assert_eq!(plan.missing().count(), 3);
    }

    #[test]
    fn what_hangs_on_one_node_goes_first_and_then_what_was_pushed_last() {
        let (mut plan, now) = (Plan::new(OWN, Sizes { tiny: 0, large: 100 }, 10), Instant::now());
        let blob =
            |at_ms, live_copies| Some(Missing { size: 1, at_ms, holders: Vec::new(), live_copies, stores: vec![OWN] });
        let all = [(1, 100, 2), (2, 300, 2), (3, 50, 1), (4, 200, 1), (5, 10, 0), (6, 400, 3)];
        for (seed, at_ms, live_copies) in all {
            plan.note(digest(seed), blob(at_ms, live_copies));
        }
        // A blob that failed waits, whatever its rank.
        assert_eq!(taken(&mut plan, Class::Small, now), Some(digest(4)));
        plan.retry(&digest(4), now, |_| Duration::from_secs(5));
        let order: Vec<_> = std::iter::from_fn(|| taken(&mut plan, Class::Small, now)).collect();
        assert_eq!(order, [3, 5, 6, 2, 1].map(digest));
        assert_eq!(taken(&mut plan, Class::Small, now + Duration::from_secs(5)), Some(digest(4)));
    }

    #[test]
    fn tiny_blobs_are_taken_many_at_a_time_and_one_that_a_batch_did_not_bring_alone() {
        let (mut plan, now) = (Plan::new(OWN, Sizes { tiny: 10, large: 100 }, 10), Instant::now());
        for seed in 0..6 {
            plan.note(digest(seed), missing(10, &[OWN]));
        }
        plan.note(digest(9), missing(11, &[OWN]));
        let batch = |plan: &mut Plan, blobs, bytes| plan.take_batch(now, blobs, bytes, |_| true).len();
        assert_eq!((batch(&mut plan, 2, 1_000), batch(&mut plan, 9, 25), batch(&mut plan, 9, 5)), (2, 2, 1));
        assert_eq!(taken(&mut plan, Class::Small, now), Some(digest(9)));
        let last = plan.take_batch(now, 9, 1_000, |_| true);
        assert_eq!((last.len(), batch(&mut plan, 9, 1_000)), (1, 0));
        let (failed, _) = last[0];
        plan.retry(&failed, now, |_| Duration::ZERO);
        assert_eq!((batch(&mut plan, 9, 1_000), taken(&mut plan, Class::Small, now)), (0, Some(failed)));
        assert_eq!(plan.queued(), (0, 0));
    }
}
